"""State of boards as it was read last; written only by whoever holds the board's lock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from espfleet.domain.shards import shard_of
from espfleet.errors import LockLostError
from espfleet.store.client import Store
from espfleet.store.locks import Lock

TTL_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardState:
    """What a board said when it was asked last.

    Attributes:
        at_ms: When it answered, ms since the epoch.
        f: Temperature of its chip, °F.
        gpio: Value of each pin that can be read.
        error: Why it could not be asked since, or ``""``.
        error_ms: When that was, or 0.
    """

    at_ms: int = 0
    f: float = 0.0
    gpio: Mapping[int, int] = field(default_factory=dict)
    error: str = ""
    error_ms: int = 0


async def put(store: Store, lock: Lock, *, f: float, gpio: Mapping[int, int], at_ms: int) -> None:
    """Store what a board said.

    Raises:
        LockLostError: If somebody with a newer lock has written meanwhile.
    """
    pins = json.dumps({str(pin): value for pin, value in gpio.items()}, separators=(",", ":"))
    await _write(store, lock, ("at_ms", at_ms, "f", f, "gpio", pins, "error", "", "error_ms", 0))


async def fail(store: Store, lock: Lock, *, error: str, at_ms: int) -> None:
    """Store why a board could not be asked; what it said last stays.

    Raises:
        LockLostError: If somebody with a newer lock has written meanwhile.
    """
    await _write(store, lock, ("error", error, "error_ms", at_ms))


async def _write(store: Store, lock: Lock, fields: tuple[str | int | float, ...]) -> None:
    key = store.keys.board(shard_of(lock.device_id, store.shards), lock.device_id)
    if not await store.run("put_board", (key,), (lock.fence, TTL_MS, *fields)):
        raise LockLostError(lock.device_id)


async def get(store: Store, device_id: str) -> BoardState | None:
    """Return the state of a board, or ``None`` if it has not been asked for a day."""
    return (await get_all(store, [device_id]))[device_id]


async def get_all(store: Store, device_ids: Iterable[str]) -> dict[str, BoardState | None]:
    """Return the state of each of these boards."""
    ids = list(device_ids)
    found = await store.do_all([("HGETALL", store.keys.board(shard_of(one, store.shards), one)) for one in ids])
    return {one: _state(flat) for one, flat in zip(ids, found, strict=True)}


def _state(flat: Mapping[bytes, bytes]) -> BoardState | None:
    if not flat:
        return None
    return BoardState(
        at_ms=int(flat.get(b"at_ms", 0)),
        f=float(flat.get(b"f", 0)),
        gpio={int(pin): value for pin, value in json.loads(flat.get(b"gpio", b"{}")).items()},
        error=flat.get(b"error", b"").decode(),
        error_ms=int(flat.get(b"error_ms", 0)),
    )
