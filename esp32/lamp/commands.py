"""What the lamp does when its fleet tells it to.

An action takes the lamp and its arguments and returns what is answered, or raises ``RefusedError`` with the reason. Another
part of the program adds its own to ``ACTIONS``.
"""

import asyncio

from lamp import board, readings
from lamp.checks import RefusedError, one_of, whole

_MOST_MS = 3_600_000
_SAMPLE_MS = 2


async def obey(lamp, action: str, arguments: dict) -> dict:
    """Do what a command says and return the answer.

    Raises:
        RefusedError: If it cannot be done.
    """
    if action not in ACTIONS:
        raise RefusedError(f"this lamp knows {', '.join(sorted(ACTIONS))}")
    return await ACTIONS[action](lamp, arguments)


async def _identify(lamp, arguments: dict) -> dict:
    for_ms = whole(arguments.get("for_ms", 10_000), "for_ms", 100, _MOST_MS)
    lamp.situation.identify_until_ms = lamp.clock() + for_ms
    return {"for_ms": for_ms}


async def _brightness(lamp, arguments: dict) -> dict:
    lamp.painter.percent = percent = whole(arguments.get("percent"), "percent", 0, 100)
    return {"percent": percent}


async def _override(lamp, arguments: dict) -> dict:
    if arguments.get("off"):
        lamp.situation.override_until_ms = None
        return {"off": True}
    level = arguments.get("level")
    if level is not None:
        # Green is kept for fresh levels: nobody can order it.
        level = whole(level, "level", 50, 100)
    for_ms = whole(arguments.get("for_ms", 60_000), "for_ms", 100, _MOST_MS)
    lamp.situation.override = level
    lamp.situation.override_until_ms = lamp.clock() + for_ms
    return {"level": level, "for_ms": for_ms}


async def _reboot(lamp, _arguments: dict) -> dict:
    lamp.link.leave("reboot")
    return {}


async def _settings(lamp, arguments: dict) -> dict:
    if arguments:
        try:
            lamp.settings.change(arguments)
        except OSError as exc:
            raise RefusedError(f"the settings cannot be stored ({exc})") from None
        return {"restart": True}
    return lamp.settings.shown()


async def _gpio(lamp, arguments: dict) -> dict:
    pins, value = arguments.get("pin"), arguments.get("value")
    many = isinstance(pins, list)
    if value is None:
        pins = [readable(pin) for pin in (pins if many else [pins])]
    else:
        # Nothing is switched unless all of it may be.
        pins = [writable(lamp.settings, pin) for pin in (pins if many else [pins])]
        value = whole(value, "value", 0, 2)
        for pin in pins:
            board.write_pin(pin, 1 - board.read_pin(pin) if value == 2 else value)
    if many:
        return {"values": {str(pin): board.read_pin(pin) for pin in pins}}
    return {"pin": pins[0], "value": board.read_pin(pins[0])}


async def _adc(lamp, arguments: dict) -> dict:
    pin = whole(arguments.get("pin"), "pin", 0, 48)
    if pin not in board.CHIP.analogue or pin in lamp.settings.light_pins():
        raise RefusedError(f"pin {pin} of an {board.CHIP.name} measures no voltages")
    samples = whole(arguments.get("samples", 20), "samples", 1, 100)
    power_pin = arguments.get("power_pin")
    if power_pin is not None:
        power_pin = writable(lamp.settings, power_pin)
        board.write_pin(power_pin, 1)
    raw = millivolts = 0
    try:
        for _ in range(samples):
            await asyncio.sleep_ms(_SAMPLE_MS)
            one = board.read_analogue(pin)
            raw += one[0]
            millivolts += one[1]
    finally:
        if power_pin is not None:
            board.write_pin(power_pin, 0)
    return {"pin": pin, "raw": raw // samples, "millivolts": millivolts // samples}


async def _sensor(lamp, arguments: dict) -> dict:
    sensor = arguments or lamp.settings["sensor"]
    if not sensor:
        raise RefusedError("this lamp has no sensor")
    kind = one_of(sensor.get("kind", "dht22"), "kind", "dht11", "dht22")
    own = lamp.settings["sensor"]
    pin = sensor.get("pin")
    if not own or pin != own["pin"]:
        pin = writable(lamp.settings, pin)
    try:
        return readings.climate(kind, pin)
    except OSError:
        raise RefusedError(f"no {kind} answers at pin {pin}") from None


def readable(pin) -> int:
    """Return a pin that may be read."""
    pin = whole(pin, "pin", 0, 48)
    if pin in board.CHIP.outputs or pin in board.CHIP.inputs:
        return pin
    raise RefusedError(f"pin {pin} of an {board.CHIP.name} cannot be used")


def writable(settings, pin) -> int:
    """Return a pin that may be switched: it is safe, belongs to no LED or sensor, and is allowed if any are named."""
    pin = whole(pin, "pin", 0, 48)
    sensor = settings["sensor"]
    taken = pin in settings.light_pins() or (sensor and pin == sensor["pin"])
    if pin not in board.CHIP.outputs or taken or (settings["gpio"] and pin not in settings["gpio"]):
        raise RefusedError(f"pin {pin} of this lamp cannot be switched")
    return pin


ACTIONS = {
    "identify": _identify,
    "brightness": _brightness,
    "override": _override,
    "reboot": _reboot,
    "settings": _settings,
    "gpio": _gpio,
    "adc": _adc,
    "sensor": _sensor,
}
