"""The levels of all groups as this gateway knows them, and whether they are still fresh."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from espfleet.domain.registry import Registry
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, unknown

#: The owner of a shard gives a sign each second; after three missed ones its levels say nothing any more.
FRESH_S = 3.0


class LevelBoard:
    """The levels of all groups, with the shards that somebody keeps fresh. Times are seconds that never jump."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._levels: dict[str, GroupLevel] = {}
        self._seqs: dict[int, int] = {}
        self._heard_s: dict[int, float] = {}

    def replace(self, levels: Mapping[str, GroupLevel], fresh_shards: Collection[int], now_s: float) -> None:
        """Take what Redis holds instead of everything known."""
        self._levels = dict(levels)
        self._seqs = {}
        for level in levels.values():
            shard = self._shard(level.group)
            self._seqs[shard] = max(level.seq, self._seqs.get(shard, 0))
        # Who was heard before has that long ago: the mark in Redis may be as old as it can get.
        self._heard_s = {shard: self._heard_s.get(shard, now_s) for shard in fresh_shards}

    def take(self, shard: int, levels: Sequence[GroupLevel], seq: int, now_s: float) -> bool:
        """Take levels that were just published, and tell whether they are news.

        Levels that were published before ``replace`` read Redis may come after it; they are old, and are left out.
        """
        self._heard_s[shard] = now_s
        if seq <= self._seqs.get(shard, 0):
            return False
        self._seqs[shard] = seq
        self._levels.update((level.group, level) for level in levels)
        return True

    def beat(self, shard: int, now_s: float) -> bool:
        """Note that a shard's owner lives, and tell whether that is news."""
        is_news = shard not in self._heard_s
        self._heard_s[shard] = now_s
        return is_news

    def expire(self, now_s: float) -> list[int]:
        """Return the shards that are no longer fresh since the last call."""
        silent = [shard for shard, heard_s in self._heard_s.items() if now_s - heard_s >= FRESH_S]
        for shard in silent:
            del self._heard_s[shard]
        return silent

    def is_fresh_shard(self, shard: int) -> bool:
        """Tell whether somebody keeps the levels of a shard fresh."""
        return shard in self._heard_s

    def is_fresh(self, group: str) -> bool:
        """Tell whether somebody keeps the level of a group fresh."""
        return self._shard(group) in self._heard_s

    def of(self, group: str | None, registry: Registry, at_ms: int) -> GroupLevel:
        """Return what is to be shown of a group, or of having none."""
        if group is None:
            return unknown("", at_ms, "no group is chosen")
        known = self._levels.get(group)
        if group not in registry.groups:
            reason = f"there is no group {group!r}"
        elif not self.is_fresh(group):
            reason = "no worker computes its level"
        elif known is None:
            reason = "it has no level yet"
        else:
            return known
        return replace(unknown(group, at_ms, reason), seq=known.seq if known else 0)

    def _shard(self, group: str) -> int:
        return shard_of(group, self._shards)
