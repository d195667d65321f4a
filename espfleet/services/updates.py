"""New firmware for one lamp: read a release, offer it, and follow what becomes of it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from espfleet.cable.program import build_into
from espfleet.domain.devices import Device, Dialect
from espfleet.domain.releases import Release, new_release
from espfleet.errors import InvalidError, RefusedError
from espfleet.services import telling
from espfleet.store import registry, releases
from espfleet.store.client import Store
from espfleet.store.releases import Progress

PROGRAM = "lamp/"
VERSION_FILE = "VERSION"
#: A lamp fetches the manifest before it says whether it takes the release.
ANSWER_MS = 30_000
LOOK_S = 0.3
#: A lamp on trial looks for its gateway for a minute, three times at most, and starts in between.
SILENT_S = 300.0
#: States after which nothing more comes.
LAST = ("running", "returned", "failed")


def make_release(folder: Path | None, *, downgrade: bool = False) -> Release:
    """Return the release that ``esp32/build.py`` made in a folder, or of the program as it is here.

    Args:
        folder: Has ``VERSION`` and ``lamp``; ``None`` to compile what is here.
        downgrade: Whether lamps with a newer version shall take it too.

    Raises:
        InvalidError: If it is no release, or one that no lamp takes.
        CableError: If the compiler is missing.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="espfleet-") as name:
            build_into(Path(name))
            return make_release(Path(name), downgrade=downgrade)
    files = _read(folder)
    version = files.get(VERSION_FILE, b"").decode(errors="replace").strip()
    program = {name: data for name, data in files.items() if name.startswith(PROGRAM)}
    return new_release(version, program, downgrade=downgrade)


def _read(folder: Path) -> dict[str, bytes]:
    try:
        inside = [path for path in (folder / PROGRAM).rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in [folder / VERSION_FILE, *inside]}
    except OSError:
        raise InvalidError(
            f"{folder} is no release: make one with '.venv/bin/python esp32/build.py {folder}'", field="release"
        ) from None


async def offer(store: Store, *, name: str, release: Release, now_ms: int) -> Device:
    """Offer a release to a lamp; return the device once it has accepted.

    Raises:
        NotFoundError: If there is no such device.
        RefusedError: If it cannot be told, or does not take the release; it says why.
    """
    device = (await registry.latest(store)).device(name)
    if device.dialect is not Dialect.V1:
        raise RefusedError(f"{device.name} speaks {device.dialect.value}: only lamps with espfleet's firmware update")
    await releases.put(store, release)
    asked: dict[str, str | int] = {
        "state": "asked",
        "version": release.version,
        "done_bytes": 0,
        "total_bytes": 0,
        "error": "",
    }
    await releases.put_progress(store, device.id, asked | {"at_ms": now_ms})
    arguments = {"release": release.id}
    answer = await telling.tell(
        store, name=name, action="update", arguments=arguments, timeout_ms=ANSWER_MS, now_ms=now_ms
    )
    if not answer.ok:
        await releases.put_progress(store, device.id, {"state": "failed", "error": answer.error, "at_ms": now_ms})
        raise RefusedError(f"{device.name} was not updated: {answer.error}")
    return device


async def follow(store: Store, device: Device, silent_s: float = SILENT_S) -> AsyncIterator[Progress]:
    """Yield what becomes of an update, each time it changes, until it is over one way or the other.

    Raises:
        RefusedError: If nothing is heard for ``silent_s``.
    """
    last: Progress | None = None
    until_s = time.monotonic() + silent_s
    while time.monotonic() < until_s:
        progress = await releases.get_progress(store, device.id)
        if progress is not None and progress != last:
            yield progress
            if progress.state in LAST:
                return
            last, until_s = progress, time.monotonic() + silent_s
        await asyncio.sleep(LOOK_S)
    raise RefusedError(f"nothing was heard of the update of {device.name} for {silent_s:.0f} s")
