"""Wrong tokens, counted by where they come from: whoever guesses has to wait, and nobody else has."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

from espfleet.domain.buckets import REMEMBERED, Buckets
from espfleet.errors import TooManyError

#: So many different wrong tokens may come from one source at once, and one more each time this many seconds passed.
AT_ONCE = 10
EACH_S = 6.0


class Attempts:
    """Who has guessed.

    Ask only about tokens that are wrong: whoever shows a good one comes in, whatever others do behind the same address.
    A wrong one that was good lately, or that comes again and again, as from a page whose token has ended, is counted
    once at most.

    Args:
        clock: Returns seconds that never jump.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._sources = Buckets(AT_ONCE, EACH_S, clock)
        self._seen: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def check(self, host: str, token_hash: str) -> None:
        """Refuse a wrong token if too many came from the same source.

        Raises:
            TooManyError: If so.
        """
        name = source_of(host)
        if self._seen.get((name, token_hash)):
            return
        wait_s = self._sources.wait_s(name)
        if wait_s:
            raise TooManyError(wait_s)

    def wait_s(self, host: str) -> float:
        """Return how long whoever shows a wrong token has to wait at this source, in s; 0 while they need not."""
        return self._sources.wait_s(source_of(host))

    def knows(self, host: str, token_hash: str) -> bool:
        """Tell whether a token was good when it was last shown at this source, as far as that is remembered."""
        return self._seen.get((source_of(host), token_hash), False)

    def guessed(self, host: str) -> None:
        """Remember that a wrong token came, perhaps the same as before."""
        self._sources.take(source_of(host))

    def note(self, host: str, token_hash: str, *, good: bool) -> None:
        """Remember whether a token was good."""
        name = source_of(host)
        before = self._seen.get((name, token_hash))
        self._seen[name, token_hash] = good
        self._seen.move_to_end((name, token_hash))
        if not good and before is None:
            self._sources.take(name)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)


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
