"""Commands about the firmware of one device."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.cli.flash import shown_progress
from espfleet.cli.opening import with_store, with_time
from espfleet.cli.words import age
from espfleet.domain.releases import Release
from espfleet.errors import RefusedError
from espfleet.services import devices, updates
from espfleet.services.devices import DeviceView
from espfleet.store import releases
from espfleet.store.client import Store
from espfleet.store.releases import Progress

if TYPE_CHECKING:
    from rich.console import RenderableType

#: What is told while an update goes on.
WORDS = {
    "asked": "the lamp has accepted {version}",
    "writing": "the lamp writes {version}",
    "starting": "the lamp starts {version}",
    "trial": "{version} runs on trial: 10 s with its gateway",
    "running": "{version} stays",
    "returned": "the lamp is back at what ran before",
}


def firmware(name: str) -> None:
    """Show what firmware a device runs, and what became of its last update."""

    async def look(store: Store) -> tuple[DeviceView, Progress | None]:
        view = await devices.view(store, name=name, now_ms=store.now_ms())
        return view, await releases.get_progress(store, view.device.id)

    (view, progress), at_ms = with_time(look)
    output.show(to_json(view, progress), lambda: page(view, progress, at_ms))


def to_json(view: DeviceView, progress: Progress | None) -> dict[str, Any]:
    """Return a device's firmware as programs see it."""
    told: dict[str, Any] = {"name": view.device.name, "firmware": view.firmware, "chip": view.chip, "update": None}
    if progress is not None:
        told["update"] = {field: getattr(progress, field) for field in Progress.__slots__}
    return told


def page(view: DeviceView, progress: Progress | None, at_ms: int) -> RenderableType:
    """Return a device's firmware for people."""
    made = output.plain_table()
    made.show_header = False
    made.add_row("firmware", output.plain(view.firmware or "–"))
    made.add_row("chip", output.plain(view.chip or "–"))
    if progress is None:
        made.add_row("last update", "none is known")
        return made
    made.add_row("runs from", output.plain(f"slot {progress.slot}") if progress.slot else "what was put there by cable")
    what = " ".join(filter(None, (progress.version, progress.state)))
    if progress.state == "writing" and progress.total_bytes:
        what += f" {progress.done_bytes * 100 // progress.total_bytes} %"
    made.add_row("last update", output.plain(f"{what}, {age(progress.at_ms, at_ms)} ago"))
    if progress.error:
        made.add_row("it failed", output.plain(progress.error))
    if progress.bad:
        made.add_row("left again", output.plain(f"{progress.bad}: {progress.why}"))
    return made


def update_firmware(name: str, folder: str, downgrade: bool) -> None:
    """Put new firmware onto a device and wait until it has proved itself."""
    release = updates.make_release(Path(folder) if folder else None, downgrade=downgrade)
    last = with_store(functools.partial(_update, name=name, release=release))
    if last.state == "failed":
        raise RefusedError(f"{name} was not updated: {last.error}")
    if last.state == "returned":
        raise RefusedError(f"{name} went back to what ran before: {last.bad} was no good, {last.why}")
    if last.version != release.version:
        raise RefusedError(f"{name} started again in the middle of the update and runs {last.version}: try again")
    output.say(f"{name} runs {last.version} now.", {"name": name, "firmware": last.version, "slot": last.slot})


async def _update(store: Store, *, name: str, release: Release) -> Progress:
    device = await updates.offer(store, name=name, release=release, now_ms=store.now_ms())
    with shown_progress() as show:
        last = Progress(state="asked")
        async for last in updates.follow(store, device):
            share = last.done_bytes / last.total_bytes if last.total_bytes else 0.0
            words = WORDS.get(last.state, last.state).format(version=release.version)
            show(words, share if last.state == "writing" else float(last.state not in ("asked", "writing")))
    return last
