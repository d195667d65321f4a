"""The lamp's program: compiled here, put onto a board."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import espfleet
from espfleet.cable.prompt import Advance, Prompt
from espfleet.errors import CableError

#: The folder of the lamp's program, beside this package.
SOURCES = Path(espfleet.__file__).parents[1] / "esp32"
#: Whatever is in these folders and not of this release is removed. Updates live in the last two.
FOLDERS = ("lamp", "a", "b")
#: Says which update runs; without it runs what came by cable.
POINTER = "slot"
MAIN = "main.py"
#: Starts the program where there is no chip.
STARTER = "_start.py"


def compile_program() -> dict[str, bytes]:
    """Return what a board needs, by path.

    Raises:
        CableError: If the compiler is missing.
    """
    with tempfile.TemporaryDirectory(prefix="espfleet-") as name:
        folder = Path(name)
        build_into(folder)
        found = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".mpy"))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def build_with_fakes(folder: Path) -> None:
    """Compile the program into a folder, and beside it the fakes of a chip, for a MicroPython of this machine.

    Raises:
        CableError: If the compiler is missing.
    """
    builder = build_into(folder)
    for source in sorted((SOURCES / "fakes").glob("*.py")):
        builder.compiled(source, folder / "fakes" / f"{source.stem}.mpy")
    # MicroPython starts with this one, and starts nothing that is compiled.
    shutil.copy2(SOURCES / "fakes" / STARTER, folder / STARTER)


def build_into(folder: Path) -> ModuleType:
    """Compile the program into a folder and return what compiles it.

    Raises:
        CableError: If the compiler is missing.
    """
    try:
        builder = _builder()
    except ModuleNotFoundError as exc:
        raise CableError(f"{exc.name} is missing, which compiles the lamp's program: run './espcli setup'") from None
    try:
        builder.build(folder)
    except subprocess.CalledProcessError as exc:
        name = Path(exc.cmd[-1]).name
        raise CableError(f"the lamp's program cannot be compiled: {name} is not MicroPython") from None
    return builder


def _builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("espfleet_lamp_build", SOURCES / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put_program(prompt: Prompt, files: Mapping[str, bytes], advance: Advance = lambda _: None) -> int:
    """Put the program onto a board; return how many of its files were others before.

    What is there already is left alone, and what is of another release is removed: MicroPython would take an old
    ``.py`` before a new ``.mpy``. ``main.py`` goes first and comes last, so that a board that is unplugged meanwhile
    has no program that starts by itself, rather than one of two halves.

    Args:
        prompt: Of the board.
        files: The program by path.
        advance: Called with the number of bytes that are newly known to be there.

    Raises:
        CableError: As ``Prompt`` does.
    """
    old = [path.replace(".mpy", ".py") for path in files if "/" not in path]
    present = json.loads(prompt.run(_LISTING % {"paths": (*FOLDERS, POINTER, *files, *old)}))
    wanted = {path: data for path, data in files.items() if present.get(path) != sha256(data).hexdigest()}
    others = [path for path in present if path not in files]
    advance(sum(len(data) for path, data in files.items() if path not in wanted))
    if not wanted and not others:
        return 0
    for path in {MAIN, *others} & present.keys():
        prompt.run(f"import os\nos.remove({path!r})")
    wanted[MAIN] = files[MAIN]
    for path in sorted(wanted, key=lambda path: (path == MAIN, path)):
        prompt.put(path, wanted[path], advance)
    return len(wanted)


def has_program(prompt: Prompt) -> bool:
    """Return whether a whole lamp's program is on the board, in its files or frozen into its MicroPython."""
    return prompt.run(_PRESENCE).strip() == "there"


#: Runs on the board. ``main.py`` comes last: files of the program without it are half a program.
_PRESENCE = """
import os
try:
    import lamp
    print("there" if "main.py" in os.listdir() or "lamp" not in os.listdir() else "half")
except ImportError:
    print("none")
"""
#: Runs on the board: checksums of all files in some folders, and of some files.
_LISTING = """
import binascii, hashlib, json, os
def checksum(path):
    whole = hashlib.sha256()
    with open(path, "rb") as stream:
        while True:
            data = stream.read(512)
            if not data:
                return binascii.hexlify(whole.digest()).decode()
            whole.update(data)
def walk(path, found):
    try:
        if os.stat(path)[0] & 0x4000:
            for name in os.listdir(path):
                walk(path + "/" + name, found)
        else:
            found[path] = checksum(path)
    except OSError:
        pass
    return found
found = {}
for path in %(paths)r:
    if path not in found:
        walk(path, found)
print(json.dumps(found))
"""
