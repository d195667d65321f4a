"""What a simulated lamp does when it is told to do something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from espfleet.domain.light import IDENTIFY_MS, Override
from espfleet.domain.names import check_whole, shown
from espfleet.domain.states import ORANGE_LEVEL
from espfleet.errors import InvalidError
from espfleet.simulator.specs import check_token
from espfleet.simulator.speech import Command

FOR_MS = (100, 3_600_000)
OVERRIDE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command changes and what is answered.

    Attributes:
        data: The answer.
        error: Why nothing was done, one sentence, or ``""``.
        changes: Fields of the lamp's ``Situation`` that become other ones.
        brightness: New brightness in percent, or ``None``.
        reboot: Whether the lamp shall start again.
        pins: Pins to read, or to switch if there is a ``value``.
        value: 0, 1, or 2 to turn them round; ``None`` to read.
        measure: What to measure at the pin, ``adc`` or ``dht22``, or ``""``.
        token: What the lamp shall show from its next connection on, or ``None`` for what it has.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    brightness: int | None = None
    reboot: bool = False
    pins: tuple[int, ...] = ()
    value: int | None = None
    measure: str = ""
    token: str | None = field(default=None, repr=False)


def obey(command: Command, now_ms: float) -> Outcome:
    """Return what a command does to a lamp."""
    action = ACTIONS.get(command.action)
    if action is None:
        return Outcome(error=f"a simulated lamp cannot do {shown(command.action)}: it knows {', '.join(ACTIONS)}")
    try:
        return action(command.arguments, now_ms)
    except InvalidError as exc:
        return Outcome(error=str(exc))


def _identify(arguments: Mapping[str, Any], now_ms: float) -> Outcome:
    for_ms = check_whole(arguments.get("for_ms", IDENTIFY_MS), "for_ms", *FOR_MS, "ms")
    return Outcome(data={"for_ms": for_ms}, changes={"identify_until_ms": now_ms + for_ms})


def _brightness(arguments: Mapping[str, Any], _now_ms: float) -> Outcome:
    percent = check_whole(arguments.get("percent"), "percent", 0, 100, "percent")
    return Outcome(data={"percent": percent}, brightness=percent)


def _override(arguments: Mapping[str, Any], now_ms: float) -> Outcome:
    if arguments.get("off"):
        return Outcome(data={"off": True}, changes={"override": None})
    level = arguments.get("level")
    if level is not None:
        # Green is kept for fresh levels: nobody can order it.
        level = check_whole(level, "level", ORANGE_LEVEL, 100)
    for_ms = check_whole(arguments.get("for_ms", OVERRIDE_MS), "for_ms", *FOR_MS, "ms")
    return Outcome(
        data={"level": level, "for_ms": for_ms}, changes={"override": Override(level=level, until_ms=now_ms + for_ms)}
    )


def _reboot(_arguments: Mapping[str, Any], _now_ms: float) -> Outcome:
    return Outcome(reboot=True)


def _settings(arguments: Mapping[str, Any], _now_ms: float) -> Outcome:
    """Tell the settings, or take another token; the others are those of hardware."""
    if not arguments:
        return Outcome(data={"token": True})
    for key in arguments:
        if key != "token":
            raise InvalidError(f"a simulated lamp has no setting {shown(key)}, only token", field="settings")
    # As with a real one: true stands for the token that it has.
    token = None if arguments["token"] is True else check_token(arguments["token"])
    return Outcome(data={"restart": True}, token=token)


def _gpio(arguments: Mapping[str, Any], _now_ms: float) -> Outcome:
    pin, value = arguments.get("pin"), arguments.get("value")
    pins = tuple(check_whole(one, "pin", 0, 48) for one in (pin if isinstance(pin, list) else [pin]))
    return Outcome(pins=pins, value=None if value is None else check_whole(value, "value", 0, 2))


def _adc(arguments: Mapping[str, Any], _now_ms: float) -> Outcome:
    return Outcome(pins=(check_whole(arguments.get("pin"), "pin", 0, 48),), measure="adc")


def _sensor(arguments: Mapping[str, Any], _now_ms: float) -> Outcome:
    kind = arguments.get("kind", "dht22")
    if kind != "dht22":
        raise InvalidError(f"a simulated lamp has a dht22, no {shown(kind)}", field="kind")
    return Outcome(pins=(check_whole(arguments.get("pin"), "pin", 0, 48),), measure="dht22")


#: What a lamp tells the gateway that it can do.
ACTIONS: Mapping[str, Callable[[Mapping[str, Any], float], Outcome]] = {
    "identify": _identify,
    "brightness": _brightness,
    "override": _override,
    "reboot": _reboot,
    "settings": _settings,
    "gpio": _gpio,
    "adc": _adc,
    "sensor": _sensor,
}
