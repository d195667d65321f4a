"""esp32/Makefile, with the real mpremote, on a board that is a real MicroPython behind a pseudo-terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from esp32 import build
from tests.cable.conftest import Plug
from tests.conftest import wait_until

ROOT = Path(__file__).parents[2]
VENV = Path(sys.executable).parent


def make(*words: str, path: str | None = None, folder: Path = ROOT / "esp32") -> subprocess.CompletedProcess[str]:
    environ = {"PATH": path or f"{VENV}:{os.environ['PATH']}", "HOME": "/nonexistent"}
    return subprocess.run(
        ["make", "--no-print-directory", "-C", str(folder), f"PYTHON={sys.executable}", *words],
        env=environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=55,
    )


def test_put_app_and_put_boot_bring_the_whole_program_onto_a_board_and_nothing_old_stays(
    plug: Plug, tmp_path: Path
) -> None:
    board = plug()
    for old in ("slot", "a/lamp/app.mpy", "lamp/app.py", "lamp/board/pins.py", "slots.py"):
        (board.folder / old).parent.mkdir(parents=True, exist_ok=True)
        (board.folder / old).write_text("old")
    # By this name mpremote waits for each word, where it would look for one every 10 ms; the other tests have it do so.
    port = Path(board.port).readlink()
    done = make("put-app", "put-boot", f"PORT={port}", f"BUILD={tmp_path / 'build'}")
    assert done.returncode == 0, done.stderr
    made = {str(path.relative_to(tmp_path / "build")): path for path in (tmp_path / "build").rglob("*.*py")}
    assert {"boot.py", "main.py", "slots.mpy", "lamp/app.mpy", "lamp/board/pins.mpy"} <= made.keys()
    assert board.files == made.keys()
    assert all((board.folder / path).read_bytes() == there.read_bytes() for path, there in made.items())
    listed = make("ls", f"PORT={board.port}")
    assert "main.py" in listed.stdout
    assert "app.mpy" in listed.stdout


async def test_put_settings_and_reset_start_the_board_with_them(plug: Plug, tmp_path: Path) -> None:
    board = plug()
    (board.folder / "main.py").write_text("import json\nprint(json.load(open('settings.json'))['name'] + ' is here')\n")
    (tmp_path / "mine.json").write_text(json.dumps({"name": "porch"}))
    done = make("put-settings", f"PORT={board.port}", f"SETTINGS={tmp_path / 'mine.json'}")
    assert done.returncode == 0, done.stderr
    assert json.loads((board.folder / "settings.json").read_text()) == {"name": "porch"}
    assert make("reset", f"PORT={board.port}").returncode == 0
    await wait_until(lambda: board.resets == 1)


def test_settings_that_are_no_json_do_not_get_onto_a_board(plug: Plug, tmp_path: Path) -> None:
    board = plug()
    (board.folder / "settings.json").write_text("{}")
    (tmp_path / "mine.json").write_text("{name: porch}")
    done = make("put-settings", f"PORT={board.port}", f"SETTINGS={tmp_path / 'mine.json'}")
    assert done.returncode == 2
    assert "mine.json is not JSON" in done.stderr
    assert (board.folder / "settings.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["put-app"], "which board? give PORT=/dev/ttyUSB0"),
        (["ls", "PORT=/dev/nothing"], "there is no port /dev/nothing: is the board plugged in?"),
        (["flash", "PORT=/dev/null"], "which MicroPython? give FIRMWARE=FILE.bin"),
        (["put-settings", "PORT=/dev/null", "SETTINGS=/nothing.json"], "there is no /nothing.json"),
        (["erase", "PORT=/dev/null", "ESPTOOL=no-such-tool"], "no-such-tool is missing: './espcli setup'"),
        (["ls", "PORT=/dev/null", "MPREMOTE=no-such-tool x"], "no-such-tool is missing: './espcli setup'"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(words: list[str], sentence: str) -> None:
    done = make(*words)
    assert done.returncode == 2
    # After it, make names the line of the Makefile.
    assert [line for line in done.stderr.splitlines() if not line.startswith("make: ***")] == [
        line for line in done.stderr.splitlines() if line.startswith(f"make: {sentence}")
    ]
    assert sentence in done.stderr
    assert not done.stdout


def test_make_alone_says_what_there_is() -> None:
    told = make()
    assert told.returncode == 0
    for target in ("build", "flash", "erase", "put-app", "put-boot", "put-settings", "ls", "repl", "reset"):
        assert f"make {target} " in told.stdout


def test_build_compiles_what_a_board_needs(tmp_path: Path) -> None:
    done = make("build", f"BUILD={tmp_path / 'build'}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build" / "VERSION").read_text().strip() == build.version()
    # For MicroPython 1.23 and newer.
    assert (tmp_path / "build" / "lamp" / "app.mpy").read_bytes()[:2] == b"M\x06"
