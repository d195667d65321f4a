"""Making a board on a cable a lamp of the fleet: its settings, its token, its place in the registry."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from espfleet.cable import lamp_settings, program
from espfleet.cable.lamp_settings import CA_FILE, Network, Seen
from espfleet.cable.prompt import Prompt, open_prompt
from espfleet.domain.devices import Device, Kind
from espfleet.domain.names import check_name
from espfleet.domain.tokens import hash_token
from espfleet.errors import CableError, InvalidError
from espfleet.services import device_tokens, devices
from espfleet.store import registry
from espfleet.store.client import Store

#: Told how far it is: what is done now, and which share of all is done, 0 to 1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a board on a cable shall become.

    Attributes:
        name: Its name in the fleet.
        room: Its room; ``None`` for the one that it has, or ``default``.
        gateway_url: Where it shall connect to.
        network: Wi-Fi to try first; ``None`` if it knows one.
        ca: Certificate of the fleet in DER, or ``b""`` without one.
        settings: Other settings of the lamp by key.
    """

    name: str
    room: str | None
    gateway_url: str
    network: Network | None = None
    ca: bytes = b""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What became of it.

    Attributes:
        device: As it is stored now.
        seen: What the lamp says of itself, read back from it.
        new: Whether it was not in the fleet before.
        changed: Whether anything on the lamp was changed.
    """

    device: Device
    seen: Seen
    new: bool
    changed: bool


def flash(port: str, progress: Progress) -> int:
    """Put the lamp's program onto the board at a port, and start it; return how many files were not there yet.

    Raises:
        CableError: If that does not work; the text says why.
    """
    progress("compiling", 0.0)
    files = program.compile_program()
    progress("asking the board", 0.02)
    with open_prompt(port) as prompt:
        changed = _put_program(prompt, files, lambda share: progress("writing", 0.05 + 0.9 * share))
        progress("restarting", 0.97)
        prompt.restart()
    progress("done", 1.0)
    return changed


async def provision(store: Store, *, port: str, wishes: Wishes, now_ms: int, progress: Progress) -> Provisioned:
    """Make the board at a port a lamp of the fleet. Doing it again changes nothing.

    The fleet is asked first, and believes the new token beside the old ones until the lamp has it: whatever ends this
    half-way, the lamp has settings that work, the old ones or the new ones.

    Args:
        store: Where the fleet is kept.
        port: Of the board, such as ``/dev/ttyUSB0``.
        wishes: What it shall become.
        now_ms: Current time, ms since the epoch.
        progress: Told how far it is.

    Raises:
        CableError: If the board does not do its part.
        RefusedError: If the lamp refuses a setting.
        FleetError: As ``devices.register`` does.
    """
    check_name(wishes.name, "device")
    if wishes.room is not None:
        (await registry.load(store)).room(wishes.room)
    progress("asking the board", 0.0)
    with contextlib.ExitStack() as stack:
        prompt = await asyncio.to_thread(stack.enter_context, open_prompt(port))
        written = await asyncio.to_thread(_ensure_program, prompt, progress)
        seen = await asyncio.to_thread(lamp_settings.look, prompt)
        if wishes.network is None and not seen.settings["networks"]:
            raise InvalidError("this lamp knows no Wi-Fi yet: add --wifi SSID", field="wifi")
        if wishes.gateway_url.startswith("wss:") and not wishes.ca and not prompt.checksum(CA_FILE):
            raise InvalidError(
                "over wss a lamp trusts only the authority that it was given, and this fleet has none: "
                "'./espcli certs make' makes one",
                field="ca",
            )
        progress("registering", 0.75)
        done = await devices.register(
            store, device_id=seen.id, name=wishes.name, now_ms=now_ms, room=wishes.room, kinds=(Kind.LAMP,)
        )
        token = await _token_for(store, seen, done.device, done.token)
        progress("writing settings", 0.8)
        changes = _changes(seen, wishes, token)
        network = wishes.network if wishes.network and not seen.knows(wishes.network) else None
        written = await asyncio.to_thread(_put_ca, prompt, wishes.ca) or written
        if changes or network:
            await asyncio.to_thread(lamp_settings.change, prompt, changes, network)
        progress("reading back", 0.9)
        seen = await asyncio.to_thread(lamp_settings.look, prompt)
        device = await _settled(store, seen, wishes, token)
        written = written or bool(changes or network)
        progress("restarting", 0.97)
        await asyncio.to_thread(prompt.restart)
    progress("done", 1.0)
    return Provisioned(device=device, seen=seen, new=done.new, changed=written)


def _put_program(prompt: Prompt, files: Mapping[str, bytes], share: Callable[[float], None]) -> int:
    total, done = sum(map(len, files.values())), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        share(min(1.0, done / total))

    return program.put_program(prompt, files, advance)


def _ensure_program(prompt: Prompt, progress: Progress) -> bool:
    """Put the lamp's program onto a board that has none; return whether that was so."""
    if program.has_program(prompt):
        return False
    files = program.compile_program()
    _put_program(prompt, files, lambda share: progress("writing its program", 0.05 + 0.65 * share))
    return True


async def _token_for(store: Store, seen: Seen, device: Device, token: str | None) -> str | None:
    """Return a token that the lamp must be given; ``None`` where it has one that is valid."""
    if any(seen.has_token(known) for known in device.token_hashes):
        return None
    if token is not None:
        return token
    return (await device_tokens.add(store, name=device.id))[1]


def _changes(seen: Seen, wishes: Wishes, token: str | None) -> dict[str, Any]:
    """Return the settings that the lamp does not have yet."""
    wanted = {"name": host_name(wishes.name), "gateway": wishes.gateway_url, **wishes.settings}
    changes = {key: value for key, value in wanted.items() if seen.settings.get(key) != value}
    return changes if token is None else changes | {"token": token}


def host_name(name: str) -> str:
    """Return what a lamp of this name calls itself in its Wi-Fi: letters, digits and ``-``, at most 32."""
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in name)[:32].strip("-")


def _put_ca(prompt: Prompt, ca: bytes) -> bool:
    if not ca or prompt.checksum(CA_FILE) == sha256(ca).hexdigest():
        return False
    prompt.put(CA_FILE, ca)
    return True


async def _settled(store: Store, seen: Seen, wishes: Wishes, token: str | None) -> Device:
    """See that the lamp has what it was given; from now on no token is valid that is older than its own."""
    if _changes(seen, wishes, None) or (wishes.network and not seen.knows(wishes.network)):
        raise CableError("the lamp does not have the settings that were written: try again")
    device = (await registry.load(store)).device(seen.id)
    valid = [known for known in device.token_hashes if seen.has_token(known)]
    if not valid or (token is not None and hash_token(token) not in valid):
        raise CableError("the lamp does not have the token that was written: try again")
    await device_tokens.used(store, device_id=seen.id, token_hash=valid[0])
    return (await registry.load(store)).device(seen.id)
