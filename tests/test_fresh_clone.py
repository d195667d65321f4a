"""The real thing: an ordinary user types ./espcli in a fresh clone, and everything is fetched and built."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.own_time import promised
from tests.test_setup import BASE_PYTHON, Clone


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, with a space in its name."""
    folder = Path(tempfile.mkdtemp(prefix="espfleet set-up ", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def ordinary_user(home: Path) -> dict[str, Any]:
    """Return how to start a process as an ordinary user, who has our configuration of pip, if we are root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    for place in (".config/pip/pip.conf", ".pip/pip.conf"):
        if (mine := Path.home() / place).exists():
            (home / place).parent.mkdir(parents=True)
            shutil.copy(mine, home / place)
    for path in (home, *home.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    environment = os.environ | {"HOME": str(home), "USER": "nobody", "TMPDIR": str(home)}
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "env": environment}


def python_for(how: dict[str, Any]) -> str:
    """Return a good Python that this user may start; root's own may lie where nobody else may look."""
    usual = [f"/usr/bin/python3.{minor}" for minor in range(11, 16)]
    check = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
    for python in (BASE_PYTHON, *usual):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", check], cwd="/", stderr=subprocess.DEVNULL, **how).returncode == 0:
                return python
    pytest.skip("no Python 3.11 or newer that an ordinary user may start")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_ordinary_user_sets_up_a_fresh_clone(open_folder: Path) -> None:
    clone = Clone(open_folder / "a clone")
    how = ordinary_user(open_folder)
    python = python_for(how)
    imports = "redis hiredis numpy websockets fire rich requests dotenv"
    (clone.folder / "espfleet" / "__main__.py").write_text(f"import {imports.replace(' ', ', ')}\nprint('all there')\n")
    command = [python, "espcli", "hello"]
    first = subprocess.run(command, cwd=clone.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, **how)
    assert (first.returncode, first.stdout) == (0, "all there\n"), first.stderr
    with promised(10):
        second = subprocess.run(
            command, cwd=clone.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, **how
        )
    assert (second.stdout, second.stderr) == ("all there\n", "")
