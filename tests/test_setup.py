"""./espcli sets itself up: once, whole or not at all, on any machine, and says in one sentence why it cannot."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_until

ROOT = Path(__file__).parent.parent
ESPCLI = (ROOT / "espcli").read_text()
PIPENV = re.search(r'^PIPENV = "(.+)"$', ESPCLI, re.MULTILINE)[1]  # type: ignore[index]
BASE_PYTHON = os.path.realpath(sys.executable)

# Says what the program was started with, in place of the program.
STAND_IN = """
import json, os, sys
told = {"words": sys.argv[1:], "cwd": os.getcwd(), "path": sys.path[0]}
print(json.dumps(told | {name: os.environ[name] for name in ("ESPFLEET_HOME", "PYTHONPATH")}))
"""
# Makes an environment at once, in place of pipenv. It waits while there is a file "hold", and fails if there is a
# file "fail"; each call is written down.
FAKE_PIPENV = f"""#!/bin/sh
[ "$1" = -I ] && exit 0
mkdir -p .venv/bin
touch .venv/half
echo "$@" >>calls
while [ -e hold ]; do sleep 0.02; done
if [ -e fail ]; then echo "no index answers"; exit 1; fi
rm .venv/half
ln -sf {BASE_PYTHON} .venv/bin/python
"""


class Clone:
    """A fresh clone, as far as the set-up is concerned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("espcli", "Pipfile", "Pipfile.lock"):
            shutil.copy2(ROOT / name, folder / name)
        (folder / "espfleet").mkdir()
        (folder / "espfleet" / "__init__.py").touch()
        (folder / "espfleet" / "__main__.py").write_text(STAND_IN)

    def with_fake_pipenv(self) -> Clone:
        tools = self.folder / ".tools"
        (tools / "bin").mkdir(parents=True)
        (tools / "bin" / "python").write_text(FAKE_PIPENV)
        (tools / "bin" / "python").chmod(0o755)
        (tools / "espfleet-stamp").write_text(PIPENV)
        return self

    @contextmanager
    def start(self, *words: str, path: Path | None = None, **how: Any) -> Iterator[subprocess.Popen[str]]:
        """Start ./espcli, and end it should the test fail before it ends by itself."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [BASE_PYTHON, str(path or self.folder / "espcli"), *words]
        with subprocess.Popen(command, text=True, **({"cwd": self.folder} | pipes | how)) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def run(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        with self.start(*words, **how) as process:
            out, err = process.communicate(timeout=50)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def calls(self) -> list[str]:
        """What pipenv was asked for."""
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def hold(self) -> None:
        (self.folder / "hold").touch()

    def go_on(self) -> None:
        (self.folder / "hold").unlink()


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    fresh = Clone(tmp_path / "a clone").with_fake_pipenv()
    yield fresh
    # Should a test have failed in the middle, nobody waits for ever.
    with contextlib.suppress(FileNotFoundError):
        fresh.go_on()


# --- when it is built


def test_the_first_call_builds_and_then_runs(clone: Clone, tmp_path: Path) -> None:
    done = clone.run("hello", "--loud", cwd=tmp_path)
    home = str(clone.folder)
    assert json.loads(done.stdout) == {
        "words": ["hello", "--loud"],
        "cwd": str(tmp_path),
        "path": home,
        "PYTHONPATH": home,
        "ESPFLEET_HOME": home,
    }
    assert done.stderr.startswith("Setting up espfleet (once, about half a minute) …\n")
    assert clone.calls() == [f"-P -m pipenv install --deploy --python {BASE_PYTHON}"]


def test_the_second_call_says_and_builds_nothing(clone: Clone) -> None:
    clone.run("hello")
    again = clone.run("hello")
    assert (again.returncode, again.stderr) == (0, "")
    assert len(clone.calls()) == 1


def test_another_lock_is_another_set_up_but_another_date_is_not(clone: Clone) -> None:
    clone.run()
    os.utime(clone.folder / "Pipfile.lock", (4e9, 4e9))
    clone.run()
    assert len(clone.calls()) == 1
    with (clone.folder / "Pipfile.lock").open("a") as lock:
        lock.write("\n")
    clone.run()
    # In place, for pipenv throws an environment away when it is told a Python.
    assert clone.calls()[1:] == ["-P -m pipenv install --deploy"]


def test_an_environment_whose_python_vanished_is_built_anew(clone: Clone) -> None:
    clone.run()
    (clone.folder / ".venv" / "old").touch()
    (clone.folder / ".venv" / "bin" / "python").unlink()
    (clone.folder / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    assert clone.run().returncode == 0
    assert not (clone.folder / ".venv" / "old").exists()
    assert "--python" in clone.calls()[1]


def test_what_is_there_already_is_completed_and_kept(clone: Clone) -> None:
    (clone.folder / ".venv" / "bin").mkdir(parents=True)
    (clone.folder / ".venv" / "bin" / "python").symlink_to(BASE_PYTHON)
    (clone.folder / ".venv" / "mine").touch()
    clone.run()
    assert clone.calls() == ["-P -m pipenv install --deploy"]
    assert (clone.folder / ".venv" / "mine").exists()


def test_it_works_through_a_link(clone: Clone, tmp_path: Path) -> None:
    link = tmp_path / "fleet"
    link.symlink_to(clone.folder / "espcli")
    done = clone.run(path=link, cwd="/")
    assert json.loads(done.stdout)["ESPFLEET_HOME"] == str(clone.folder)


def test_settings_of_other_environments_do_not_lead_astray(clone: Clone) -> None:
    fake = clone.folder / ".tools" / "bin" / "python"
    fake.write_text(FAKE_PIPENV.replace('echo "$@" >>calls', "env >>calls"))
    stray = dict.fromkeys(("VIRTUAL_ENV", "PYTHONPATH", "PIP_TARGET", "PIPENV_PIPFILE"), "/elsewhere")
    clone.run(env=os.environ | stray)
    assert not [line for line in clone.calls() if "/elsewhere" in line]
    assert f"PIPENV_PIPFILE={clone.folder}/Pipfile" in clone.calls()


# --- setup


def test_setup_only_builds(clone: Clone) -> None:
    done = clone.run("setup")
    assert (done.returncode, done.stdout) == (0, "")
    assert len(clone.calls()) == 1


def test_the_tools_of_developers_stay(clone: Clone) -> None:
    clone.run()
    clone.run("setup", "--dev")
    assert clone.calls()[1:] == ["-P -m pipenv install --deploy --dev"]
    clone.run("setup")
    clone.run("setup", "--dev")
    assert len(clone.calls()) == 2
    (clone.folder / "Pipfile.lock").write_text("{}")
    clone.run()
    assert clone.calls()[2:] == ["-P -m pipenv install --deploy --dev"]


def test_wrong_words_for_setup_are_wrong_usage(clone: Clone) -> None:
    done = clone.run("setup", "--all")
    assert done.returncode == 2
    assert "usage: ./espcli setup [--dev]" in done.stderr
    assert clone.calls() == []


# --- when it goes wrong


def test_a_failure_shows_its_reason_and_is_not_taken_for_success(clone: Clone) -> None:
    (clone.folder / "fail").touch()
    failed = clone.run()
    assert failed.returncode == 1
    assert "\nno index answers\n" in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("espfleet could not be set up, for the reason above")
    (clone.folder / "fail").unlink()
    assert clone.run().returncode == 0


async def test_two_at_once_build_once(clone: Clone) -> None:
    clone.hold()
    with clone.start("one") as first:
        await wait_until(clone.calls)
        with clone.start("two") as second:
            assert second.stderr is not None
            assert second.stderr.readline() == "Waiting for another ./espcli that is setting espfleet up …\n"
            clone.go_on()
            told = [json.loads(process.communicate(timeout=50)[0])["words"] for process in (first, second)]
    assert told == [["one"], ["two"]]
    assert len(clone.calls()) == 1


@pytest.mark.parametrize(("end", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
async def test_an_interrupted_set_up_is_started_again_from_nothing(
    clone: Clone, end: signal.Signals, code: int
) -> None:
    clone.hold()
    # A shell that started the tests in the background made them deaf to SIGINT.
    with clone.start(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        await wait_until(clone.calls)
        (clone.folder / ".venv" / "rest").touch()
        process.send_signal(end)
        # Its pipenv is ended too, or, after SIGKILL, still holds the gate.
        assert process.wait(timeout=60) == code
    clone.go_on()
    assert clone.run().returncode == 0
    assert not (clone.folder / ".venv" / "rest").exists()
    assert not (clone.folder / ".venv" / "half").exists()


def only_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that was said, by a program that failed."""
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_a_folder_that_cannot_be_written_is_named(clone: Clone) -> None:
    shutil.rmtree(clone.folder / ".tools")
    (clone.folder / ".tools").touch()
    assert only_sentence(clone.run()).startswith(f"espfleet cannot set itself up in {clone.folder}: ")


def test_a_missing_lock_is_named(clone: Clone) -> None:
    (clone.folder / "Pipfile.lock").unlink()
    assert f"{clone.folder}/Pipfile.lock" in only_sentence(clone.run())


def run_changed(clone: Clone, change: str) -> subprocess.CompletedProcess[str]:
    """Run ./espcli in a Python that was changed first."""
    code = f"import runpy, sys; {change}; runpy.run_path('espcli', run_name='__main__')"
    return subprocess.run([BASE_PYTHON, "-c", code], cwd=clone.folder, capture_output=True, text=True, timeout=50)


def test_without_the_venv_module_the_package_is_named(clone: Clone) -> None:
    shutil.rmtree(clone.folder / ".tools")
    said = only_sentence_after_start(run_changed(clone, "sys.modules['ensurepip'] = None"))
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert said.startswith(
        f"espfleet cannot set itself up, for this Python {version} came without venv and ensurepip: "
    )
    if shutil.which("apt"):
        assert f"apt install python{version}-venv'" in said


def only_sentence_after_start(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that was said after the set-up was announced."""
    start, line = done.stderr.splitlines()
    assert start.startswith("Setting up espfleet")
    assert done.returncode == 1
    return line


def test_an_old_python_can_read_the_file_and_says_what_to_do(clone: Clone) -> None:
    ast.parse(ESPCLI, feature_version=(3, 6))
    said = only_sentence(run_changed(clone, "sys.version_info = (3, 6, 15)"))
    assert said.startswith("espfleet needs Python 3.11 or newer; this is 3.6: install ")


def old_pythons() -> list[str]:
    """Return Pythons of this machine that are too old."""
    kept = Path.home() / ".pyenv" / "versions"
    found = [str(path) for path in kept.glob("3.*/bin/python3") if int(path.parts[-3].split(".")[1]) in range(6, 11)]
    return found + [path for minor in range(6, 11) if (path := shutil.which(f"python3.{minor}", path="/usr/bin"))]


def test_real_old_pythons_say_so_too(clone: Clone) -> None:
    for python in old_pythons():
        how = {"cwd": clone.folder, "capture_output": True, "encoding": "utf-8", "timeout": 50}
        said = only_sentence(subprocess.run([python, "espcli", "up"], **how))
        assert said.startswith("espfleet needs Python 3.11 or newer; this is 3.")


# --- Pipfile and Pipfile.lock

PIPFILE = tomllib.loads((ROOT / "Pipfile").read_text())
LOCK = json.loads((ROOT / "Pipfile.lock").read_text())
SECTIONS = [("packages", "default"), ("dev-packages", "develop")]
WANTED = [(name, wish, locked) for part, locked in SECTIONS for name, wish in PIPFILE[part].items()]


def test_the_lock_names_no_index() -> None:
    assert "source" not in PIPFILE
    assert LOCK["_meta"]["sources"] == []
    assert not [name for _, part in SECTIONS for name, package in LOCK[part].items() if "index" in package]


def test_every_locked_package_has_hashes() -> None:
    assert not [name for _, part in SECTIONS for name, package in LOCK[part].items() if not package.get("hashes")]


def test_no_python_is_required_by_number() -> None:
    """Or pipenv would turn every other one away."""
    assert "requires" not in PIPFILE
    assert LOCK["_meta"]["requires"] == {}


@pytest.mark.parametrize(("name", "wish", "part"), WANTED, ids=[name for name, _, _ in WANTED])
def test_the_lock_fits_the_pipfile(name: str, wish: str | dict[str, Any], part: str) -> None:
    version = wish if isinstance(wish, str) else wish["version"]
    assert version.startswith("=="), "what is tested is what is installed"
    assert LOCK[part][name]["version"] == version


def test_the_lock_serves_debians_python_too() -> None:
    """Redis needs async-timeout before 3.11.3; a lock made without its own line would lack it."""
    assert PIPFILE["packages"]["async-timeout"]["markers"] == "python_full_version < '3.11.3'"
    assert LOCK["default"]["async-timeout"]["markers"] == "python_full_version < '3.11.3'"
