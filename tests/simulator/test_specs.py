from __future__ import annotations

import pytest

from espfleet.errors import InvalidError
from espfleet.simulator.specs import LampSpec, hardware_id, new_lamps


def test_a_simulated_lamp_has_the_same_id_each_time() -> None:
    assert hardware_id(1) == hardware_id(1)
    assert new_lamps(3) == new_lamps(3)


def test_ids_differ_by_number_and_by_seed() -> None:
    ids = {hardware_id(number, seed) for number in range(100) for seed in range(10)}
    assert len(ids) == 1_000


def test_no_chip_can_have_the_id_of_a_simulated_lamp() -> None:
    for number in range(100):
        first = int(hardware_id(number)[:2], 16)
        assert first & 0b11 == 0b10


def test_lamps_are_numbered_and_so_are_their_ports() -> None:
    assert [(lamp.name, lamp.port) for lamp in new_lamps(3, first_port=8_101)] == [
        ("lamp-1", 8_101),
        ("lamp-2", 8_102),
        ("lamp-3", 8_103),
    ]
    assert [lamp.port for lamp in new_lamps(2)] == [0, 0]


@pytest.mark.parametrize("count", [0, -1, 1_001, "many", 1.5])
def test_a_wrong_count_is_refused(count: object) -> None:
    with pytest.raises(InvalidError, match="count must be"):
        new_lamps(count)  # type: ignore[arg-type]


def test_ports_end_at_65535() -> None:
    with pytest.raises(InvalidError, match="first_port"):
        new_lamps(10, first_port=65_530)


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(LampSpec(id=hardware_id(1), name="porch", token="secret"))
