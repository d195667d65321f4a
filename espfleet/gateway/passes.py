"""Who may come in, and stay: rules on the registry, without connections."""

from __future__ import annotations

from dataclasses import dataclass

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


class Directory:
    """The registry as the door sees it.

    Attributes:
        registry: What the user has set up.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._old_ones = [device for device in registry.devices.values() if device.dialect is DialectName.PINGLAMP]
        self._by_host: dict[str, list[Device]] = {}
        for device in self._old_ones:
            self._by_host.setdefault(device.host, []).append(device)

    def by_hello(self, hello: Hello, dialect: Dialect) -> Pass:
        """Return the pass of a device that said hello.

        Raises:
            ProtocolError: If it is not registered, or its token is not one of its own.
        """
        device = self.registry.devices.get(hello.id)
        if device is None:
            raise _refusal(CloseCode.UNREGISTERED, f"no device with id {hello.id} is registered")
        if not hello.token:
            raise _refusal(CloseCode.TOKEN, f"{device.name} must show its token")
        token_hash = matching_hash(hello.token, device.token_hashes)
        if token_hash is None:
            raise _refusal(CloseCode.TOKEN, f"this is not a token of {device.name}")
        return Pass(device, dialect, token_hash, hello.firmware, hello.chip)

    def by_address(self, host: str, token: str, dialect: Dialect) -> Pass:
        """Return the pass of a PING_LAMP device: it is known by its token, or else by its address.

        Raises:
            ProtocolError: If no device, or more than one, is meant.
        """
        if not token:
            return Pass(self._only_one_at(host), dialect, None)
        for device in self._old_ones:
            token_hash = matching_hash(token, device.token_hashes)
            if token_hash is not None:
                return Pass(device, dialect, token_hash)
        raise _refusal(CloseCode.TOKEN, "this is not the token of a PING_LAMP device")

    def still(self, device: Device, token_hash: str | None, host: str) -> Device:
        """Return what the registry now says of a device that was let in.

        Raises:
            ProtocolError: If it would not be let in any more.
        """
        now = self.registry.devices.get(device.id)
        if now is None:
            raise _refusal(CloseCode.UNREGISTERED, f"{device.name} is not registered any more")
        if token_hash is not None and token_hash not in now.token_hashes:
            raise _refusal(CloseCode.TOKEN, f"this token of {device.name} is not valid any more")
        if token_hash is None and self._only_one_at(host) is not now:
            raise _refusal(CloseCode.UNREGISTERED, f"{device.name} is registered otherwise now")
        return now

    def _only_one_at(self, host: str) -> Device:
        there = self._by_host.get(host, [])
        if not there:
            raise _refusal(CloseCode.UNREGISTERED, f"no PING_LAMP device with address {host} is registered")
        if len(there) > 1:
            raise _refusal(CloseCode.TOKEN, f"{len(there)} devices have address {host}: add ?token= to the URL")
        return there[0]


def _refusal(code: CloseCode, reason: str) -> ProtocolError:
    return ProtocolError(reason, close_code=code)
