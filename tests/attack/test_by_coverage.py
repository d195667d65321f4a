"""The search by coverage, with a stand-in for ``atheris``: it begins with examples and stops at a defect."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack.by_coverage import mutated
from tests.attack.parsers import PARSERS, survives

ROOT = Path(__file__).parents[2]
#: As much of it as is used: it reads what it is to begin with, changes that some times, and runs.
ATHERIS = """
import contextlib
from pathlib import Path

def instrument_imports(include):
    assert include == ["espfleet"]
    return contextlib.nullcontext()

def Mutate(data, most):
    return (data + b"!")[:most]

def Setup(words, run, custom_mutator):
    Setup.todo = sorted(path.read_bytes() for path in Path(words[-1]).iterdir()), run, custom_mutator
    assert "-runs=1" in words

def Fuzz():
    examples, run, mutate = Setup.todo
    for seed in range(100):
        for example in examples:
            run(mutate(example, 4_096, seed) if seed else example)
    print(len(examples), "examples")
"""


def search(tmp_path: Path, name: str, defect: str = "") -> subprocess.CompletedProcess[str]:
    (tmp_path / "atheris.py").write_text(ATHERIS)
    program = f"from tests.attack import by_coverage, parsers\n{defect}\nby_coverage.main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", program, name, "-runs=1"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_search_begins_with_the_examples_of_the_parser(tmp_path: Path) -> None:
    found = search(tmp_path, "protocol 1")
    assert (found.returncode, found.stdout) == (0, f"{len(PARSERS['protocol 1'][1])} examples\n"), found.stderr


def test_a_defect_ends_it(tmp_path: Path) -> None:
    wrong = "parsers.PARSERS['protocol 1'] = (lambda data: {}[b'!' in data], parsers.SAID)"
    found = search(tmp_path, "protocol 1", wrong)
    assert found.returncode == 1
    assert "KeyError" in found.stderr


def test_what_is_no_parser_is_named(tmp_path: Path) -> None:
    found = search(tmp_path, "protocol 2")
    assert found.returncode == 1
    assert "say what to search: all, or one of protocol 1" in found.stderr


@pytest.mark.parametrize("name", PARSERS)
def test_changed_examples_are_survived_and_objects_stay_objects(name: str) -> None:
    objects = 0
    for seed in range(60):
        for example in PARSERS[name][1]:
            changed = mutated(example, 8_192, seed, lambda data, _most: data[:-1])
            survives(name, changed)
            if example[:1] == b"{":
                with contextlib.suppress(json.JSONDecodeError):
                    objects += isinstance(json.loads(changed), dict)
    if PARSERS[name][1][0][:1] == b"{":
        assert objects > 30
