"""What the lamp does when its fleet tells it to. Borrowed by the session.

An action takes the lamp and its arguments and returns what is answered, or raises ``RefusedError`` with the reason.
An update answers by itself, when it knows more.
"""

import asyncio
import binascii
import os

from lamp import RefusedError, board, borrow

checks = borrow("checks")
pins = borrow("board.pins")

_MOST_MS = 3_600_000
_SAMPLE_MS = 2


async def obey(lamp, action: str, arguments: dict, command_id: str = ""):
    """Do what a command says and return the answer, or ``None`` if that comes later.

    Args:
        lamp: Which lamp.
        action, arguments: What it shall do.
        command_id: By which the gateway knows the answer; without, nothing may be answered later.

    Raises:
        RefusedError: If it cannot be done.
        OSError: If the hardware does not do it.
    """
    if action == "update" and command_id:
        return borrow("update").begin(lamp, command_id, arguments)
    if action not in ACTIONS:
        raise RefusedError(f"this lamp knows {', '.join(sorted(ACTIONS))}")
    return await ACTIONS[action](lamp, arguments)


async def _identify(lamp, arguments: dict) -> dict:
    for_ms = checks.whole(arguments.get("for_ms", 10_000), "for_ms", 100, _MOST_MS)
    lamp.situation.identify_until_ms = lamp.clock() + for_ms
    return {"for_ms": for_ms}


async def _brightness(lamp, arguments: dict) -> dict:
    lamp.painter.percent = percent = checks.whole(arguments.get("percent"), "percent", 0, 100)
    return {"percent": percent}


async def _override(lamp, arguments: dict) -> dict:
    if arguments.get("off"):
        lamp.situation.override_until_ms = None
        return {"off": True}
    level = arguments.get("level")
    if level is not None:
        # Green is kept for fresh levels: nobody can order it.
        level = checks.whole(level, "level", 50, 100)
    for_ms = checks.whole(arguments.get("for_ms", 60_000), "for_ms", 100, _MOST_MS)
    lamp.situation.override = level
    lamp.situation.override_until_ms = lamp.clock() + for_ms
    return {"level": level, "for_ms": for_ms}


async def _reboot(lamp, _arguments: dict) -> dict:
    lamp.link.leaving = "reboot"
    return {}


async def _settings(lamp, arguments: dict) -> dict:
    settings = borrow("settings")
    if arguments:
        settings.change(lamp.settings, arguments, borrow("board.vault").Vault(), board)
        return {"restart": True}
    return settings.shown(lamp.settings)


async def _trust(lamp, arguments: dict) -> dict:
    """Know gateways by other certificates from the next connection on; all of them must be usable."""
    try:
        data = binascii.a2b_base64(checks.text(arguments.get("ca"), "ca", 3000))
        _keep_trust(data)
    except (ValueError, IndexError):
        raise RefusedError("ca must hold certificates, DER, in base64") from None
    lamp.link.forget("tls")
    return {"bytes": len(data)}


def _keep_trust(data: bytes) -> None:
    dial = borrow("dial")
    new = dial.CA_FILE + ".new"
    with open(new, "wb") as stream:
        stream.write(data)
    dial.trust(new)
    os.rename(new, dial.CA_FILE)


async def _gpio(lamp, arguments: dict) -> dict:
    pin, value = arguments.get("pin"), arguments.get("value")
    many = pin if isinstance(pin, list) else [pin]
    # Nothing is switched unless all of it may be.
    many = [safe(lamp.settings, one, value is not None) for one in many]
    if value is not None:
        value = checks.whole(value, "value", 0, 2)
        for one in many:
            pins.write(one, 1 - pins.read(one) if value == 2 else value)
    if isinstance(pin, list):
        return {"values": {str(one): pins.read(one) for one in many}}
    return {"pin": many[0], "value": pins.read(many[0])}


async def _adc(lamp, arguments: dict) -> dict:
    pin = checks.whole(arguments.get("pin"), "pin", 0, 48)
    if pin not in board.ANALOGUE or pin in lamp.settings["light"]:
        raise RefusedError(f"pin {pin} of this {board.CHIP} measures no voltages")
    samples = checks.whole(arguments.get("samples", 20), "samples", 1, 100)
    power_pin = arguments.get("power_pin")
    if power_pin is not None:
        power_pin = safe(lamp.settings, power_pin, True)
        pins.write(power_pin, 1)
    raw = millivolts = 0
    try:
        for _ in range(samples):
            await asyncio.sleep_ms(_SAMPLE_MS)
            one = pins.measure(pin)
            raw += one[0]
            millivolts += one[1]
    finally:
        if power_pin is not None:
            pins.write(power_pin, 0)
    return {"pin": pin, "raw": raw // samples, "millivolts": millivolts // samples}


async def _sensor(lamp, arguments: dict) -> dict:
    own = lamp.settings["sensor"]
    sensor = arguments or own
    if not sensor:
        raise RefusedError("this lamp has no sensor")
    kind = checks.one_of(sensor.get("kind", "dht22"), "kind", "dht11", "dht22")
    pin = sensor.get("pin")
    if not own or pin != own["pin"]:
        pin = safe(lamp.settings, pin, True)
    try:
        return pins.climate(kind, pin)
    except OSError:
        raise RefusedError(f"no {kind} answers at pin {pin}") from None


def safe(settings: dict, pin, switch: bool) -> int:
    """Return a pin that may be read, or switched: then it belongs to no LED or sensor, and is allowed if any is."""
    pin = checks.whole(pin, "pin", 0, 48)
    sensor, allowed = settings["sensor"], settings["gpio"]
    if not switch:
        good = pin in board.OUTPUTS or pin in board.INPUTS
    elif allowed:
        good = pin in allowed and pin in board.OUTPUTS
    else:
        taken = pin in settings["light"] or (sensor and pin == sensor["pin"])
        good = pin in board.OUTPUTS and not taken
    if good:
        return pin
    raise RefusedError(f"pin {pin} of this {board.CHIP} cannot be {'switched' if switch else 'read'}")


ACTIONS = {
    "identify": _identify,
    "brightness": _brightness,
    "override": _override,
    "reboot": _reboot,
    "settings": _settings,
    "trust": _trust,
    "gpio": _gpio,
    "adc": _adc,
    "sensor": _sensor,
}
