"""Wrong tokens, counted by where they come from: whoever guesses has to wait, and nobody else has."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from espfleet.errors import TooManyError

#: So many different wrong tokens may come from one source at once, and one more each time this many seconds passed.
AT_ONCE = 10
EACH_S = 6.0
#: What is remembered of sources and tokens; the oldest is forgotten first.
REMEMBERED = 4_096


@dataclass(slots=True)
class _Source:
    """How many more wrong tokens a source may show, as it was at a time."""

    left: float
    at_s: float


class Attempts:
    """Who has guessed.

    Ask only about tokens that are wrong: whoever shows a good one comes in, whatever others do behind the same address.
    A wrong one that was good lately, or that comes again and again, as from a page whose token has ended, is counted
    once at most.

    Args:
        clock: Returns seconds that never jump.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._seen: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def check(self, host: str, token_hash: str) -> None:
        """Refuse a wrong token if too many came from the same source.

        Raises:
            TooManyError: If so.
        """
        source = self._sources.get(source_of(host))
        if source is None or self._seen.get((source_of(host), token_hash)):
            return
        self._refill(source)
        if source.left < 1:
            raise TooManyError((1 - source.left) * EACH_S)

    def wait_s(self, host: str) -> float:
        """Return how long whoever shows a wrong token has to wait at this source, in s; 0 while they need not."""
        source = self._sources.get(source_of(host))
        if source is None:
            return 0.0
        self._refill(source)
        return 0.0 if source.left >= 1 else (1 - source.left) * EACH_S

    def guessed(self, host: str) -> None:
        """Remember that a wrong token came, perhaps the same as before."""
        self._charge(source_of(host))
        self._forget()

    def note(self, host: str, token_hash: str, *, good: bool) -> None:
        """Remember whether a token was good."""
        name = source_of(host)
        before = self._seen.get((name, token_hash))
        self._seen[name, token_hash] = good
        self._seen.move_to_end((name, token_hash))
        if not good and before is None:
            self._charge(name)
        self._forget()

    def _charge(self, name: str) -> None:
        source = self._sources.setdefault(name, _Source(AT_ONCE, self._clock()))
        self._sources.move_to_end(name)
        self._refill(source)
        source.left = max(0.0, source.left - 1)

    def _forget(self) -> None:
        for remembered in (self._seen, self._sources):
            while len(remembered) > REMEMBERED:
                remembered.popitem(last=False)

    def _refill(self, source: _Source) -> None:
        now_s = self._clock()
        source.left = min(AT_ONCE, source.left + (now_s - source.at_s) / EACH_S)
        source.at_s = now_s


@lru_cache(maxsize=4_096)
def source_of(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the 64 bits of an IPv6 network that one customer has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
