"""The script of a load test: lines such as ``at 60s move 500 to room lab``, read and checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from espfleet.domain.names import check_name, nearest, shown
from espfleet.errors import InvalidError

MOST_LINES = 1_000
LONGEST_S = 7 * 24 * 3_600.0
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)")
_COUNT = re.compile(r"[0-9]{1,9}")


class Verb(StrEnum):
    """What can be done."""

    ARRIVE = "arrive"
    MOVE = "move"
    DIE = "die"
    LEAVE = "leave"
    RETURN = "return"
    FREEZE = "freeze"
    THAW = "thaw"
    LOOP = "loop"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line.

    Attributes:
        at_s: When, from the beginning of the script.
        verb: What.
        count: How many lamps, or ``None`` for all there are.
        over_s: In how long a time, one lamp after the other.
        room: Where lamps move to, or ``""``.
        from_s: Where a loop goes back to.
        line: As it is written, without its comment.
    """

    at_s: float
    verb: Verb
    count: int | None = None
    over_s: float = 0.0
    room: str = ""
    from_s: float = 0.0
    line: str = ""


class _Words:
    """The words of a line, taken one after the other."""

    def __init__(self, line: str) -> None:
        self._words = line.split()

    def next(self, what: str) -> str:
        if not self._words:
            raise InvalidError(f"{what} is missing at its end")
        return self._words.pop(0)

    def has(self, word: str) -> bool:
        if self._words[:1] != [word]:
            return False
        self._words.pop(0)
        return True

    def end(self) -> None:
        if self._words:
            raise InvalidError(f"{shown(' '.join(self._words))} is more than that understands")


def read(text: str, lamps: int, name: str = "script") -> list[Step]:
    """Return the steps of a script.

    Args:
        text: Its lines; empty ones and what stands behind ``#`` do not count.
        lamps: How many lamps there are.
        name: How errors call it.

    Raises:
        InvalidError: If a line cannot be understood; the text names the line.
    """
    steps: list[Step] = []
    lines = text.splitlines()
    if len(lines) > MOST_LINES:
        raise InvalidError(f"{name} has {len(lines)} lines: {MOST_LINES} are the most", field="script")
    for number, whole in enumerate(lines, 1):
        line = " ".join(whole.partition("#")[0].split())
        if not line:
            continue
        try:
            step = _step(line, lamps)
            _check_order(steps, step)
        except InvalidError as exc:
            raise InvalidError(f"{name} line {number}: {exc}", field="script") from None
        steps.append(step)
    if not steps:
        raise InvalidError(f"{name} says nothing: begin with 'at 0s arrive all over 30s'", field="script")
    return steps


def everyone(lamps: int) -> list[Step]:
    """Return the script of who gives none: all lamps arrive, a thousand a second, and stay."""
    over_s = lamps / 1_000
    return [Step(at_s=0.0, verb=Verb.ARRIVE, over_s=over_s, line=f"at 0s arrive all over {over_s:g}s")]


def rooms(steps: Sequence[Step]) -> list[str]:
    """Return the rooms that lamps move to."""
    return list(dict.fromkeys(step.room for step in steps if step.room))


def most_returning(steps: Sequence[Step], lamps: int) -> int:
    """Return how many lamps may come back at once while the gateway still believes in their former connections."""
    if not any(step.verb is Verb.DIE for step in steps):
        return 0
    dead = max(lamps if step.count is None else step.count for step in steps if step.verb is Verb.DIE)
    back = [lamps if step.count is None else step.count for step in steps if step.verb is Verb.RETURN]
    return min(dead, max(back, default=0))


def _step(line: str, lamps: int) -> Step:
    words = _Words(line)
    if not words.has("at"):
        raise InvalidError("it must begin with a time, such as 'at 60s'")
    at_s = _seconds(words.next("the time"))
    word = words.next("what to do")
    try:
        verb = Verb(word)
    except ValueError:
        close = nearest(word, list(Verb))
        hint = f"did you mean {shown(close[0])}?" if close else f"it can be {', '.join(Verb)}"
        raise InvalidError(f"{shown(word)} is nothing a lamp does; {hint}") from None
    if verb is Verb.END:
        step = Step(at_s=at_s, verb=verb, line=line)
    elif verb is Verb.LOOP:
        from_s = _seconds(words.next("the time")) if words.has("from") else 0.0
        if from_s >= at_s:
            raise InvalidError(f"a loop goes back: 'from' must be before {at_s:g}s")
        step = Step(at_s=at_s, verb=verb, from_s=from_s, line=line)
    else:
        count = _count(words.next("how many lamps, or 'all',"), lamps)
        room = _room(words) if verb is Verb.MOVE else ""
        over_s = _seconds(words.next("the time")) if verb is not Verb.MOVE and words.has("over") else 0.0
        step = Step(at_s=at_s, verb=verb, count=count, over_s=over_s, room=room, line=line)
    words.end()
    return step


def _room(words: _Words) -> str:
    if not (words.has("to") and words.has("room")):
        raise InvalidError("say where to: 'move 500 to room lab'")
    return check_name(words.next("the name of the room"), "room")


def _seconds(word: str) -> float:
    found = _TIME.fullmatch(word)
    seconds = float(found[1]) * _UNITS_S[found[2]] if found else -1.0
    if not 0 <= seconds <= LONGEST_S:
        raise InvalidError(f"{shown(word)} is not a time: write 500ms, 90s, 5m or 2h, seven days at most")
    return seconds


def _count(word: str, lamps: int) -> int | None:
    if word == "all":
        return None
    if not _COUNT.fullmatch(word) or int(word) < 1:
        raise InvalidError(f"{shown(word)} is not a number of lamps: write a whole number from 1, or 'all'")
    if int(word) > lamps:
        raise InvalidError(f"{int(word)} lamps are more than there are: --lamps says {lamps}")
    return int(word)


def _check_order(before: Sequence[Step], step: Step) -> None:
    if not before:
        return
    if before[-1].verb in (Verb.LOOP, Verb.END):
        raise InvalidError(f"nothing can come behind {before[-1].line!r}")
    if step.at_s < before[-1].at_s:
        raise InvalidError(f"it comes before {before[-1].line!r}: write the lines in the order of their times")
