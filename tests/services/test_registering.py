"""Adding the device at an address: what cannot be is refused before anybody is asked."""

from __future__ import annotations

from typing import NoReturn

import pytest

from espfleet.errors import InvalidError
from espfleet.services.registering import Boards, register_at
from espfleet.store.client import Store


def asked(*_: object) -> NoReturn:
    pytest.fail("a device was asked")


async def test_a_bad_name_is_refused_before_a_device_is_waited_for(store: Store) -> None:
    with pytest.raises(InvalidError, match="cannot be the name of a device"):
        await register_at(
            store,
            address="127.0.0.1",
            name="a b",
            now_ms=1,
            gateway_url="ws://127.0.0.1:5678",
            boards=Boards(ask=asked, hand_over=asked),
        )
