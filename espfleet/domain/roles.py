"""Roles of people and programs: what a token lets its holder do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from espfleet.domain.names import check_name, shown
from espfleet.errors import InvalidError


class Role(StrEnum):
    """What somebody may do: look; also tell devices to do things; also change the fleet."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, wanted: Role) -> bool:
        """Whether this role includes another."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Somebody with a token.

    Attributes:
        name: Name of the token, unique among them.
        role: What it lets them do.
        created_ms: When it was made, ms since the epoch.
        until_ms: When it ends, for another one of this name was made, ms since the epoch; ``None`` for never.
    """

    name: str
    role: Role
    created_ms: int = 0
    until_ms: int | None = None

    def holds(self, now_ms: int) -> bool:
        """Return whether it has not ended."""
        return self.until_ms is None or now_ms < self.until_ms

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for storing."""
        row: dict[str, Any] = {"name": self.name, "role": self.role.value, "created_ms": self.created_ms}
        return row if self.until_ms is None else {**row, "until_ms": self.until_ms}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Holder:
        """Return the holder that ``to_dict`` described; without a role it is a viewer."""
        role = values.get("role", Role.VIEWER)
        return cls(
            name=values.get("name", ""),
            role=Role(role) if role in list(Role) else Role.VIEWER,
            created_ms=values.get("created_ms", 0),
            until_ms=values.get("until_ms"),
        )


def new_holder(name: object, role: object, created_ms: int) -> Holder:
    """Return a checked holder.

    Raises:
        InvalidError: If a value cannot be used.
    """
    try:
        checked = Role(str(role))
    except ValueError:
        raise InvalidError(f"{shown(role)} is not a role: use one of {', '.join(Role)}", field="role") from None
    return Holder(name=check_name(name, "token"), role=checked, created_ms=created_ms)
