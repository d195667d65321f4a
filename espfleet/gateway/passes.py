"""Who may come in, and stay: rules on the registry, without connections."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from espfleet.domain.closing import CloseCode
from espfleet.domain.devices import Device
from espfleet.domain.devices import Dialect as DialectName
from espfleet.domain.messages import Hello, ProtocolError
from espfleet.domain.registry import Registry
from espfleet.domain.releases import Standing, update_key
from espfleet.domain.tokens import hash_token, matching_hash
from espfleet.gateway.dialects import Dialect

#: What devices speak that say nothing about who they are; they may come by any path.
WITHOUT_HELLO = (DialectName.PINGLAMP, DialectName.BOARDS)


@dataclass(frozen=True, slots=True)
class Pass:
    """Why a device was let in.

    Attributes:
        device: What the registry said of it.
        dialect: What it speaks.
        token_hash: The stored hash that its token matched, or ``None`` where it is known by its address.
        firmware, chip: What it told of itself, or ``""``.
        update_key: What seals updates for it, or nothing where it has no token.
        standing: What became of its last update, or ``None``.
    """

    device: Device
    dialect: Dialect
    token_hash: str | None
    firmware: str = ""
    chip: str = ""
    update_key: bytes = field(default=b"", repr=False)
    standing: Standing | None = None


class Directory:
    """The registry as the door sees it.

    Attributes:
        registry: What the user has set up.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._speaking: dict[DialectName, list[Device]] = {}
        self._by_host: dict[tuple[DialectName, str], list[Device]] = {}
        self._by_hash: dict[tuple[DialectName, str], Device] = {}
        for device in registry.devices.values():
            if device.dialect is not DialectName.V1:
                self._speaking.setdefault(device.dialect, []).append(device)
                self._by_host.setdefault((device.dialect, device.host), []).append(device)
                for token_hash in device.token_hashes:
                    self._by_hash.setdefault((device.dialect, token_hash), device)

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
        return Pass(device, dialect, token_hash, hello.firmware, hello.chip, update_key(hello.token), hello.update)

    def by_address(self, host: str, token: str, dialects: Mapping[DialectName, Dialect]) -> Pass:
        """Return the pass of a device that says no hello: it is known by its token, or else by its address.

        Raises:
            ProtocolError: If no device, or more than one, is meant.
        """
        device, token_hash = self.find(host, token, dialects)
        return Pass(device, dialects[device.dialect], token_hash)

    def by_token(self, token: str, dialect: Dialect) -> Pass:
        """Return the pass of a device of a dialect that shows its token, which also tells which device it is.

        Raises:
            ProtocolError: If it is the token of none.
        """
        device, token_hash = self._with_token(token, (dialect.name,))
        return Pass(device, dialect, token_hash)

    def find(self, host: str, token: str, names: Collection[DialectName]) -> tuple[Device, str | None]:
        """Return the device of one of some dialects that is meant, and the hash that its token matched.

        Raises:
            ProtocolError: If no device, or more than one, is meant.
        """
        return self._with_token(token, names) if token else (self._only_one_at(host, names), None)

    def hashes_of(self, name: DialectName) -> list[str]:
        """Return the hashes of all tokens of a dialect's devices."""
        return [one for device in self._speaking.get(name, ()) for one in device.token_hashes]

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
        if token_hash is None and self._only_one_at(host, _alike(device)) is not now:
            raise _refusal(CloseCode.UNREGISTERED, f"{device.name} is registered otherwise now")
        return now

    def _with_token(self, token: str, names: Collection[DialectName]) -> tuple[Device, str]:
        # Looked up by its hash, of which nobody can choose even the beginning: to compare it with those of all devices
        # would let anybody who shows wrong ones keep the gateway busy.
        shown = hash_token(token)
        for name in names:
            device = self._by_hash.get((name, shown))
            token_hash = matching_hash(token, device.token_hashes) if device is not None else None
            if device is not None and token_hash is not None:
                return device, token_hash
        raise _refusal(CloseCode.TOKEN, f"this is not the token of a device that speaks {_words(names)}")

    def _only_one_at(self, host: str, names: Collection[DialectName]) -> Device:
        there = [device for name in names for device in self._by_host.get((name, host), ())]
        if not there:
            raise _refusal(
                CloseCode.UNREGISTERED, f"no device with address {host} that speaks {_words(names)} is registered"
            )
        if len(there) > 1:
            raise _refusal(CloseCode.TOKEN, f"{len(there)} devices have address {host}: add ?token= to the URL")
        return there[0]


def _alike(device: Device) -> tuple[DialectName, ...]:
    """Return the dialects among which a device is looked for by its address."""
    return WITHOUT_HELLO if device.dialect in WITHOUT_HELLO else (device.dialect,)


def _words(names: Collection[DialectName]) -> str:
    return " or ".join(name.value for name in names)


def _refusal(code: CloseCode, reason: str) -> ProtocolError:
    return ProtocolError(reason, close_code=code)
