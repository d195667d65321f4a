"""What happened last: told on the serial line, and kept for the lamp's own page."""

import time

from micropython import const

_KEPT = const(24)

lines = []


def log(part: str, what: str) -> None:
    """Tell a change of state once; not for the light's loop, where each frame counts."""
    line = f"{time.ticks_ms() / 1000:.3f} {part}: {what}"
    print(line)
    lines.append(line)
    if len(lines) > _KEPT:
        lines.pop(0)
