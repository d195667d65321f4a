"""Attacks by words: on the command line, in names, and through the addresses of devices."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from espfleet.boards import client
from espfleet.domain.devices import split_address
from espfleet.domain.outages import EVENT
from espfleet.errors import BoardError, InvalidError
from espfleet.services import devices, groups, jobs, rooms, simulated, targets, tokens
from espfleet.store import events, registry, workers
from espfleet.store.client import Store, open_store
from tests.boards.test_client import GOOD, serving
from tests.cli.conftest import Type, home, type_

__all__ = ["Type", "home", "type_"]
ROOT = Path(__file__).parents[2]


# --- the library behind the command line


@pytest.mark.parametrize(
    "words",
    [
        "version -- --interactive", "version -- --trace", "version -- --completion", "-- --help", "devices --",
        "__class__", "__init__ __globals__", "version __class__", "device porch __init__ __globals__", "device x _name",
        "import __class__", "token x __class__ __init__ __globals__", "- __class__", "_", "--json __dict__",
    ],
)  # fmt: skip
def test_the_way_into_python_behind_the_commands_is_shut(type_: Type, words: str) -> None:
    told = type_(*words.split())
    assert told.code == 2
    assert told.out == ""
    assert "is not used here" in told.err
    assert len(told.err.splitlines()) == 1


def test_no_word_opens_a_prompt_even_at_a_terminal(home: Path) -> None:
    words = [sys.executable, "-P", "-m", "espfleet", "version", "--", "--interactive"]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "ESPFLEET_HOME": str(home)}
    asked = "import os; print('in' + 'side')\n"
    done = subprocess.run(words, env=environ, input=asked, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "inside" not in done.stdout + done.stderr


def test_words_are_never_values_of_python(type_: Type) -> None:
    for name in ("{'a': 1}", "[1,2]", "lambda: 0", "__import__('os')", "1e5", "None", "$(id)", "`id`", "; id"):
        told = type_("target", name, "add", "127.0.0.1")
        if told.code == 0:
            assert told.json["name"] == name
        else:
            assert len(told.err.splitlines()) == 1


# --- names that are commands of Redis, parts of keys, or lines of a protocol

HOSTILE = [
    "a\r\nFLUSHALL\r\n", "*1\r\n$8\r\nFLUSHALL\r\n", "a b", "a}:x{reg", "{reg}:devices", "*", "a:b", "a/b", "../a",
    "a\0b", "a' .. redis.call('FLUSHALL') .. '", "\u202eabc", "\uff41", "",
]  # fmt: skip


async def test_no_name_can_be_more_than_a_name(store: Store) -> None:
    await groups.add(store, name="wan")
    before = await registry.load(store)
    for name in HOSTILE:
        for attempt in (
            groups.add(store, name=name),
            targets.add(store, name=name, address="192.0.2.1"),
            rooms.add(store, name=name, group="wan"),
            devices.register(store, device_id="3c71bff93720", name=name, now_ms=1),
            devices.register(store, device_id=name, name="porch", now_ms=1),
            tokens.add(store, name=name, role="viewer", now_ms=1),
        ):
            with pytest.raises(InvalidError):
                await attempt
    assert await registry.load(store) == before
    assert await tokens.holders(store) == []


async def test_what_devices_and_workers_say_is_kept_as_it_is_and_does_nothing(store: Store) -> None:
    await simulated.add_demo(store)
    before = await registry.load(store)
    for text in HOSTILE:
        await events.add(store, "device", {"event": text, text or "x": [text]}, mark=text)
        (event,) = await events.latest(store, 1)
        assert (event.kind, event.fields["event"]) == ("device", text)
        await workers.beat(store, "prober", "p1", {"names": {text: text}})
        assert (await workers.alive(store, "prober"))["p1"]["names"] == {text: text}
    assert await registry.load(store) == before


async def test_an_event_cannot_pass_for_one_of_another_kind(store: Store) -> None:
    await events.add(store, "device", {"kind": EVENT, "event": "x"})
    (event,) = await events.latest(store, 1)
    assert event.kind == "device"


async def test_a_name_of_a_job_can_leave_neither_its_device_nor_its_table(store: Store) -> None:
    await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1)
    for name in HOSTILE:
        with pytest.raises(InvalidError):
            await jobs.add_timer(store, device="porch", name=name, pin=2, start="10:00", how_long="1", days="")
    assert (await registry.load(store)).jobs == {}
    await jobs.add_timer(store, device="porch", name="plain", pin=2, start="10:00", how_long="1", days="")
    assert list((await registry.load(store)).jobs) == ["3c71bff93720/plain"]


def test_a_name_cannot_reach_another_server(redis_url: str) -> None:
    async def opened(name: str) -> list[bytes]:
        async with open_store(redis_url, name=name) as store:
            return [row.encode() for row in (await store.redis.client_info())["name"].split()]

    for name in ("a\r\nFLUSHALL", "a b c", "\x1b[2J", "\u00e4"):
        (told,) = asyncio.run(opened(name))
        assert told.isascii()
        assert b"FLUSHALL" not in told.split(b"-a--")[0]


# --- what `register IP` may be led to


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.169.254:80", "::ffff:169.254.169.254", "[fd00:ec2::254]:80", "0.0.0.0", "::",
        "255.255.255.255", "240.0.0.1", "224.0.0.1", "ff02::1", "localhost", "metadata.google.internal", "127.1",
        "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1@192.0.2.1", "127.0.0.1#x", "127.0.0.1/admin",
        "127.0.0.1:80/x", "127.0.0.1:0", "127.0.0.1:70000", "127.0.0.1:+80", "127.0.0.1 ", "http://127.0.0.1",
        "file:///etc/passwd", "unix:///x", "[::1", "::1]:80", "127.0.0.1\r\nHost: x", "\uff11\uff12\uff17.0.0.1",
        "fe80::1%eth0/x", "fe80::1%a b", "fe80::1%a@b", "fe80::1%a\r\nb", "fd00:ec2::254%eth0", "[fd00:ec2::254%1]:80",
        "::ffff:169.254.169.254%1", "::169.254.169.254", "64:ff9b::169.254.169.254", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd20:ce::254",
        "0:0:0:0:0:ffff:a9fe:a9fe", "fe80::a9fe:a9fe", "fe80::a9fe:a9fe%eth0", "64:ff9b:1::a9fe:a9fe",
        "::ffff:0.0.0.0", "::ffff:255.255.255.255", "64:ff9b::224.0.0.1", "::ffff:a9fe:a9fe",
    ],
)  # fmt: skip
def test_register_asks_only_what_can_be_a_device(address: str) -> None:
    with pytest.raises(InvalidError, match=r"address of a device|must be a number"):
        split_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "192.168.1.7",
        "10.0.0.7:8080",
        "127.0.0.1:8123",
        "[2001:db8::7]:80",
        "fd12::7",
        "::1",
        "[::1]:8080",
        "fe80::1%eth0",
        "::ffff:192.168.1.7",
        "169.254.7.7",
    ],
)
def test_register_asks_devices_of_private_networks(address: str) -> None:
    assert split_address(address)


def identify(answer: bytes) -> None:
    """Ask a device that answers so."""

    def serve(link: socket.socket, _request: bytes) -> None:
        link.sendall(answer)

    with serving(serve) as (address, _):
        client.identify(address)


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    "to", ["http://127.0.0.1:1/", "http://169.254.169.254/", "file:///etc/passwd", "//example.com"]
)
def test_register_follows_no_device_elsewhere(to: str) -> None:
    with pytest.raises(BoardError) as refused:
        identify(redirect(to))
    assert "example.com" not in str(refused.value)
    assert "root:" not in str(refused.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_device_that_sends_to_a_board_is_none_and_the_board_is_not_asked(status: int) -> None:
    body = json.dumps(GOOD)
    board = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    def elsewhere(link: socket.socket, _request: bytes) -> None:
        link.sendall(board)

    with serving(elsewhere) as (address, asked), pytest.raises(BoardError, match="sends elsewhere"):
        identify(redirect(f"http://{address}/").replace(b"302", str(status).encode()))
    assert asked == []


def test_an_answer_that_is_no_board_is_not_told_on() -> None:
    secret = json.dumps({"aws_secret_access_key": "s3cret", "id": "s3cret"}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(secret)}\r\n\r\n".encode()
    with pytest.raises(BoardError) as refused:
        identify(head + secret)
    assert "aws" not in str(refused.value)
