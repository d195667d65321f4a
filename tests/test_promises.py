"""Each promise of docs/promises.md names the tests that hold it and the benches that measure it; all of them exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bench.run import discover

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/promises.md"
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| promise ")]
BENCHES = sorted(set(re.findall(r"`bench/(\w+)\.py`", PAGE.read_text())))
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())))


def found_in(path: Path) -> set[str]:
    """Return the tests of a module that nothing switches off."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            marks = {ast.unparse(mark) for mark in node.decorator_list}
            if not any(mark.startswith(("pytest.mark.skip", "pytest.mark.xfail")) for mark in marks):
                found.add(node.name)
    return found


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_holds_a_promise_exists(path: str, name: str) -> None:
    assert name in found_in(ROOT / path)


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_that_measures_a_promise_exists(name: str) -> None:
    assert name in discover(ROOT / "bench")


@pytest.mark.parametrize("row", ROWS)
def test_a_promise_names_its_figure_and_a_test(row: str) -> None:
    promise, figure, tests = row.strip("| ").split(" | ")
    assert promise
    assert figure
    assert re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`(, `tests/[\w/]+\.py::test_\w+`)*(, `bench/\w+\.py`)*", tests), (
        tests
    )
