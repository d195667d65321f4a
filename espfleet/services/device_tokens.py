"""Another token for a device, without losing it: those before are valid until the new one has been used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from espfleet.domain.devices import Device, Dialect
from espfleet.domain.registry import Registry
from espfleet.domain.tokens import hash_token, new_token
from espfleet.errors import ConflictError, NotFoundError, RefusedError
from espfleet.services import telling
from espfleet.store import registry
from espfleet.store.client import Store
from espfleet.store.registry import Change

_TIMEOUT_MS = 10_000

Choose = Callable[[tuple[str, ...]], tuple[str, ...]]


async def add(store: Store, *, name: str) -> tuple[Device, str]:
    """Make another token for a device, for whoever puts it there by hand; return it, told this once.

    Of those it has, the oldest and the newest stay valid beside it: its session may have begun with the one, and the
    other may be what it was given last and comes back with.

    Raises:
        NotFoundError: If there is no such device.
    """
    token = new_token()
    return await _choose(store, name, lambda known: (*known[:1], *known[1:][-1:], hash_token(token))), token


async def rotate(store: Store, *, name: str, now_ms: int) -> Device:
    """Give a device another token over its link; from when it has used it, the one before is no longer valid.

    Raises:
        NotFoundError: If there is no such device.
        RefusedError: If it is not there, or did not take it; then nothing has changed.
    """
    device = (await registry.load(store)).device(name)
    if device.dialect is not Dialect.V1:
        raise RefusedError(
            f"{device.name} cannot be handed a token over its link: "
            f"'./espcli device {device.name} rotate_token --show' makes one to put there by hand"
        )
    device, token = await add(store, name=device.id)
    told = await telling.tell(
        store,
        name=device.id,
        action="settings",
        arguments={"token": token},
        timeout_ms=_TIMEOUT_MS,
        now_ms=now_ms,
    )
    if not told.ok:
        if told.unanswered:
            # It may have taken it and lost its link while it said so: both stay valid.
            raise RefusedError(f"{told.error}; both tokens are valid: try again when it is there")
        added = hash_token(token)
        await _choose(store, device.id, lambda known: tuple(one for one in known if one != added))
        raise RefusedError(f"{told.error}; its token stays what it was")
    return device


async def used(store: Store, *, device_id: str, token_hash: str) -> None:
    """End the tokens of a device that are older than one that it has used.

    Raises:
        StoreError: If Redis cannot be used.
    """
    try:
        await _choose(
            store, device_id, lambda known: known[known.index(token_hash) :] if token_hash in known else known
        )
    except (ConflictError, NotFoundError):
        # It is used again with the next session; or the device is gone, and its tokens with it.
        return


async def _choose(store: Store, name: str, choose: Choose) -> Device:
    done: list[Device] = []

    def plan(current: Registry) -> list[Change]:
        device = current.device(name)
        done[:] = [replace(device, token_hashes=choose(device.token_hashes))]
        return [] if done[0] == device else [Change("devices", device.id, done[0].to_dict())]

    await registry.change(store, plan)
    return done[0]
