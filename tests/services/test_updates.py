"""Updates as the command line orders them: reading a release, offering it, following it."""

from __future__ import annotations

from pathlib import Path

import pytest

from espfleet.domain.devices import Device, Dialect
from espfleet.errors import InvalidError, RefusedError
from espfleet.services import updates
from espfleet.store import registry, releases
from espfleet.store.client import Store
from espfleet.store.registry import Change
from tests.conftest import wait_until

DEVICE = Device(id="0" * 12, name="porch", room=None, token_hashes=())


def folder(path: Path, version: str = "0.2.0\n") -> Path:
    (path / "lamp" / "board").mkdir(parents=True)
    (path / "VERSION").write_text(version)
    (path / "main.py").write_text("import lamp")
    (path / "lamp" / "app.mpy").write_bytes(b"app")
    (path / "lamp" / "board" / "pins.mpy").write_bytes(b"pins")
    return path


async def put(store: Store, device: Device) -> None:
    await registry.change(store, lambda _: [Change("devices", device.id, device.to_dict())])


def test_a_release_is_the_program_without_what_starts_it(tmp_path: Path) -> None:
    release = updates.make_release(folder(tmp_path))
    assert release.version == "0.2.0"
    assert release.data == b"apppins"
    assert b"main.py" not in release.manifest
    assert b'"downgrade":true' in updates.make_release(tmp_path, downgrade=True).manifest


def test_a_folder_that_is_no_release_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"is no release: make one with '.venv/bin/python esp32/build.py"):
        updates.make_release(tmp_path)
    with pytest.raises(InvalidError, match=r"'soon' is no version such as 0\.2\.0"):
        updates.make_release(folder(tmp_path, "soon"))


def test_what_is_here_is_compiled_where_no_folder_is_named() -> None:
    release = updates.make_release(None)
    assert b'["lamp/update.mpy",' in release.manifest
    assert b"slots" not in release.manifest


async def test_a_device_without_our_firmware_is_not_updated(store: Store, tmp_path: Path) -> None:
    await put(store, Device(id="0" * 12, name="porch", room=None, token_hashes=(), dialect=Dialect.PINGLAMP))
    with pytest.raises(RefusedError, match="porch speaks pinglamp: only lamps with espfleet's firmware update"):
        await updates.offer(store, name="porch", release=updates.make_release(folder(tmp_path)), now_ms=1)


async def test_a_lamp_that_is_away_is_not_updated_and_that_is_remembered(store: Store, tmp_path: Path) -> None:
    await put(store, DEVICE)
    release = updates.make_release(folder(tmp_path))
    with pytest.raises(RefusedError, match="porch was not updated: porch cannot be told: never seen"):
        await updates.offer(store, name="porch", release=release, now_ms=1)
    progress = await releases.get_progress(store, DEVICE.id)
    assert progress is not None
    assert (progress.state, progress.error) == ("failed", "porch cannot be told: never seen")
    assert await releases.get(store, release.id) == release


async def test_an_update_is_followed_to_its_end(store: Store) -> None:
    states = ["writing", "starting", "trial", "running"]
    seen = []
    await releases.put_progress(store, DEVICE.id, {"state": states.pop(0), "version": "0.2.0"})
    async for progress in updates.follow(store, DEVICE, 20):
        seen.append((progress.state, progress.version))
        if states:
            await releases.put_progress(store, DEVICE.id, {"state": states.pop(0)})
    assert seen == [(state, "0.2.0") for state in ("writing", "starting", "trial", "running")]


async def test_an_update_that_is_not_heard_of_any_more_is_given_up(store: Store) -> None:
    await releases.put_progress(store, DEVICE.id, {"state": "writing"})
    with pytest.raises(RefusedError, match="nothing was heard of the update of porch for 1 s"):
        async for _ in updates.follow(store, DEVICE, 1):
            pass


async def test_releases_and_progress_expire(store: Store, tmp_path: Path) -> None:
    release = updates.make_release(folder(tmp_path))
    await releases.put(store, release)
    await releases.put_progress(store, DEVICE.id, {"state": "running"})
    assert 0 < await store.do("PTTL", store.keys.release(release.id)) <= releases.RELEASE_TTL_MS
    await wait_until(lambda: releases.get(store, release.id))
    await store.do("DEL", store.keys.release(release.id))
    assert await releases.get(store, release.id) is None
    assert await releases.get_progress(store, "1" * 12) is None
