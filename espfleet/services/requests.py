"""Requests to a board that are sent at once, past its lock: while somebody else visits it, it may be too busy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from espfleet.boards.client import Board
from espfleet.domain.actors import told_arguments
from espfleet.domain.names import check_whole, shown
from espfleet.errors import InvalidError
from espfleet.services.boards import board_of, in_thread
from espfleet.store import audit, registry
from espfleet.store.client import Store

PINS = (0, 48)
#: More pins than a board has are a slip.
MOST_PINS = 49


async def ask(
    store: Store, *, name: str, question: str, arguments: Mapping[str, Any], token: str = ""
) -> dict[str, Any]:
    """Ask a board something, or tell it to do something, and return its answer.

    Args:
        store: Where the fleet is kept.
        name: Name of the device.
        question: One of ``QUESTIONS``.
        arguments: ``pin`` (a number, or several in a list), ``value``, ``power_pin``, ``samples``, ``ip``.
        token: What the board wants to see.

    Raises:
        NotFoundError: If there is no such device.
        InvalidError: If there is no such question, an argument cannot be used, or the address is not known.
        BoardError: If the board does not do it.
    """
    if question not in QUESTIONS:
        raise InvalidError(f"{shown(question)} is no question: use one of {', '.join(QUESTIONS)}", field="question")
    put, wanted = QUESTIONS[question]
    if set(arguments) - wanted:
        raise InvalidError(f"{question} takes {', '.join(sorted(wanted)) or 'no argument'}", field="arguments")
    if question in CHANGING:
        await audit.note(store, "request", {"device": name, "action": question, "arguments": told_arguments(arguments)})
    board = board_of((await registry.latest(store)).device(name), token)
    return await in_thread(lambda: put(board, arguments))


def _basic(board: Board, _: Mapping[str, Any]) -> dict[str, Any]:
    info = board.get_basic()
    return {"gpio": {str(pin): value for pin, value in info.gpio.items()}, "f": info.f, "id": info.id}


def _set_gpio(board: Board, given: Mapping[str, Any]) -> dict[str, Any]:
    pins, value = _pins(given), check_whole(given.get("value"), "value", 0, 1)
    board.set_gpio(pins, value)
    return {"pin": pins, "value": value}


def _flip_gpio(board: Board, given: Mapping[str, Any]) -> dict[str, Any]:
    pins = _pins(given)
    board.flip_gpio(pins)
    return {"pin": pins}


def _dht22(board: Board, given: Mapping[str, Any]) -> dict[str, Any]:
    climate = board.get_dht22(check_whole(given.get("pin"), "pin", *PINS))
    return {"temp": climate.temp_c, "humidity": climate.humidity}


def _adc(board: Board, given: Mapping[str, Any]) -> dict[str, Any]:
    power = given.get("power_pin")
    return asdict(
        board.read_adc(
            check_whole(given.get("pin"), "pin", *PINS),
            None if power is None else check_whole(power, "power_pin", *PINS),
            check_whole(given.get("samples", 20), "samples", 1, 100),
        )
    )


def _set_host(board: Board, given: Mapping[str, Any]) -> dict[str, Any]:
    ip = str(given.get("ip", ""))
    board.set_host(ip)
    return {"host": ip}


def _pins(given: Mapping[str, Any]) -> list[int]:
    pins = given.get("pin")
    pins = pins if isinstance(pins, list) else [pins]
    if not 1 <= len(pins) <= MOST_PINS:
        raise InvalidError(f"pin must be a number, or a list of up to {MOST_PINS}", field="pin")
    return [check_whole(pin, "pin", *PINS) for pin in pins]


#: What is more than a question.
CHANGING = frozenset({"set_gpio", "flip_gpio", "set_host"})
#: What can be asked: how, and the arguments it takes.
QUESTIONS: Mapping[str, tuple[Callable[[Board, Mapping[str, Any]], dict[str, Any]], frozenset[str]]] = {
    "get_basic": (_basic, frozenset()),
    "set_gpio": (_set_gpio, frozenset({"pin", "value"})),
    "flip_gpio": (_flip_gpio, frozenset({"pin"})),
    "get_dht22": (_dht22, frozenset({"pin"})),
    "read_adc": (_adc, frozenset({"pin", "power_pin", "samples"})),
    "set_host": (_set_host, frozenset({"ip"})),
}
