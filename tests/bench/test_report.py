"""Benches say what they measured in a way that people and programs can trust."""

from __future__ import annotations

import json

import pytest

from bench.report import figure, judge, not_measured, report


def test_a_report_ends_with_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    report("probes a second", [150, 160, 140], [90, 100, 110], bound="ratio >= 1.5", unit="1/s", peer_name="fping -i 0")
    *table, line = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "promise": "probes a second",
        "ours": 150,
        "peer": 100,
        "peer_name": "fping -i 0",
        "ratio": 1.5,
        "unit": "1/s",
        "bound": "ratio >= 1.5",
        "holds": True,
        "runs": 3,
        "spread": {"kind": "min-max", "ours": [140, 160], "peer": [90, 110]},
    }
    assert table[0] == "probes a second [1/s]"
    assert any("fping -i 0" in row and "100" in row for row in table)
    assert "holds: ratio >= 1.5, 3 runs" in table[-1]


@pytest.mark.parametrize(
    ("bound", "holds"),
    [
        ("ours <= 0.6", True),
        ("ours <= 0.5", False),
        ("ours < 0.55", False),
        ("ours > 0.5", True),
        ("ours == 0.55", True),
        ("ratio <= 0.3", False),
        ("ratio >= 0.5", True),
    ],
)
def test_a_bound_is_judged_by_medians(bound: str, holds: bool) -> None:
    assert judge("tick", [0.5, 0.55, 9.0], [1.1], bound=bound).holds is holds


def test_four_runs_have_quartiles() -> None:
    result = judge("tick", [1, 2, 3, 4, 100], [7, 7, 7, 7], bound="ours <= 3")
    assert result.spread is not None
    assert (result.spread.kind, result.spread.ours, result.spread.peer) == ("quartiles", (2, 4), (7, 7))


@pytest.mark.parametrize("bound", ["", "ours", "ours >= many", "theirs <= 3", "ours ~ 3", "ours<=3"])
def test_a_bound_that_cannot_be_read_is_refused(bound: str) -> None:
    with pytest.raises(ValueError, match="a bound reads"):
        judge("tick", [1], bound=bound)


@pytest.mark.parametrize("ours", [[], [float("nan")], [1, float("inf")]])
def test_a_promise_needs_finite_figures(ours: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite figure a run"):
        judge("tick", ours, bound="ours <= 3")


@pytest.mark.parametrize("peer", [None, [0, 0]])
def test_a_ratio_needs_a_peer(peer: list[float] | None) -> None:
    with pytest.raises(ValueError, match="a ratio needs a peer"):
        judge("tick", [1], peer, bound="ratio <= 3")


def test_what_cannot_be_measured_is_neither_kept_nor_broken(capsys: pytest.CaptureFixture[str]) -> None:
    not_measured("probes a second", bound="ratio >= 1.5", reason="fping is not installed")
    *table, line = capsys.readouterr().out.splitlines()
    assert json.loads(line)["holds"] is None
    assert json.loads(line)["note"] == "fping is not installed"
    assert "not measured: ratio >= 1.5" in table[-2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (1234567.8, "1,234,568"),
        (1.5, "1.5"),
        (0.012345, "0.01235"),
        (20, "20"),
        (-3.25, "-3.25"),
    ],
)
def test_figures_show_the_digits_that_matter(value: float | None, text: str) -> None:
    assert figure(value) == text
