"""What a lamp of a swarm says, and what it can do: ``simulator.speech`` has the messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from espfleet import __version__
from espfleet.domain.messages import Keepalive
from espfleet.domain.names import SIMULATED
from espfleet.simulator import commands, speech

#: What it can do; pins it has none.
CAPABILITIES = ("identify", "reboot", "settings")


def hello(device_id: str, token: str, boots: int, level: speech.Level | None) -> str:
    """Return its first message; ``level`` is the last one it saw."""
    return speech.hello(
        device_id=device_id,
        token=token,
        firmware=__version__,
        chip=SIMULATED,
        capabilities=CAPABILITIES,
        boot_reason="power-on",
        boot_count=boots,
        resume=level.seq if level else None,
    )


def measured(random: Random) -> dict[str, float]:
    """Return what it measures."""
    return {"temperature_c": round(45 + random.random(), 1)}


def own(random: Random, uptime_ms: float) -> dict[str, float]:
    """Return how it is itself."""
    return {
        "rssi_dbm": random.randrange(-70, -50),
        "heap_bytes": random.randrange(108_000, 116_000),
        "uptime_ms": round(uptime_ms),
    }


def keepalive(values: Mapping[str, float], level: speech.Level | None, late_ms: float) -> str:
    """Return the keepalive with everything in it."""
    return speech.keepalive(
        Keepalive(
            shown=level.level if level else None,
            rssi_dbm=round(values["rssi_dbm"]),
            heap_bytes=round(values["heap_bytes"]),
            uptime_ms=round(values["uptime_ms"]),
            late_ms=round(late_ms),
        )
    )


def obey(command: speech.Command, now_ms: float) -> commands.Outcome:
    """Return what a command does to a lamp."""
    if command.action not in CAPABILITIES:
        return commands.Outcome(error=f"a lamp of a load test knows only {', '.join(CAPABILITIES)}")
    return commands.obey(command, now_ms)


def sent_ms(content: bytes) -> float:
    """Return when a level was sent, by the clock that never jumps of the gateway's machine; 0 if it does not say."""
    values: Any = json.loads(content)
    stamp = values.get("server_mono_ts")
    return float(stamp) * 1_000 if isinstance(stamp, int | float) and not isinstance(stamp, bool) else 0.0
