""".ci/run installs what is missing, runs every check, and tells the truth about them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BASICS = ("sh", "cat", "dirname", "grep", "mktemp", "rm", "tail", "tee", "timeout")
NEEDED = ("ip", "ping", "fping", "redis-server", "openssl", "chromium-headless-shell", "systemd-analyze", "faketime")


class Machine:
    """A machine that has only the programs it was given."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.said = folder / "said"
        self.checkout = folder / "a checkout"
        (self.checkout / ".ci").mkdir(parents=True)
        shutil.copy2(ROOT / ".ci" / "run", self.checkout / ".ci" / "run")
        for name in BASICS:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        for name in NEEDED:
            self.has(name, "")
        self.has("python3", "")
        self.has("id", "echo 0")
        self.has("make", f'echo "make $*, CI=$CI" >>"{self.said}"; echo "==== 3 passed in 0.12s ===="')

    def has(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def has_apt(self) -> None:
        self.has("apt-get", f'echo "apt-get $*" >>"{self.said}"')

    def lacks(self, *names: str) -> None:
        for name in names:
            (self.bin / name).unlink()

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / ".ci" / "run"],
            cwd="/",
            env={"PATH": str(self.bin)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
        )

    def calls(self) -> list[str]:
        return self.said.read_text().splitlines() if self.said.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_runs_lint_types_and_the_test_command_of_the_readme(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.calls() == ["make lint, CI=true", "make types, CI=true", "make test, CI=true"]
    assert "\nmake test " in (ROOT / "README.md").read_text()
    assert done.stdout.splitlines()[-2:] == ["==== 3 passed in 0.12s ====", "ci: all checks passed"]


@pytest.mark.parametrize("check", ["lint", "types", "test"])
def test_a_failed_check_fails_and_the_others_still_run(machine: Machine, check: str) -> None:
    machine.has("make", f'echo "$1" >>"{machine.said}"; echo "= 1 failed, 2 passed in 0.12s ="; [ "$1" != {check} ]')
    done = machine.run()
    assert done.returncode == 1
    assert machine.calls() == ["lint", "types", "test"]
    assert done.stdout.splitlines()[-2:] == ["= 1 failed, 2 passed in 0.12s =", f"ci: failed: {check}"]


def test_tests_that_never_came_to_their_end_are_told(machine: Machine) -> None:
    machine.has("make", "kill -9 $$")
    done = machine.run()
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ["ci: pytest did not come to its end", "ci: failed: lint types test"]


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    machine.has_apt()
    machine.lacks("ip", "fping")
    machine.has("python3", "exit 1")
    assert machine.run().returncode == 0
    update, install = machine.calls()[:2]
    assert update.startswith("apt-get update ")
    assert install.startswith("apt-get install -q -y --no-install-recommends ")
    assert install.endswith(" iproute2 fping python3-venv")


def test_a_complete_machine_is_left_as_it_is(machine: Machine) -> None:
    machine.has_apt()
    machine.run()
    assert not [call for call in machine.calls() if call.startswith("apt-get")]


def test_who_may_not_install_is_told_what_is_missing(machine: Machine) -> None:
    machine.has_apt()
    machine.has("id", "echo 1000")
    machine.lacks("ping")
    done = machine.run()
    assert (done.returncode, machine.calls()) == (1, [])
    assert (
        done.stderr == "ci: these packages are missing, and only root may install them: apt-get install iputils-ping\n"
    )


def test_a_machine_without_apt_is_told_what_is_missing(machine: Machine) -> None:
    machine.lacks("ping", "make")
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr == "ci: these packages are missing, and there is no apt-get to install them: make iputils-ping\n"
