"""Who does something, and what of it may be written down: never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Fields whose values are told; of others only that they were changed, for a token, an address with a password or a
#: hash may be among them.
TOLD = frozenset(
    {"name", "room", "group", "brightness", "role", "dialect", "preset", "combine", "paused", "labels", "until_ms"}
)
#: Arguments of commands whose values are told.
TOLD_ARGUMENTS = frozenset({"pin", "value", "level", "for_ms", "percent", "off", "samples", "power_pin"})
#: Names of what is written down are cut here: others choose them.
_CHARS = 100


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something.

    Attributes:
        door: How they came: ``cli``, ``web``, or the role of a worker.
        name: Of the user, the token or the worker.
        source: Machine or address they come from.
    """

    door: str
    name: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return plain values for storing."""
        return {"door": self.door, "who": self.name[:_CHARS], "from": self.source[:_CHARS]}


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what became of a row: added, changed or removed, and what its fields are now.

    Values are told of those in ``TOLD`` only; others are listed by name.
    """
    if after is None:
        return {"did": "removed"}
    fields = sorted(name for name in after if before is None or after[name] != before.get(name))
    told = {name: after[name] for name in fields if name in TOLD}
    others = [name for name in fields if name not in TOLD]
    if before is None:
        return {"did": "added", "fields": told}
    return {"did": "changed", "fields": told, **({"others": others} if others else {})}


def told_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the arguments of a command may be written down."""
    return {
        name[:_CHARS]: value if name in TOLD_ARGUMENTS and isinstance(value, int | float | bool | list) else "…"
        for name, value in arguments.items()
    }
