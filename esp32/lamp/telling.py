"""What the lamp's HTTP server can be told: one function for each path. Borrowed by the routes.

Values are those of JSON, or the text of forms. What is answered gets the lamp's id beside it.
"""

import json
import time

from micropython import const

from lamp import RefusedError, board, borrow
from lamp.http import HttpError

# A tried level may be green, so it may not last.
_TRY_MS = const(10_000)
_MOST_TRY_MS = const(60_000)
_MOST_PINS = const(49)
# Settings that are text in a form; all others are JSON there.
_TEXTS = ("name", "gateway", "token", "output", "dns", "address")
_GATEWAY_PORT = const(5678)


async def level(lamp, values: dict) -> dict:
    """Try the light for a while."""
    checks, situation = borrow("checks"), lamp.situation
    if values.get("off"):
        situation.override_until_ms = None
        return {"off": True}
    tried = checks.whole(values.get("level"), "level", 0, 100)
    for_ms = checks.whole(values.get("for_ms", _TRY_MS), "for_ms", 100, _MOST_TRY_MS)
    situation.override = tried
    situation.override_until_ms = lamp.clock() + for_ms
    return {"level": tried, "for_ms": for_ms}


async def identify(lamp, values: dict) -> dict:
    """Blink for a while."""
    return await borrow("commands").obey(lamp, "identify", values)


async def gpio(lamp, values: dict) -> dict:
    """Set pins to 0 or 1, or turn them round with 2."""
    if "value" not in values:
        raise RefusedError("value must be 0, 1, or 2 to turn round")
    many = _several(values.get("pin"), "pin")
    done = await borrow("commands").obey(lamp, "gpio", {"pin": many, "value": values["value"]})
    return {"status": "OK", "gpio": done["values"]}


async def adc(lamp, values: dict) -> dict:
    """Measure the voltage at one pin or several, one after the other."""
    commands, began_us, data = borrow("commands"), time.ticks_us(), []
    many = _several(values.get("read_pin"), "read_pin")
    wanted = {"samples": values.get("samples", 20), "power_pin": values.get("power_pin")}
    if wanted["power_pin"] == "":
        wanted["power_pin"] = None
    for pin in many:
        wanted["pin"] = pin
        data.append(await commands.obey(lamp, "adc", wanted))
    ticks = time.ticks_diff(time.ticks_us(), began_us)
    return {"data": [one["raw"] for one in data], "millivolts": [one["millivolts"] for one in data], "ticks": ticks}


async def dht22(lamp, values: dict) -> dict:
    """Ask a sensor of temperature (°C) and humidity (percent)."""
    done = await borrow("commands").obey(lamp, "sensor", {"kind": "dht22", "pin": values.get("read_pin")})
    return {"temp": done["temperature_c"], "humidity": done["humidity_percent"]}


async def settings(lamp, values: dict) -> dict:
    """Change some settings."""
    for key, value in values.items():
        if isinstance(value, str) and key not in _TEXTS:
            try:
                values[key] = json.loads(value)
            except ValueError:
                raise RefusedError(f"{key[:32]} must be JSON") from None
    changing = _change(lamp, values)
    told = changing.shown(lamp.settings)
    told["restart"] = True
    return told


async def set_host(lamp, values: dict) -> dict:
    """Change the address of the fleet alone, as EspNet's boards are told it."""
    host = borrow("checks").text(values.get("ip"), "ip", 128)
    scheme = lamp.settings["gateway"].partition("://")[0] or "ws"
    if ":" not in host:
        host = f"{host}:{_GATEWAY_PORT}"
    _change(lamp, {"gateway": f"{scheme}://{host}"})
    lamp.link.awake = True
    return {"status": "OK"}


async def provision(lamp, values: dict) -> dict:
    """Take a token, and perhaps the gateway's address, from whoever comes first."""
    token = borrow("checks").text(values.get("token"), "token", 128)
    if not token:
        raise RefusedError("token is missing")
    if not lamp.link.wants_token() and token != lamp.settings["token"]:
        raise HttpError(409, "this lamp has a token already, and its gateway accepts it")
    changes = {"token": token}
    if values.get("gateway_url"):
        changes["gateway"] = values["gateway_url"]
    _change(lamp, changes)
    lamp.link.awake = True
    return {"status": "OK"}


async def reboot(lamp, _values: dict) -> dict:
    """Start again, once this is answered."""
    lamp.http.leaving = "reboot"
    return {"status": "OK"}


def _several(value, name: str) -> list:
    """Return one or more pins of ``4``, ``"4,13"`` or ``[4, 13]``, each still to be checked."""
    many = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if not 0 < len(many) <= _MOST_PINS:
        raise RefusedError(f"{name} must be a pin or several")
    return many


def _change(lamp, changes: dict):
    """Keep other values for some settings; return what holds them."""
    changing = borrow("settings")
    changing.change(lamp.settings, changes, borrow("board.vault").Vault(), board)
    return changing
