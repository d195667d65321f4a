"""Profiles: where the time goes, in a few lines of text."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import weighing
from bench.capacity_page import BENCH, ROOT
from bench.profiles import FOLDER, LOADS, WEIGHED, take
from bench.sampling import TOP, counted, spy, table, without_waiting

STACKS = [
    "run (asyncio.py:12);send (transport.py:90) 60",
    "run (asyncio.py:14);send (transport.py:97) 15",
    "run (asyncio.py:14);read (parser.py:7) 25",
]


def test_a_profile_counts_a_function_once_whatever_line_it_was_at() -> None:
    head, *rows = table(counted(STACKS)).splitlines()
    assert head.split() == ["self", "within", "function"]
    assert [row.split(maxsplit=2) for row in rows] == [
        ["75.0%", "75.0%", "send (transport.py)"],
        ["25.0%", "25.0%", "read (parser.py)"],
    ]


def test_a_function_that_calls_itself_is_within_itself_once() -> None:
    rows = table(counted(["walk (tree.py:1);walk (tree.py:1);leaf (tree.py:5) 4", "walk (tree.py:1) 4"])).splitlines()[
        1:
    ]
    assert sorted(row.split()[1] for row in rows) == ["100.0%", "50.0%"]


def test_a_profile_is_short() -> None:
    rows = table(counted(f"one (file.py:1);f{number} (file.py:2) {number}" for number in range(1, 40))).splitlines()
    assert len(rows) == 1 + TOP


def test_a_profile_of_one_that_does_nothing_is_empty() -> None:
    assert table({}).splitlines()[1:] == []


def test_waits_for_a_core_do_not_count() -> None:
    wait, work = ("run (loop.py)", "EpollSelector.select (selectors.py)"), ("run (loop.py)", "send (transport.py)")
    seen = {wait: 300, work: 80}
    # 100 looks is what CPU was used for: of those that saw it wait, 20 were work of the kernel.
    assert without_waiting(seen, 100) == {wait: 20, work: 80}
    assert without_waiting(seen, 60) == {wait: 0, work: 80}
    assert without_waiting(seen, 1_000) == seen
    assert "select" not in table(without_waiting(seen, 80))


def test_looks_that_saw_nothing_do_not_count() -> None:
    assert counted([" 40", "run (loop.py:3) 2"]) == {("run (loop.py)",): 2}


def test_memory_is_told_for_each_thing_the_most_first() -> None:
    rows = weighing.table({"a.py: small": 50, "b.py: large": 950}, 10, "line").splitlines()
    assert rows[0] == "100 bytes each"
    assert [row.split(maxsplit=2) for row in rows[3:]] == [["95", "95.0%", "b.py: large"], ["5", "5.0%", "a.py: small"]]


def test_what_takes_little_memory_is_told_together() -> None:
    rows = weighing.table({f"{number}.py: code": 100 - number for number in range(weighing.TOP + 3)}, 1, "line")
    assert rows.splitlines()[-1].endswith("3 others")


def test_a_line_is_named_by_what_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text("import os\nlarge = bytes(1_000)\n")
    assert weighing.named(f"{path}:2") == f"{tmp_path.name}/one.py: large = bytes(1_000)"
    assert weighing.named("<string>:0") == "<string>: code"


def test_there_is_no_profile_of_anything_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert take(["gateway_dreams"]) == 2
    assert (
        "there is no profile gateway_dreams; there are: boards, firmware, gateway_connects" in capsys.readouterr().err
    )


def test_who_lacks_the_profiler_is_told_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.profiles.spy", lambda: tmp_path / "nowhere")
    monkeypatch.setattr("bench.profiles.servers.missing", lambda *_: "")
    monkeypatch.setattr("bench.profiles.namespace.possible", lambda: True)
    said: list[str] = []
    monkeypatch.setattr("builtins.print", lambda text, **_: said.append(text))
    assert take(["web_readers"]) == 1
    assert said == ["needs py-spy: .venv/bin/pip install py-spy"]
    assert spy().name == "py-spy"


@pytest.mark.parametrize("bench", sorted({path.stem for path in (ROOT / "bench" / "results").glob("*.json")} - {BENCH}))
def test_the_page_says_what_limits_the_figures_of_every_bench(bench: str) -> None:
    said = (ROOT / "docs" / "performance.md").read_text().partition("## What limits")[2]
    assert f"`{bench}`" in said, "say it in docs/performance.md, with a profile where CPU is the limit"


def test_every_profile_can_be_reached_from_the_page() -> None:
    said = (ROOT / "docs" / "performance.md").read_text()
    kept = [path.name for path in sorted(FOLDER.iterdir())]
    # One of the fleet's processes stands for all of them.
    assert [name for name in kept if name not in said and not name.startswith("whole_fleet")] == []


@pytest.mark.parametrize("name", LOADS)
def test_every_profile_is_kept(name: str) -> None:
    kept = sorted(FOLDER.glob(f"{name}*.txt"))
    assert kept, f"take it: .venv/bin/python -m bench.profiles {name}"
    for path in kept:
        text = path.read_text()
        assert "% of a core, of which" in text
        assert 3 <= len(text.split("function\n")[1].splitlines()) <= TOP


@pytest.mark.parametrize("name", WEIGHED)
def test_every_memory_is_kept(name: str) -> None:
    assert "bytes each" in (FOLDER / f"{name}.txt").read_text(), f".venv/bin/python -m bench.profiles {name}"
