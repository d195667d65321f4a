"""Nothing is left behind by a run of the tests, not even by one that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import TEST_FOLDER
from tests.janitor import processes_of

JANITOR = Path(__file__).with_name("janitor.py")


def test_what_works_in_the_folder_is_ended_with_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-I", str(JANITOR), str(folder)]
    with (
        subprocess.Popen(["sleep", "60"], cwd=folder) as sleeper,
        subprocess.Popen(command, stdin=subprocess.PIPE) as janitor,
    ):
        assert sleeper.pid in processes_of(folder)
        assert sleeper.poll() is None
        janitor.communicate()
        assert sleeper.wait(5.0) == -signal.SIGKILL
    assert not folder.exists()


def test_other_processes_are_not_the_runs() -> None:
    assert 1 not in processes_of(TEST_FOLDER)
