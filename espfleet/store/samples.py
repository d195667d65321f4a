"""Samples on their way from probers to levelers: one stream for each shard, read by one consumer at a time.

The consumer group keeps how far the stream was read and what is not acknowledged yet; whoever takes a shard over
claims that and reads on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espfleet.domain.samples import Layout
from espfleet.errors import StoreError
from espfleet.store.client import Command, Store
from espfleet.store.clock import Offset
from espfleet.store.faults import GroupGoneError

logger = logging.getLogger(__name__)

#: A wait that is not over by then is begun anew: Redis counts by its clock, which may have been set back.
OVERDUE_S = 2.5
GROUP = "levels"
#: Entries a stream keeps however few come; at one each 50 ms they last 50 s.
LEAST_KEPT = 1_000
LAYOUT_TTL_MS = 2 * 3_600_000
_READ_AT_ONCE = 1_000
#: On a Cluster the first server that has something ends a wait; what comes from others within this time comes with it,
#: for a writer writes for all of them in one moment.
TOGETHER_S = 0.002


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry to write.

    Attributes:
        shard: Shard it goes to.
        worker: Who measured.
        seq: Number that grows with each entry of this worker, so that an entry written twice is noticed.
        layout_id: Layout that its slots refer to.
        blob: Packed batch.
        offset: By which its times were told, ``None`` if nobody knows.
    """

    shard: int
    worker: str
    seq: int
    layout_id: str
    blob: bytes
    offset: Offset | None = None


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """An entry as it was read; ``entry_id`` is its place in the stream, beginning with ms since the epoch."""

    entry_id: str
    worker: str
    seq: int
    layout_id: str
    blob: bytes
    offset: Offset | None = None


async def append(store: Store, entries: Sequence[Entry], keep: int | Mapping[int, int]) -> set[tuple[int, str]]:
    """Write entries in their order, with one round trip.

    Args:
        store: Where the fleet is kept.
        entries: What to write.
        keep: How many entries each stream shall keep, roughly; or each shard's, ``LEAST_KEPT`` where nothing is said.

    Returns:
        Shard and id of layouts that entries refer to and nobody can read: they expired, or the server was emptied.
        Write them with ``put_layout``.
    """
    keys = store.keys
    layouts = list(dict.fromkeys((entry.shard, entry.layout_id) for entry in entries))
    streams = {shard: keys.samples(shard) for shard, _ in layouts}
    kept = dict.fromkeys(streams, keep) if isinstance(keep, int) else keep
    commands: list[Command] = [
        (
            *("XADD", streams[entry.shard], "MAXLEN", "~", kept.get(entry.shard, LEAST_KEPT), "*"),
            *("w", entry.worker, "q", entry.seq, "l", entry.layout_id, "b", entry.blob),
            *(("c", entry.offset.to_text()) if entry.offset else ()),
        )
        for entry in entries
    ]
    commands += [("EXISTS", keys.layout(*layout)) for layout in layouts]
    replies = await store.do_all(commands)
    return {layout for layout, known in zip(layouts, replies[len(entries) :], strict=True) if not known}


async def lengths(store: Store) -> list[int]:
    """Return how many entries each shard's stream has."""
    return [int(one) for one in await store.do_all([("XLEN", store.keys.samples(n)) for n in range(store.shards)])]


async def put_layout(store: Store, shard: int, layout: Layout) -> None:
    """Store a layout for 2 h; write it again before that."""
    await store.do("SET", store.keys.layout(shard, layout.layout_id), layout.to_json(), "PX", LAYOUT_TTL_MS)


async def get_layout(store: Store, shard: int, layout_id: str) -> Layout | None:
    """Return a layout, or ``None`` if it is not stored."""
    text = await store.do("GET", store.keys.layout(shard, layout_id))
    return Layout.from_json(text) if text is not None else None


async def init_consumers(store: Store) -> list[str]:
    """Make the consumer group of every shard's stream that has none; return the names of the streams that had none."""
    streams = [store.keys.samples(shard) for shard in range(store.shards)]
    return [stream for stream in streams if await _make_group(store, stream)]


async def _make_group(store: Store, stream: str) -> bool:
    """Make the group that reads a stream from its beginning; return whether there was none."""
    try:
        await store.do("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")
    except StoreError as exc:
        if "BUSYGROUP" in str(exc):
            return False
        raise
    return True


class ShardReader:
    """Reads one shard's stream for one consumer.

    Attributes:
        shard: Number of the shard.
        consumer: Name of the reader in the group.
        gaps: Entries that were cut off the stream before this reader got them.
    """

    def __init__(self, store: Store, shard: int, consumer: str) -> None:
        self.shard = shard
        self.consumer = consumer
        self.gaps = 0
        self._store = store
        self._stream = store.keys.samples(shard)
        #: Where to go on among the entries this consumer was given and has not acknowledged; ``None`` once they are
        #: through. A read that breaks may have been answered, so it begins anew then.
        self._own_after: str | None = "0"
        #: How many entries were ever written up to the last one read; ``None`` while unknown.
        self._position: int | None = None
        self._behind = True
        #: Entries that have had their effect, which is said with the next read.
        self._done: list[str] = []
        #: On a Cluster, a wait for new entries that goes on between two reads.
        self._wait: asyncio.Task[dict[int, list[StreamEntry]]] | None = None

    @property
    def waits(self) -> bool:
        """Whether it has got all that was there when it began, and waits for what comes."""
        return self._own_after is None and not self._behind

    async def read(self, block_ms: int, count: int) -> list[StreamEntry]:
        """Return up to ``count`` entries: those read and not acknowledged before, then new ones, in their order.

        Waits up to ``block_ms``, at most 2,000, when there are none.
        """
        return (await read_shards(self._store, [self], block_ms, count)).get(self.shard, [])

    async def ack(self, entry_ids: Sequence[str]) -> None:
        """Say that entries have had their effect."""
        if entry_ids:
            await self._store.do("XACK", self._stream, GROUP, *entry_ids)

    def done(self, entries: Sequence[StreamEntry]) -> None:
        """Note that entries have had their effect; ``acknowledge`` says so."""
        self._done += [entry.entry_id for entry in entries]

    async def stop(self) -> None:
        """End a wait that is under way, before the shard is given up or the reader is; nothing is lost by it."""
        waiting, self._wait = self._wait, None
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            # What it may have brought is read again.
            self._doubt()

    async def claim_all(self) -> list[StreamEntry]:
        """Make what other consumers have read and not acknowledged this one's; for the new owner of the shard."""
        claimed: list[StreamEntry] = []
        start = b"0-0"
        while True:
            try:
                start, entries, *rest = await self._store.do(
                    *("XAUTOCLAIM", self._stream, GROUP, self.consumer, 0, start, "COUNT", _READ_AT_ONCE)
                )
            except GroupGoneError:
                await self._regroup()
                return []
            self._note_gap(len(rest[0]) if rest else 0)
            claimed += [_entry(entry_id, fields) for entry_id, fields in entries if fields is not None]
            if start == b"0-0":
                # They are returned here; a later read need not bring them again.
                if self._own_after is not None and claimed:
                    self._own_after = claimed[-1].entry_id
                return claimed

    async def since(self, start: str) -> list[StreamEntry]:
        """Return what the stream still holds from an entry id on, or after it if ``(`` stands before; ``-`` is all."""
        found: list[StreamEntry] = []
        while True:
            entries = await self._store.do("XRANGE", self._stream, start, "+", "COUNT", _READ_AT_ONCE)
            found += [_entry(entry_id, fields) for entry_id, fields in entries]
            if len(entries) < _READ_AT_ONCE:
                return found
            start = f"({found[-1].entry_id}"

    async def _read_own(self, count: int) -> list[StreamEntry]:
        """Return entries this consumer was given before and has not acknowledged."""
        if self._own_after is None:
            return []
        command = ("XREADGROUP", "GROUP", GROUP, self.consumer, "COUNT", count, "STREAMS")
        try:
            reply = await self._store.do(*command, self._stream, self._own_after)
        except GroupGoneError:
            await self._regroup()
            return []
        entries = reply[0][1] if reply else []
        cut = [entry_id for entry_id, fields in entries if not fields]
        if cut:
            self._note_gap(len(cut))
            await self._store.do("XACK", self._stream, GROUP, *cut)
        self._own_after = entries[-1][0].decode() if entries else None
        return [_entry(entry_id, fields) for entry_id, fields in entries if fields]

    async def _read_behind(self, count: int) -> list[StreamEntry]:
        """Read new entries without waiting, and count those cut off before; for a reader that may be far behind."""
        try:
            reply = await self._store.run("read_behind", [self._stream], [GROUP, self.consumer, count])
        except BaseException as exc:
            self._doubt()
            if isinstance(exc, GroupGoneError) or (isinstance(exc, StoreError) and "no such key" in str(exc)):
                await self._regroup()
                return []
            raise
        added, length, first, delivered, delivered_count, entries = reply
        cut_off = added - length
        position = self._position if self._position is not None else delivered_count or None
        # Only what lies between the last entry read and the first one there may be missing.
        if first and position is not None and _order(first) > _order(delivered):
            self._note_gap(cut_off - position)
        self._position = max(position or 0, cut_off)
        # A script's reply lists names and values, where that of a command is a table.
        return self._took(
            [(entry_id, dict(zip(flat[::2], flat[1::2], strict=True))) for entry_id, flat in entries], count
        )

    def _took(self, entries: Sequence[Any], count: int) -> list[StreamEntry]:
        """Return new entries as values, and remember where the reader stands."""
        if self._position is not None:
            self._position += len(entries)
        self._behind = len(entries) >= count
        return [_entry(entry_id, fields) for entry_id, fields in entries]

    def _note_gap(self, entries: int) -> None:
        if entries <= 0:
            return
        if not self.gaps:
            logger.warning(
                "shard %d: %d entries were cut off the stream before they were read; further ones are only counted, "
                "see './espcli doctor'",
                *(self.shard, entries),
            )
        self.gaps += entries

    def _doubt(self) -> None:
        """A read broke; its entries may count as delivered."""
        self._own_after = "0"
        self._position = None
        self._behind = True

    async def _regroup(self) -> None:
        self._doubt()
        if await _make_group(self._store, self._stream):
            logger.info("shard %d: the consumer group is made anew", self.shard)


async def read_shards(
    store: Store, readers: Sequence[ShardReader], block_ms: int, count: int
) -> dict[int, list[StreamEntry]]:
    """Read several shards at once, as ``ShardReader.read`` does; wait only when none has anything.

    On a Cluster the waits of shards that had nothing go on, for the next read; ``ShardReader.stop`` ends them.

    Returns:
        Entries by shard, up to ``count`` each; shards without are absent.
    """
    found: dict[int, list[StreamEntry]] = {}
    end_s = None
    try:
        while readers:
            await _look_up(readers, count, found)
            if found:
                break
            if not store.on_cluster:
                found |= await _wait_for_new(store, readers, block_ms, count)
                break
            # One command cannot read streams of different servers.
            end_s = end_s or time.monotonic() + block_ms / 1_000
            await _wait_side_by_side(store, readers, block_ms, count, found)
            if found or time.monotonic() >= end_s:
                break
    except BaseException:
        for reader in readers:
            await reader.stop()
            if reader.shard in found:
                # Nobody gets it now: it is read again.
                reader._doubt()
        raise
    return found


async def _look_up(readers: Sequence[ShardReader], count: int, found: dict[int, list[StreamEntry]]) -> None:
    """Put into ``found`` what readers were given before, or are behind with."""
    for reader in readers:
        if reader._wait is None:
            entries = await reader._read_own(count) or (await reader._read_behind(count) if reader._behind else [])
            if entries:
                found[reader.shard] = entries


async def _wait_side_by_side(
    store: Store,
    readers: Sequence[ShardReader],
    block_ms: int,
    count: int,
    found: dict[int, list[StreamEntry]],
) -> None:
    """Put new entries into ``found`` as soon as one shard has some or its wait is over; leave the others alone."""
    for reader in readers:
        if reader._wait is None:
            reader._wait = asyncio.create_task(_wait_for_new(store, [reader], block_ms, count))
    waits = [reader._wait for reader in readers if reader._wait is not None]
    # Each ends by itself, for its server counts ``block_ms``.
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(waits, timeout=TOGETHER_S)
    for reader in readers:
        if reader._wait is not None and reader._wait.done():
            found |= reader._wait.result()
            reader._wait = None


async def _wait_for_new(
    store: Store, readers: Sequence[ShardReader], block_ms: int, count: int
) -> dict[int, list[StreamEntry]]:
    """Return new entries, none if none come."""
    command = read_now(readers, count, "BLOCK", max(1, block_ms))
    try:
        reply = await store.wait(*command, within_s=block_ms / 1_000 + OVERDUE_S)
    except GroupGoneError:
        for reader in readers:
            await reader._regroup()
        return {}
    except BaseException:
        for reader in readers:
            reader._doubt()
        raise
    return taken(readers, reply, count)


def acknowledge(readers: Sequence[ShardReader]) -> list[Command]:
    """Return the commands that say which entries have had their effect."""
    commands: list[Command] = []
    for reader in readers:
        if reader._done:
            commands.append(("XACK", reader._stream, GROUP, *reader._done))
            reader._done = []
    return commands


def read_now(readers: Sequence[ShardReader], count: int, *block: str | int) -> Command:
    """Return the command that reads what is new for readers that wait; ``taken`` knows its reply."""
    streams = [reader._stream for reader in readers]
    words = ("XREADGROUP", "GROUP", GROUP, readers[0].consumer, "COUNT", count, *block, "STREAMS")
    return (*words, *streams, *(">" for _ in streams))


def taken(readers: Sequence[ShardReader], reply: Any, count: int) -> dict[int, list[StreamEntry]]:
    """Return new entries by shard, and let each reader remember where it stands."""
    by_stream = {reader._stream.encode(): reader for reader in readers}
    return {by_stream[stream].shard: by_stream[stream]._took(entries, count) for stream, entries in reply or []}


def _order(entry_id: bytes) -> tuple[int, int]:
    at_ms, _, number = entry_id.partition(b"-")
    return int(at_ms), int(number)


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> StreamEntry:
    worker, seq, layout_id = fields[b"w"].decode(), int(fields[b"q"]), fields[b"l"].decode()
    return StreamEntry(entry_id.decode(), worker, seq, layout_id, fields[b"b"], Offset.parse(fields.get(b"c", b"")))
