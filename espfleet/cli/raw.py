"""Looking into Redis past everything else: keys, and single commands."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from espfleet.cli import output
from espfleet.cli.opening import with_store
from espfleet.errors import RefusedError
from espfleet.store import raw as store_raw
from espfleet.store.raw import Found

#: They end the fleet, or wait for what never comes to a command line.
_NOT_HERE = frozenset(
    {"flushall", "flushdb", "shutdown", "debug", "swapdb", "failover", "replicaof", "slaveof"}
    | {"monitor", "subscribe", "psubscribe", "ssubscribe", "sync", "psync", "quit", "reset"}
    | {"blpop", "brpop", "blmove", "blmpop", "brpoplpush", "bzpopmin", "bzpopmax", "bzmpop", "wait", "waitaof"}
)


def keys(pattern: str) -> None:
    """Print the keys of the fleet."""
    found = with_store(functools.partial(store_raw.keys, pattern=pattern))
    output.show(
        [{"key": one.key, "type": one.kind, "bytes": one.size_bytes, "ttl_ms": one.ttl_ms} for one in found],
        lambda: output.table(
            ("key", "type", "bytes", "goes in"),
            [(one.key, one.kind, str(one.size_bytes), _lasts(one)) for one in found],
            "There are no such keys.",
            folded=("key",),
        ),
    )


def raw(words: Sequence[str]) -> None:
    """Send one command and print the reply.

    Raises:
        RefusedError: If there is none, or it is none for a command line.
    """
    if not words:
        raise RefusedError("say which command: ./espcli r get outside")
    if words[0].lower() in _NOT_HERE:
        raise RefusedError(f"{words[0]} is not for here: whoever means it uses redis-cli")
    reply = with_store(functools.partial(store_raw.send, words=words))
    output.show(reply, lambda: output.plain("\n".join(_lines(reply)) or "–"))


def _lasts(one: Found) -> str:
    return "–" if one.ttl_ms is None else f"{one.ttl_ms / 1_000:g} s"


def _lines(reply: Any, before: str = "") -> list[str]:
    if isinstance(reply, dict):
        return [line for name, value in reply.items() for line in _lines(value, f"{before}{name}: ")]
    if isinstance(reply, list):
        return [line for value in reply for line in _lines(value, f"{before}- ")]
    return [f"{before}{'–' if reply is None else reply}"]
