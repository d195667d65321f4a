"""What the gateway knows of levels, and for how long."""

from __future__ import annotations

import pytest

from espfleet.domain.groups import Group
from espfleet.domain.registry import Registry
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.gateway.levels import FRESH_S, LevelBoard

SHARDS = 4
REGISTRY = Registry(groups={name: Group(name=name) for name in ("wan", "lan")})
WAN = shard_of("wan", SHARDS)


def level(value: int, seq: int, group: str = "wan") -> GroupLevel:
    return GroupLevel(group=group, level=value, state=State.OK, at_ms=1, seq=seq)


@pytest.fixture
def board() -> LevelBoard:
    """Return a board on which the level of ``wan`` is 10, number 5, read at 100 s."""
    board = LevelBoard(SHARDS)
    board.replace({"wan": level(10, 5)}, {WAN}, 100)
    return board


def shown(board: LevelBoard, group: str | None = "wan") -> tuple[int, State, str]:
    found = board.of(group, REGISTRY, 7)
    return found.level, found.state, found.reason


def test_a_published_level_is_shown(board: LevelBoard) -> None:
    assert shown(board) == (10, State.OK, "")
    assert board.take(WAN, [level(20, 6)], 6, 101)
    assert shown(board) == (20, State.OK, "")


def test_an_older_level_never_follows_a_newer_one(board: LevelBoard) -> None:
    for seq in (1, 4, 5):
        assert not board.take(WAN, [level(99, seq)], seq, 101)
    assert shown(board) == (10, State.OK, "")


def test_what_redis_holds_replaces_what_was_known(board: LevelBoard) -> None:
    board.replace({"lan": level(30, 2, "lan")}, range(SHARDS), 101)
    assert shown(board, "lan") == (30, State.OK, "")
    assert shown(board) == (50, State.UNKNOWN, "it has no level yet")


def test_without_a_beat_for_three_seconds_nothing_is_known(board: LevelBoard) -> None:
    assert board.expire(100 + FRESH_S - 0.01) == []
    assert board.expire(100 + FRESH_S) == [WAN]
    assert board.expire(100 + FRESH_S) == []
    found = board.of("wan", REGISTRY, 7)
    assert (found.level, found.state, found.seq) == (50, State.UNKNOWN, 5)


def test_a_beat_keeps_levels_fresh_and_brings_them_back(board: LevelBoard) -> None:
    assert not board.beat(WAN, 102)
    assert board.expire(104) == []
    assert board.expire(105) == [WAN]
    assert board.beat(WAN, 106)
    assert shown(board) == (10, State.OK, "")


def test_reading_redis_again_does_not_make_a_silent_shard_younger(board: LevelBoard) -> None:
    board.replace({"wan": level(10, 5)}, {WAN}, 102.9)
    assert board.expire(103) == [WAN]


def test_what_cannot_be_known_says_why(board: LevelBoard) -> None:
    assert shown(board, None) == (50, State.UNKNOWN, "no group is chosen")
    assert shown(board, "gone") == (50, State.UNKNOWN, "there is no group 'gone'")
    assert shown(board, "lan")[2] == "no worker computes its level"
