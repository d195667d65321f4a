"""What an older espfleet stored is read by a newer one, step by step; the other way round is refused."""

from __future__ import annotations

import pytest

from espfleet.domain.migration import SCHEMA, STEPS, Tables, migrated
from espfleet.errors import InvalidError


def first(tables: Tables) -> Tables:
    """Make-believe: version 1 called a room's group its zone."""
    rooms = {name: {**row, "group": row["zone"]} for name, row in tables["rooms"].items()}
    return {**tables, "rooms": rooms}


def second(tables: Tables) -> Tables:
    """Make-believe: version 2 had no brightness."""
    rooms = {name: {**row, "brightness": 70} for name, row in tables["rooms"].items()}
    return {**tables, "rooms": rooms}


OLD: Tables = {"rooms": {"hall": {"name": "hall", "zone": "wan"}}}


def test_every_step_from_the_old_version_on_is_taken_in_order() -> None:
    assert migrated(OLD, 1, [first, second])["rooms"]["hall"] == {
        "name": "hall",
        "zone": "wan",
        "group": "wan",
        "brightness": 70,
    }
    assert migrated(OLD, 2, [first, second])["rooms"]["hall"] == {"name": "hall", "zone": "wan", "brightness": 70}


def test_what_is_up_to_date_stays_as_it_is() -> None:
    assert migrated(OLD, 3, [first, second]) == OLD


@pytest.mark.parametrize("schema", [4, 99, 0, -1])
def test_a_version_that_no_step_knows_is_refused_in_one_sentence(schema: int) -> None:
    with pytest.raises(InvalidError, match=rf"made by a newer espfleet \(schema {schema}; this one knows 3\)"):
        migrated(OLD, schema, [first, second])


def test_the_version_of_this_espfleet_follows_from_its_steps() -> None:
    assert len(STEPS) + 1 == SCHEMA
