"""The page of capacity shows what was measured, and plans go by it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.capacity_page import BENCH, LOADS, ROOT, WHOLE_PROMISE, compared, figures, stored, take_over, write
from bench.whole_fleet import CPU, in_words
from espfleet.domain.capacity import MOST_DEVICES
from espfleet.domain.unit_costs import COSTS

STORED = stored()
MEASURED = {one["promise"]: one["ours"] for one in STORED["promises"]}


def test_every_cost_of_plans_is_measured() -> None:
    assert MEASURED.keys() == {cost.what for cost in COSTS.values()}


@pytest.mark.parametrize("key", COSTS)
def test_plans_take_about_what_was_measured(key: str) -> None:
    cost = COSTS[key]
    assert MEASURED[cost.what] is not None, "it was added after the last run of this bench: make bench BENCH=capacity"
    assert cost.value / cost.factor <= MEASURED[cost.what] <= cost.value * cost.factor


def test_the_page_shows_what_is_stored_and_what_follows_from_it() -> None:
    page = (ROOT / "docs" / "capacity.md").read_text()
    assert figures(STORED, stored(bench="whole_fleet")) in page, (
        "write it anew: .venv/bin/python -m bench.capacity_page"
    )


def test_the_formula_speaks_of_every_cost() -> None:
    words = (ROOT / "docs" / "capacity.md").read_text().partition("## What one costs")[0]
    told = {key for key in COSTS if f"`{key}`" in words}
    # What is asked of the registry, and of storms, is told below.
    assert COSTS.keys() - told == {
        *("device_first", "device_again", "device_stall", "redis_device_read"),
        *("gateway_come", "gateway_heard_arrival", "redis_come"),
    }


def test_a_million_lamps_are_several_fleets() -> None:
    assert max(load.lamps for load in LOADS) == 1_000_000
    assert f"| fleets | 1 | 1 | {1_000_000 // MOST_DEVICES} |" in figures(STORED, {})


def whole_fleet_took(percent: float | None, note: str) -> str:
    return " ".join(compared({"promises": [{"promise": WHOLE_PROMISE, "ours": percent, "note": note}]}))


def test_what_is_reckoned_stands_beside_what_a_whole_fleet_took() -> None:
    bare = whole_fleet_took(55.4, "gateway 29%; bare keepalives only")
    full = whole_fleet_took(58.4, "gateway 32%; " + in_words({"sent": 1_000, "numbered": 100, "readings": 99}))
    assert "with bare keepalives and 1,000 targets took 55 % of a core" in bare
    assert "which told numbers as the firmware does and 1,000 targets took 58 % of a core" in full
    assert reckoned(full) > reckoned(bare)
    assert compared({}) == []
    assert whole_fleet_took(None, "") == ""


def test_what_each_kind_of_process_took_stands_beside_what_is_reckoned_for_it() -> None:
    told = whole_fleet_took(69, "gateway 37.4%, redis 14.9%, up 0.4%; the lamps' process: 24%; bare keepalives only")
    assert re.search(r"Of that, measured \(and reckoned\): gateway 37 % \(\d+\), redis 15 % \(\d+\)\.", told)


def test_what_plans_come_to_by_the_last_figures_is_said() -> None:
    said = figures(STORED, {})
    assert re.search(r"the three plans come to [\d.]+ instead of [\d.]+, .+ and [\d.]+ instead of [\d.]+ cores", said)
    twice = json.loads(json.dumps(STORED))
    for one in twice["promises"]:
        one["ours"] = 1e9
    assert "no number of processes is enough" in figures(twice, {})
    # Plans take what they took.
    assert figures(STORED, {}) == said


def test_the_formula_assumes_of_lamps_what_plans_do() -> None:
    words = (ROOT / "docs" / "capacity.md").read_text().partition("## What one costs")[0]
    shares = set(re.findall(r"([\d.]+) × `(?:gateway|wire)_report", words)) | set(
        re.findall(r"\*R\* = ([\d.]+) \*N\*", words)
    )
    assert shares == {f"{LOADS[0].reports_per_s:g}"}


def reckoned(text: str) -> int:
    return int(text.partition("(")[2].partition("; ")[2].split()[0])


def test_the_bench_of_a_whole_fleet_still_measures_what_is_compared_and_says_what_lamps_told() -> None:
    assert WHOLE_PROMISE == CPU
    assert in_words({"sent": 200_000, "numbered": 20_000, "readings": 19_990}) == (
        "10% of 200,000 keepalives with numbers in them, and 19,990 messages of readings"
    )
    assert in_words({"sent": 200_000, "numbered": 0, "readings": 0}) == "bare keepalives only"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("docs", "bench/results", "espfleet/domain"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("docs/capacity.md", f"bench/results/{BENCH}.json", "espfleet/domain/unit_costs.py"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def measure_again(root: Path, **values: float) -> None:
    found = json.loads(json.dumps(STORED))
    for key, value in values.items():
        next(one for one in found["promises"] if one["promise"] == COSTS[key].what)["ours"] = value
    (root / "bench" / "results" / f"{BENCH}.json").write_text(json.dumps(found))


def test_what_is_measured_anew_comes_onto_the_page(root: Path) -> None:
    measure_again(root, gateway_level=987.6)
    write(root)
    text = (root / "docs" / "capacity.md").read_text()
    assert "| 987.6 |" in text
    assert text.startswith("# How much a fleet needs")
    assert text.rstrip().endswith("before you buy machines.")


def test_plans_can_take_over_what_was_measured(root: Path) -> None:
    measure_again(root, gateway_level=12.345, leveler_base=234_567)
    take_over(root)
    text = (root / "espfleet" / "domain" / "unit_costs.py").read_text()
    assert 'UnitCost("gateway_level", "a level sent to a lamp by the gateway", "µs", 12)' in text
    assert '"µs/s", 230_000)' in text
    compile(text, "unit_costs.py", "exec")


def test_a_project_without_that_page_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path)
    assert list(tmp_path.iterdir()) == []
