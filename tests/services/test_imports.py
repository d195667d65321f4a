"""A PING_LAMP ``.env`` becomes targets and thresholds."""

from __future__ import annotations

import pytest

from espfleet.errors import ConflictError, InvalidError
from espfleet.services import imports, targets
from espfleet.store import registry
from espfleet.store.client import Store

VALUES = {
    "PING_TARGET_1_HOST": "example.org",
    "PING_TARGET_1_INTERVAL_S": "1",
    "PING_TARGET_2_HOST": "192.0.2.1",
    "PING_TARGET_2_INTERVAL_S": "0.01",
    "SERVER_PORT": "5679",
    "AVG_ORANGE_THRESHOLD_MS": "20",
    "AVG_RED_THRESHOLD_MS": "60",
    "ABS_RED_SHORT_TERM_MS": "40.0",
    "Z_SCORE_RED_THRESHOLD": "3.5",
    "MY_OWN": "x",
}


def test_targets_thresholds_settings_and_the_rest_are_told_apart() -> None:
    imported = imports.read_pinglamp(VALUES)
    assert [(one.name, one.address, one.interval_ms) for one in imported.targets] == [
        ("T1", "example.org", 1_000),
        ("T2", "192.0.2.1", 10),
    ]
    thresholds = imported.group.thresholds
    assert (thresholds.latency_orange_ms, thresholds.latency_red_ms, thresholds.at_once_red_ms) == (20, 60, 40)
    assert imported.settings == ("SERVER_PORT=5679",)
    assert dict(imported.left_out) == {
        "Z_SCORE_RED_THRESHOLD": "jumps are judged against a baseline, not by z-score",
        "MY_OWN": "it is not a setting of PING_LAMP",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PING_TARGET_1_INTERVAL_S": None}, "PING_TARGET_1_INTERVAL_S must be a number from 0.01 to 3600"),
        ({"PING_TARGET_1_INTERVAL_S": "0"}, "PING_TARGET_1_INTERVAL_S must be a number"),
        ({"PING_TARGET_2_HOST": "not a host"}, "PING_TARGET_2_HOST: 'not a host' is not an address"),
        ({"AVG_RED_THRESHOLD_MS": "10"}, "must be below"),
    ],
)
def test_what_cannot_be_used_is_named(changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        imports.read_pinglamp(VALUES | changes)


@pytest.mark.parametrize("number", ["01", "\u0661", "9" * 5_000, "\u00b2", "-1"])
def test_a_number_that_is_written_otherwise_is_no_target(number: str) -> None:
    with pytest.raises(InvalidError, match="no PING_TARGET_1_HOST"):
        imports.read_pinglamp({f"PING_TARGET_{number}_HOST": "192.0.2.1", f"PING_TARGET_{number}_INTERVAL_S": "1"})


def test_a_file_without_targets_is_refused() -> None:
    with pytest.raises(InvalidError, match="no PING_TARGET_1_HOST"):
        imports.read_pinglamp({"SERVER_PORT": "1"})


async def test_importing_twice_changes_nothing_and_never_overwrites(store: Store) -> None:
    imported = imports.read_pinglamp(VALUES)
    await imports.take_over(store, imported)
    before = await registry.load(store)
    assert before.groups["pinglamp"].targets == ("T1", "T2")
    await imports.take_over(store, imported)
    assert await registry.load(store) == before
    await targets.edit(store, name="T1", interval_ms=500)
    with pytest.raises(ConflictError, match="another target 'T1'"):
        await imports.take_over(store, imported)
