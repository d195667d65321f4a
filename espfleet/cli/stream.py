"""Commands about the streams: consumer groups, and metrics on their way out, by EspNet's names."""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING, Any, NoReturn

from espfleet.cli import output
from espfleet.cli.opening import datadog, settings, with_store, with_time
from espfleet.cli.words import age
from espfleet.domain.names import check_whole
from espfleet.domain.points import Point
from espfleet.errors import InvalidError, RefusedError
from espfleet.services import by_hand, figures
from espfleet.store import points, samples
from espfleet.store.client import Store

if TYPE_CHECKING:
    from espfleet.workers.sender import Sender

DAY_MS = 86_400_000


def init_consumers() -> None:
    """Create the consumer groups of the streams."""

    async def create(store: Store) -> list[str]:
        made = await samples.init_consumers(store)
        return [*made, store.keys.outbox()] if await points.make_group(store) else made

    made = with_store(create)
    output.say(
        f"Created {len(made)} consumer groups: {', '.join(made)}."
        if made
        else "All consumer groups are there already.",
        {"created": made},
    )


def metrics() -> None:
    """Print the figures of this moment."""

    async def collect(store: Store) -> list[Point]:
        at_ms = store.now_ms()
        found = await figures.collect(store, now_ms=at_ms)
        return [*found, *await figures.board_readings(store, now_ms=at_ms)]

    found = with_store(collect)
    output.show(
        [{"name": one.name, "value": one.value, "at_s": one.at_s, "tags": list(one.tags)} for one in found],
        lambda: output.table(
            ("metric", "value", "tags"),
            [(one.name, f"{one.value:g}", " ".join(one.tags)) for one in found],
            "None yet.",
        ),
    )


def xinfo() -> None:
    """Print the state of the outbox."""
    found, at_ms = with_time(points.info)
    oldest = found["oldest_id"]
    found["lag_ms"] = max(0, at_ms - int(oldest.partition("-")[0])) if oldest else 0
    if datadog(settings()) is None:
        found["note"] = "nothing is collected for Datadog: set DATADOG_API_KEY"
    output.show(found, lambda: output.table(("", "outbox"), [(name, str(it)) for name, it in found.items()], ""))


def xpending() -> None:
    """Print what was read and is not acknowledged."""
    found = with_store(points.pending)
    output.show(
        found,
        lambda: output.table(
            ("id", "read by", "ago", "times"),
            [(one["id"], one["consumer"], age(0, one["idle_ms"]), str(one["times"])) for one in found],
            "Nothing is pending.",
        ),
    )


def xdead() -> None:
    """Print what was given up."""
    found = with_store(points.dead)
    output.show(
        [{"why": why, "points": [_told(point) for point in dead]} for why, dead in found],
        lambda: output.table(
            ("metrics", "the first of them", "why"),
            [(str(len(dead)), _named(dead), why) for why, dead in found],
            "No metric was given up.",
            folded=("why",),
        ),
    )


def xack(ids: str) -> None:
    """Give entries up."""
    acked = with_store(functools.partial(by_hand.give_up, entry_ids=ids.replace(",", " ").split()))
    output.say(f"{acked} entries are acknowledged; their metrics are not sent.", acked)


def xclaim(idle: str, entry_id: str) -> None:
    """Take an entry over and print it."""
    idle_ms = check_whole(idle, "idle", 0, DAY_MS, "ms")
    found = with_store(functools.partial(points.claim_one, consumer=points.ROOT, idle_ms=idle_ms, entry_id=entry_id))
    told = [{"id": one.entry_id, "points": [_told(point) for point in one.points]} for one in found]
    count = sum(len(one.points) for one in found)
    output.say(f"{len(found)} entries with {count} metrics are yours; process_backlog {idle} sends them.", told)


def upload_queued_metrics() -> None:
    """Send what nobody has read yet, and what was read by hand."""

    async def upload(store: Store) -> tuple[int, str]:
        sender, through = _sender(store), 0
        while (entries := await sender.step()) and not sender.failures:
            through += entries
        return through, sender.trouble

    _uploaded(*with_store(upload))


def process_backlog(ms: str) -> None:
    """Send what was read more than ``ms`` ago and not acknowledged."""
    idle_ms = check_whole(ms, "ms", 0, DAY_MS, "ms")

    async def process(store: Store) -> tuple[int, str]:
        sender, through = _sender(store), 0
        while entries := await points.claim(store, points.ROOT, idle_ms):
            sent = await sender.send(entries)
            through += sent
            if not sent:
                break
        return through, sender.trouble

    _uploaded(*with_store(process))


def gone(name: str, instead: str) -> NoReturn:
    """Say what replaces a command of EspNet that was a trap."""
    raise InvalidError(f"{name} of EspNet is gone; use {instead}", field="command")


def _sender(store: Store) -> Sender:
    from espfleet.workers.sender import Sender

    there = datadog(settings())
    if there is None:
        raise RefusedError("there is nowhere to send metrics: set DATADOG_API_KEY")
    return Sender(store, there.post, consumer=points.ROOT, host=socket.gethostname())


def _uploaded(entries: int, trouble: str) -> None:
    if trouble:
        raise RefusedError(f"{entries} entries are sent, the others wait: {trouble}")
    output.say(f"{entries} entries are sent." if entries else "There was nothing to send.", entries)


def _named(found: list[Point]) -> str:
    return " ".join((found[0].name, *found[0].tags)) if found else "–"


def _told(point: Point) -> dict[str, Any]:
    return {"name": point.name, "value": point.value, "at_s": point.at_s, "tags": list(point.tags)}
