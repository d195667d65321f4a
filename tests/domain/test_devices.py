"""Devices and their addresses."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.devices import Device, Dialect, Kind, check_device_address, new_device, split_address
from espfleet.errors import InvalidError

ID = "3c71bff93720"


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 80),
        ("192.0.2.1:8080", "192.0.2.1", 8080),
        ("2001:db8::1", "2001:db8::1", 80),
        ("[2001:db8::1]", "2001:db8::1", 80),
        ("[2001:db8::1]:81", "2001:db8::1", 81),
    ],
)
def test_an_address_has_a_host_and_a_port(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)
    assert new_device(device_id=ID, name="porch", address=f" {address} ").host == host


@pytest.mark.parametrize(
    "address",
    [
        "porch.lan", "192.0.2", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:x", "192.0.2.1:８０",
        "[::1", "[::1]x:80",
        "192.0.2.1:80:80", "0.0.0.0", "::", "224.0.0.1", "192.0.2.1/24", "http://192.0.2.1", "a" * 10_000, 5, None,
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_device_is_refused(address: object) -> None:
    with pytest.raises(InvalidError) as refused:
        check_device_address(address)
    assert len(str(refused.value)) < 150


@given(st.text(max_size=40))
def test_no_text_makes_the_parser_stumble(text: str) -> None:
    with contextlib.suppress(InvalidError):
        split_address(text)


def test_a_device_survives_being_stored() -> None:
    device = new_device(
        device_id="3C:71:BF:F9:37:20",
        name="porch",
        address="192.0.2.1",
        room="hall",
        group="uplink",
        brightness="40",
        labels=["b", "a", "b"],
        dialect="pinglamp",
        token_hashes=["x"],
        registered_ms=5,
    )
    assert (device.id, device.labels, device.dialect) == (ID, ("b", "a"), Dialect.PINGLAMP)
    assert Device.from_dict({**device.to_dict(), "unheard": 1}) == device
    assert Device.from_dict({"id": ID, "name": "porch"}) == Device(id=ID, name="porch", kinds=(Kind.LAMP,))


def test_a_device_without_address_has_no_host() -> None:
    assert new_device(device_id=ID, name="porch").host == ""


def test_simulated_devices_say_so() -> None:
    assert new_device(device_id=ID, name="porch", labels=["simulated"]).simulated
    assert not new_device(device_id=ID, name="porch").simulated


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device_id": "12"}, "'12' is not a hardware id"),
        ({"name": "no good"}, "cannot be the name of a device"),
        ({"address": "here"}, "'here' is not the address of a device"),
        ({"room": ""}, "cannot be the name of a room"),
        ({"group": "no good"}, "cannot be the name of a group"),
        ({"brightness": -1}, "brightness must be a number from 0 to 100 percent"),
        ({"dialect": "latin"}, "'latin' is not a dialect: use one of v1, pinglamp"),
        ({"labels": [""]}, "cannot be the name of a label"),
    ],
)
def test_bad_devices_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        new_device(**{"device_id": ID, "name": "porch", **changes})


@pytest.mark.parametrize(
    ("kinds", "dialect", "glows"),
    [
        ((Kind.LAMP,), Dialect.V1, True),
        ((Kind.LAMP,), Dialect.PINGLAMP, True),
        ((Kind.CAMERA, Kind.LAMP), Dialect.HUB, True),
        ((Kind.CAMERA,), Dialect.HUB, False),
        ((Kind.BOARD,), Dialect.V1, False),
        ((Kind.LAMP,), Dialect.RELAY, False),
        ((Kind.LAMP,), Dialect.BOARDS, False),
    ],
)
def test_only_what_has_a_light_for_levels_glows(kinds: tuple[Kind, ...], dialect: Dialect, glows: bool) -> None:
    assert Device(id=ID, name="porch", kinds=kinds, dialect=dialect).glows is glows
