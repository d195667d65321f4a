"""Names of targets, looked up again and again.

A lookup blocks, and may take half a minute when no name server answers. So it is done by threads of our own: daemon
threads, which never hold up the end of the process, and few, so that a dead name server cannot pile them up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from espfleet.probes.wire import Family, family_of

logger = logging.getLogger(__name__)

#: A name is looked up again after this time, in seconds.
REFRESH_S = 60.0
#: Until a failed lookup is tried again, in seconds.
RETRY_S = 10.0
#: Lookups at one time.
THREADS = 8

#: What ends within this time is told together: engines look at all their targets when an address changes.
TOGETHER_S = 0.05

Lookup = Callable[[str], Sequence[str]]
#: A name, and its addresses or why it has none.
News = tuple[str, Sequence[str] | Exception]


def look_up(name: str) -> list[str]:
    """Return the addresses of a name as the system knows them, best first; blocks.

    Raises:
        OSError: If it has none, or nobody who could tell answers.
        UnicodeError: If it cannot be a host name.
    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


def is_ip(host: str) -> bool:
    """Return whether a host is an address already."""
    family = family_of(host)
    try:
        socket.inet_pton(family, host.partition("%")[0] if family is Family.V6 else host)
    except (OSError, UnicodeError, ValueError):
        return False
    return True


@dataclass(slots=True)
class _Name:
    """What is known of a name: its last good address, and why the last lookup failed."""

    due_s: float
    asked: bool = False
    known: bool = False
    ip: str | None = None
    reason: str = ""


class Resolver:
    """Keeps the addresses of names.

    Args:
        lookup: Returns addresses of a name, best first; called in threads.
        refresh_s: A name is looked up again after this time.
        retry_s: A failed lookup is tried again after this time.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        lookup: Lookup = look_up,
        *,
        refresh_s: float = REFRESH_S,
        retry_s: float = RETRY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lookup, self._refresh_s, self._retry_s, self._clock = lookup, refresh_s, retry_s, clock
        self._names: dict[str, _Name] = {}
        # What run() waits for: the end of a lookup, or None for other news.
        self._news: asyncio.Queue[News | None] = asyncio.Queue()

    def want(self, hosts: Iterable[str]) -> None:
        """Keep the addresses of these hosts from now on, and of no others; those that are addresses are left out."""
        names = {host for host in hosts if not is_ip(host)}
        now_s = self._clock()
        self._names = {name: self._names.get(name) or _Name(now_s) for name in names}
        self._news.put_nowait(None)

    def addresses(self) -> dict[str, str | None]:
        """Return the address of each name, ``None`` where it has none; absent before the end of its first lookup."""
        return {name: known.ip for name, known in self._names.items() if known.known}

    def reasons(self) -> dict[str, str]:
        """Return why the last lookup of a name failed, for those names only; they may still have an address."""
        return {name: known.reason for name, known in self._names.items() if known.reason}

    async def run(self, changed: Callable[[], None]) -> None:
        """Look names up until cancelled.

        Args:
            changed: Called whenever ``addresses`` has changed.
        """
        loop = asyncio.get_running_loop()
        with _Threads(self._lookup, loop, self._news) as threads:
            while True:
                for name in self._due():
                    threads.ask(name)
                moved = [self._learn(name, outcome) for name, outcome in await self._next_news()]
                if any(moved):
                    changed()

    def _due(self) -> list[str]:
        """Return the names to be looked up now."""
        now_s = self._clock()
        due = [name for name, known in self._names.items() if not known.asked and known.due_s <= now_s]
        for name in due:
            self._names[name].asked = True
        return due

    async def _next_news(self) -> list[News]:
        """Wait for the end of lookups, or until something is to be done; lookups that end together come together."""
        waiting = [known.due_s for known in self._names.values() if not known.asked]
        timeout_s = max(0.0, min(waiting) - self._clock()) if waiting else None
        try:
            async with asyncio.timeout(timeout_s):
                first = await self._news.get()
        except TimeoutError:
            return []
        if first is None:
            return []
        await asyncio.sleep(TOGETHER_S)
        later = [self._news.get_nowait() for _ in range(self._news.qsize())]
        return [first, *(news for news in later if news is not None)]

    def _learn(self, name: str, outcome: Sequence[str] | Exception) -> bool:
        """Take over the end of a lookup; say whether an address changed."""
        known = self._names.get(name)
        if known is None:  # not wanted any more
            return False
        before = known.known, known.ip, known.reason
        known.asked, known.known = False, True
        if isinstance(outcome, Exception):
            known.reason = _reason(outcome)
            known.due_s = self._clock() + self._retry_s
        else:
            known.ip, known.reason = _choose(outcome, known.ip), ""
            known.due_s = self._clock() + self._refresh_s
        _log(name, known, before[1], before[2])
        return before[:2] != (known.known, known.ip)


class _Threads:
    """Daemon threads that look names up, one after the other."""

    def __init__(
        self,
        lookup: Lookup,
        loop: asyncio.AbstractEventLoop,
        news: asyncio.Queue[News | None],
    ) -> None:
        self._lookup, self._loop, self._news = lookup, loop, news
        self._asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._count = 0

    def __enter__(self) -> _Threads:
        return self

    def __exit__(self, *_: object) -> None:
        for _unused in range(self._count):
            self._asked.put(None)

    def ask(self, name: str) -> None:
        """Have a name looked up; its end is put into the news."""
        self._asked.put(name)
        if self._count < THREADS:
            self._count += 1
            threading.Thread(target=self._work, name=f"resolve-{self._count}", daemon=True).start()

    def _work(self) -> None:
        while (name := self._asked.get()) is not None:
            outcome: Sequence[str] | Exception
            try:
                outcome = self._lookup(name) or OSError("the name has no address")
            except (OSError, UnicodeError) as error:
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._news.put_nowait, (name, outcome))


def _choose(ips: Sequence[str], current: str | None) -> str:
    """Return the address to use: the current one while it is good, so that a long list does not make it wander.

    IPv4 comes before IPv6, for a name that has both is as a rule better reached by IPv4 where IPv6 is half set up.
    """
    if current is not None and current in ips:
        return current
    return next((ip for ip in ips if family_of(ip) is Family.V4), ips[0])


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _log(name: str, known: _Name, ip: str | None, reason: str) -> None:
    """Say what changed, once."""
    if known.reason and known.reason != reason:
        kept = f"; its last address {known.ip} is kept" if known.ip else ""
        logger.warning("%s cannot be looked up: %s%s", name, known.reason, kept)
    elif known.ip != ip:
        logger.info("%s has the address %s", name, known.ip)
    elif reason and not known.reason:
        logger.info("%s can be looked up again", name)
