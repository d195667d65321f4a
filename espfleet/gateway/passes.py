"""Who may come in, and stay: rules on the registry, without connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from espfleet.domain.closing import CloseCode
from espfleet.domain.devices import Device
from espfleet.domain.devices import Dialect as DialectName
from espfleet.domain.messages import Hello, ProtocolError
from espfleet.domain.registry import Registry
from espfleet.domain.tokens import matching_hash
from espfleet.gateway.dialects import Dialect


@dataclass(frozen=True, slots=True)
class Pass:
    """Why a device was let in.

    Attributes:
        device: What the registry said of it.
        dialect: What it speaks.
        token_hash: The stored hash that its token matched, or ``None`` where it is known by its address.
        firmware, chip: What it told of itself, or ``""``.
    """

    device: Device
    dialect: Dialect
    token_hash: str | None
    firmware: str = ""
    chip: str = ""


def by_hello(registry: Registry, hello: Hello, dialect: Dialect) -> Pass:
    """Return the pass of a device that said hello.

    Raises:
        ProtocolError: If it is not registered, or its token is not one of its own.
    """
    device = registry.devices.get(hello.id)
    if device is None:
        _refuse(CloseCode.UNREGISTERED, f"no device with id {hello.id} is registered")
    if not hello.token:
        _refuse(CloseCode.TOKEN, f"{device.name} must show its token")
    token_hash = matching_hash(hello.token, device.token_hashes)
    if token_hash is None:
        _refuse(CloseCode.TOKEN, f"this is not a token of {device.name}")
    return Pass(device, dialect, token_hash, hello.firmware, hello.chip)


def by_address(registry: Registry, host: str, token: str, dialect: Dialect) -> Pass:
    """Return the pass of a device that says no hello: it is known by its token, or else by its address.

    Raises:
        ProtocolError: If no device of this dialect, or more than one, is meant.
    """
    devices = [device for device in registry.devices.values() if device.dialect is dialect.name]
    if token:
        for device in devices:
            token_hash = matching_hash(token, device.token_hashes)
            if token_hash is not None:
                return Pass(device, dialect, token_hash)
        _refuse(CloseCode.TOKEN, "this is not the token of a PING_LAMP device")
    there = [device for device in devices if device.host == host]
    if not there:
        _refuse(CloseCode.UNREGISTERED, f"no PING_LAMP device with address {host} is registered")
    if len(there) > 1:
        _refuse(CloseCode.TOKEN, f"{len(there)} devices have address {host}: add ?token= to the URL")
    return Pass(there[0], dialect, None)


def still(registry: Registry, device: Device, token_hash: str | None, host: str) -> Device:
    """Return what the registry now says of a device that was let in.

    Raises:
        ProtocolError: If it would not be let in any more.
    """
    now = registry.devices.get(device.id)
    if now is None:
        _refuse(CloseCode.UNREGISTERED, f"{device.name} is not registered any more")
    if token_hash is not None and token_hash not in now.token_hashes:
        _refuse(CloseCode.TOKEN, f"this token of {device.name} is not valid any more")
    if token_hash is None and (now.host != host or now.dialect is not DialectName.PINGLAMP):
        _refuse(CloseCode.UNREGISTERED, f"{device.name} is registered otherwise now")
    return now


def _refuse(code: CloseCode, reason: str) -> NoReturn:
    raise ProtocolError(reason, close_code=code)
