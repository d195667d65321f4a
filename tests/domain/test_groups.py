"""Groups, their thresholds and presets."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from espfleet.domain.groups import PRESETS, THRESHOLD_NAMES, Combine, Group, Thresholds, new_group
from espfleet.errors import InvalidError


def test_a_group_has_the_thresholds_of_its_preset() -> None:
    assert new_group("g").thresholds == PRESETS["broadband"]
    assert new_group("g", preset="lan").thresholds == PRESETS["lan"]


def test_a_group_lays_its_own_thresholds_over_the_preset() -> None:
    group = new_group("g", overrides={"latency_orange_ms": "60", "jitter_orange_ms": "none", "jitter_red_ms": None})
    assert group.thresholds.latency_orange_ms == 60
    assert group.thresholds.jitter_red_ms is None
    assert group.thresholds.latency_red_ms == PRESETS["broadband"].latency_red_ms


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_would_be_accepted_from_a_user(preset: str) -> None:
    given = {name: value for name, value in asdict(PRESETS[preset]).items() if value is not None}
    assert new_group("g", preset=preset, overrides=given).thresholds == PRESETS[preset]


def test_the_pinglamp_preset_holds_the_numbers_of_ping_lamp() -> None:
    assert PRESETS["pinglamp"] == Thresholds(
        latency_orange_ms=20,
        latency_red_ms=50,
        jitter_orange_ms=None,
        jitter_red_ms=None,
        loss_orange_percent=2,
        loss_red_percent=10,
        jump_orange=None,
        jump_red=None,
        at_once_red_ms=40,
    )


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"latency_oragne_ms": 5}, "is not a threshold; did you mean 'latency_orange_ms'?"),
        ({"zzz": 5}, "is not a threshold; use one of latency_orange_ms, "),
        ({"latency_orange_ms": 0}, "latency_orange_ms must be a number from 0.001 to 60000 ms"),
        ({"latency_orange_ms": "none"}, "latency_orange_ms must be a number"),
        ({"latency_orange_ms": 150}, r"latency_orange_ms \(150\) must be below latency_red_ms \(150\)"),
        ({"loss_red_percent": 101}, "loss_red_percent must be a number from 0.01 to 100 percent"),
        ({"jump_orange": 1}, "jump_orange must be a number from 1.01 to 1000 times the baseline"),
        ({"jitter_orange_ms": "none"}, "set both jitter_orange_ms and jitter_red_ms, or neither"),
        ({"jump_red": float("nan")}, "jump_red must be a number"),
    ],
)
def test_bad_thresholds_are_refused(overrides: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        new_group("g", overrides=overrides)


def test_targets_lose_their_doubles_and_keep_their_order() -> None:
    assert new_group("g", ["b", "a", "b"]).targets == ("b", "a")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "no good"}, "cannot be the name of a group"),
        ({"targets": ["no good"]}, "cannot be the name of a target"),
        ({"preset": "moon"}, "'moon' is not a preset: use one of lan, broadband, mobile, satellite, pinglamp"),
        ({"combine": "best"}, "'best' is not a way to combine: use worst, median, quorum"),
        ({"quorum": 0}, "quorum must be a number from 1"),
        ({"quorum": 1.5}, "quorum must be a whole number"),
        ({"labels": ["no good"]}, "cannot be the name of a label"),
    ],
)
def test_bad_groups_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        new_group(**{"name": "g", **changes})


def test_a_group_survives_being_stored() -> None:
    group = new_group("g", ["a"], "lan", {"jump_ms": 9}, "quorum", 3, paused=True, labels=["home"])
    assert group.combine is Combine.QUORUM
    assert Group.from_dict({**group.to_dict(), "unheard": 1}) == group
    assert Group.from_dict({"name": "g"}) == Group(name="g")


def test_thresholds_unknown_to_this_version_are_left_out() -> None:
    assert Group.from_dict({"name": "g", "overrides": {"warp_ms": 1, "jump_ms": 2}}).overrides == (("jump_ms", 2),)
    assert "jump_ms" in THRESHOLD_NAMES
