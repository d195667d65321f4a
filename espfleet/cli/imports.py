"""Commands that take over the set-up of other systems."""

from __future__ import annotations

import functools
from pathlib import Path

from dotenv import dotenv_values

from espfleet.cli import output
from espfleet.cli.opening import with_store
from espfleet.domain.names import shown
from espfleet.errors import InvalidError
from espfleet.services import imports as service
from espfleet.services.imports import Imported


def import_env(file: str) -> None:
    """Make targets and a group of a PING_LAMP ``.env`` file."""
    path = Path(file)
    try:
        with path.open(encoding="utf-8") as stream:
            values = dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not a text file"
        raise InvalidError(f"{shown(file)} cannot be read: {reason}") from exc
    try:
        imported = service.read_pinglamp(values)
    except InvalidError as exc:
        raise InvalidError(f"{path.name}: {exc}") from exc
    with_store(functools.partial(service.take_over, imported=imported))
    output.say(
        _sentence(imported),
        {
            "targets": [target.to_dict() for target in imported.targets],
            "group": imported.group.to_dict(),
            "settings": list(imported.settings),
            "left_out": dict(imported.left_out),
        },
    )


def _sentence(imported: Imported) -> str:
    lines = [
        f"{target.name} ({target.address}) is measured every {target.interval_ms} ms." for target in imported.targets
    ]
    group = imported.group
    own = ", ".join(f"{name} {value:g}" for name, value in group.overrides if value is not None)
    lines.append(f"Group {group.name} judges them{f' with {own}' if own else ''}.")
    lines.append(f"Let a room show it: ./espcli room ROOM add --group {group.name}")
    if imported.settings:
        lines.append("Settings of the same meaning, for espfleet's own .env: " + ", ".join(imported.settings))
    lines += [f"{name} is left out: {reason}." for name, reason in imported.left_out]
    return "\n".join(lines)
