from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from espfleet.probes.resolve import THREADS, Resolver, is_ip, look_up
from tests.conftest import wait_until

NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Names:
    """A name server: what it says can be changed, and it can be made to keep people waiting."""

    def __init__(self, **known: Sequence[str] | Exception) -> None:
        self.known = {name.replace("_", "."): answer for name, answer in known.items()}
        self.asked: list[str] = []
        self.answering = threading.Event()
        self.answering.set()

    def look_up(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if not self.answering.wait(30):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        answer = self.known.get(name, NO_SUCH_NAME)
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def resolving(
    names: Names, *hosts: str, refresh_s: float = 60.0, retry_s: float = 60.0
) -> AsyncIterator[Resolver]:
    """Run a resolver of these hosts."""
    resolver = Resolver(names.look_up, refresh_s=refresh_s, retry_s=retry_s)
    resolver.want(hosts)
    task = asyncio.create_task(resolver.run(lambda: None))
    try:
        yield resolver
    finally:
        names.answering.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_name_has_no_entry_until_its_first_lookup_has_ended() -> None:
    names = Names(a_test=["192.0.2.1"])
    names.answering.clear()
    async with resolving(names, "a.test") as resolver:
        await wait_until(lambda: names.asked)
        assert resolver.addresses() == {}
        names.answering.set()
        await wait_until(resolver.addresses)
        assert resolver.addresses() == {"a.test": "192.0.2.1"}
        assert resolver.reasons() == {}


async def test_a_bad_name_has_no_address_and_a_reason_and_disturbs_nobody() -> None:
    names = Names(good_test=["192.0.2.1"])
    async with resolving(names, "bad.test", "good.test") as resolver:
        await wait_until(lambda: len(resolver.addresses()) == 2)
        assert resolver.addresses() == {"bad.test": None, "good.test": "192.0.2.1"}
        assert resolver.reasons() == {"bad.test": "Name or service not known"}


async def test_addresses_are_left_alone() -> None:
    names = Names()
    async with resolving(names, "192.0.2.1", "::1", "fe80::1%lo") as resolver:
        await asyncio.sleep(0.05)
        assert resolver.addresses() == {}
        assert names.asked == []


async def test_a_name_is_looked_up_again_and_a_change_is_told() -> None:
    names = Names(a_test=["192.0.2.1"])
    told = []
    resolver = Resolver(names.look_up, refresh_s=0.02)
    resolver.want(["a.test"])
    task = asyncio.create_task(resolver.run(lambda: told.append(resolver.addresses()["a.test"])))
    await wait_until(lambda: len(names.asked) >= 4)
    names.known["a.test"] = ["192.0.2.2"]
    await wait_until(lambda: len(told) >= 2)
    task.cancel()
    assert told == ["192.0.2.1", "192.0.2.2"]


async def test_the_last_good_address_is_kept_while_lookups_fail(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "espfleet.probes.resolve")
    names = Names(a_test=["192.0.2.1"])
    async with resolving(names, "a.test", refresh_s=0.02, retry_s=0.02) as resolver:
        await wait_until(resolver.addresses)
        names.known["a.test"] = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        await wait_until(resolver.reasons)
        asked = len(names.asked)
        await wait_until(lambda: len(names.asked) > asked + 3)
        assert resolver.addresses() == {"a.test": "192.0.2.1"}
        assert resolver.reasons() == {"a.test": "Temporary failure in name resolution"}
        names.known["a.test"] = ["192.0.2.1"]
        await wait_until(lambda: not resolver.reasons())
    assert [record.getMessage() for record in caplog.records] == [
        "a.test has the address 192.0.2.1",
        "a.test cannot be looked up: Temporary failure in name resolution; its last address 192.0.2.1 is kept",
        "a.test can be looked up again",
    ]


async def test_names_that_are_found_together_are_told_together() -> None:
    names = Names(**{f"host{number}_test": ["192.0.2.1"] for number in range(100)})
    told = []
    resolver = Resolver(names.look_up)
    resolver.want(name.replace("_", ".") for name in names.known)
    task = asyncio.create_task(resolver.run(lambda: told.append(len(resolver.addresses()))))
    await wait_until(lambda: told and told[-1] == 100)
    task.cancel()
    assert len(told) <= 5


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (["2001:db8::1", "192.0.2.1"], "192.0.2.1"),
        (["2001:db8::1", "2001:db8::2"], "2001:db8::1"),
        (["192.0.2.9", "192.0.2.1"], "192.0.2.9"),
    ],
)
async def test_ipv4_is_preferred_unless_there_is_only_ipv6(found: list[str], chosen: str) -> None:
    async with resolving(Names(a_test=found), "a.test") as resolver:
        await wait_until(resolver.addresses)
        assert resolver.addresses() == {"a.test": chosen}


async def test_an_address_stays_while_the_name_still_has_it() -> None:
    names = Names(a_test=["192.0.2.1", "192.0.2.2"])
    async with resolving(names, "a.test", refresh_s=0.01) as resolver:
        await wait_until(resolver.addresses)
        names.known["a.test"] = ["192.0.2.2", "192.0.2.1"]
        asked = len(names.asked)
        await wait_until(lambda: len(names.asked) > asked + 2)
        assert resolver.addresses() == {"a.test": "192.0.2.1"}
        names.known["a.test"] = ["192.0.2.3"]
        await wait_until(lambda: resolver.addresses() == {"a.test": "192.0.2.3"})


async def test_a_name_that_is_not_wanted_any_more_is_forgotten() -> None:
    names = Names(a_test=["192.0.2.1"], b_test=["192.0.2.2"])
    names.answering.clear()
    async with resolving(names, "a.test") as resolver:
        await wait_until(lambda: names.asked == ["a.test"])
        resolver.want(["b.test"])
        names.answering.set()
        await wait_until(resolver.addresses)
        assert resolver.addresses() == {"b.test": "192.0.2.2"}


async def test_a_silent_name_server_blocks_neither_the_loop_nor_the_end_of_the_process() -> None:
    names = Names()
    names.answering.clear()
    hosts = [f"host{number}.test" for number in range(50)]
    begun = time.monotonic()
    async with resolving(names, *hosts):
        await wait_until(lambda: len(names.asked) == THREADS)
        await asyncio.sleep(0.05)
        assert len(names.asked) == THREADS, "no more at one time"
        assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("resolve-"))
    assert time.monotonic() - begun < 20.0
    await wait_until(lambda: not any(thread.name.startswith("resolve-") for thread in threading.enumerate()))


async def test_a_lookup_that_ends_after_the_loop_is_ignored() -> None:
    names = Names()
    names.answering.clear()

    def run() -> None:
        async def main() -> None:
            resolver = Resolver(names.look_up)
            resolver.want(["a.test"])
            task = asyncio.create_task(resolver.run(lambda: None))
            await wait_until(lambda: names.asked)
            task.cancel()

        asyncio.run(main())

    await asyncio.to_thread(run)
    names.answering.set()
    await wait_until(lambda: not any(thread.name.startswith("resolve-") for thread in threading.enumerate()))


def test_the_systems_own_lookup_knows_this_machine() -> None:
    assert set(look_up("localhost")) & {"127.0.0.1", "::1"}
    with pytest.raises((OSError, UnicodeError)):
        look_up("a" * 64)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("a.test", False), ("1.2.3", False), ("", False)],
)
def test_an_address_is_told_from_a_name(host: str, expected: bool) -> None:
    assert is_ip(host) is expected
