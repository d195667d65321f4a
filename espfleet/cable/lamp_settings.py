"""Settings of a lamp on a cable: read and changed by the lamp's own program, so that it checks them itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from espfleet.cable.program import SOURCES
from espfleet.cable.prompt import Prompt
from espfleet.errors import CableError, PromptError

#: Where the lamp looks for the certificate that signs those of its fleet, in DER.
CA_FILE = "ca.der"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A Wi-Fi. ``password`` is ``""`` for an open one."""

    ssid: str
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a lamp on a cable says of itself.

    Attributes:
        id: Hardware id, 12 hex digits.
        chip: Such as ``ESP32S3``.
        firmware: Version of its program.
        settings: Values by key; of secrets only their SHA-256, in hex digits.
        problems: What is wrong with them, one sentence each.
    """

    id: str
    chip: str
    firmware: str
    settings: Mapping[str, Any]
    problems: tuple[str, ...]

    def has_token(self, token_hash: str) -> bool:
        """Return whether its token has this hash (of ``domain.tokens.hash_token``)."""
        return bool(self.settings["token"]) and token_hash == f"sha256:{self.settings['token']}"

    def knows(self, network: Network) -> bool:
        """Return whether it has this network, with this password, before all others."""
        first = {"ssid": network.ssid, "password": checksum(network.password)}
        return bool(self.settings["networks"][:1] == [first])


def checksum(text: str) -> str:
    """Return the SHA-256 of a secret as a lamp tells it; nothing has none."""
    return sha256(text.encode()).hexdigest() if text else ""


def look(prompt: Prompt) -> Seen:
    """Return what the lamp says of itself.

    Raises:
        CableError: If it says what no lamp would.
    """
    said = prompt.run(f"{_script()}\nlook()").strip()
    try:
        told = json.loads(said.splitlines()[-1])
        return Seen(
            id=told["id"],
            chip=told["chip"],
            firmware=told["firmware"],
            settings=told["settings"],
            problems=tuple(told["problems"]),
        )
    except (ValueError, KeyError, TypeError, IndexError):
        raise PromptError(
            f"the program on the board at {prompt.port} is no lamp's: './espcli flash' puts it there"
        ) from None


def change(prompt: Prompt, changes: Mapping[str, Any], network: Network | None = None) -> None:
    """Change settings of the lamp, all or none; a power cut leaves the old ones or the new ones.

    Args:
        prompt: Of the lamp.
        changes: New values by key.
        network: Wi-Fi to be tried before those that it knows.

    Raises:
        RefusedError: If the lamp refuses a value; the others are not stored either.
        CableError: If they cannot be stored.
    """
    wifi = None if network is None else {"ssid": network.ssid, "password": network.password}
    prompt.run(f"{_script()}\nchange(json.loads({json.dumps(dict(changes))!r}), json.loads({json.dumps(wifi)!r}))")


def _script() -> str:
    try:
        return (SOURCES / "from_cable.py").read_text(encoding="utf-8")
    except OSError as exc:
        raise CableError(f"{exc.filename} cannot be read ({exc.strerror}): take it from git again") from None
