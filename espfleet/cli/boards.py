"""Commands that ask a board and tell it something: those of EspNet, and what became of those that were traps."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from getpass import getpass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from espfleet.boards.client import Board
from espfleet.cli import output
from espfleet.cli.opening import settings, with_store, with_time
from espfleet.cli.words import age
from espfleet.domain.devices import Presence
from espfleet.domain.names import check_name, check_whole
from espfleet.errors import InvalidError, RefusedError
from espfleet.services import boards as service
from espfleet.services import by_hand, devices
from espfleet.services.boards import Visit
from espfleet.store import boards, cooldowns, readings, registry
from espfleet.store.boards import BoardState
from espfleet.store.client import Store

if TYPE_CHECKING:
    from rich.console import RenderableType

Answer = TypeVar("Answer")
LOCK_MS = (1, 600_000)


def rows(values: dict[str, Any]) -> RenderableType:
    """Return names and values as a table without a head."""
    page = output.plain_table()
    page.show_header = False
    for name, value in values.items():
        page.add_row(name, output.plain(_in_words(value)))
    return page


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name}: {_in_words(one)}" for name, one in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(map(_in_words, value)) or "–"
    return "–" if value is None else str(value)


def tell(values: dict[str, Any]) -> None:
    """Print names and values."""
    output.show(values, lambda: rows(values))


class RequestCommands:
    """Ask a board at once, past its lock: while the steward visits it, it may be too busy to answer."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get_basic(self) -> None:
        """Ask for pins, temperature (f, in °F) and id.

        Example: ./espcli device porch requests get_basic
        """
        info = self._ask(lambda board: board.get_basic())
        tell({"gpio": {str(pin): value for pin, value in info.gpio.items()}, "f": info.f, "id": info.id})

    def set_gpio(self, pin: str, value: str) -> None:
        """Set a pin to 0 or 1. A job on the pin sets it as it wishes within one interval.

        Example: ./espcli device porch requests set_gpio 22,23 1

        Args:
            pin: Number of the pin, or several: 22,23.
            value: 0 or 1.
        """
        pins, number = _pins(pin), check_whole(value, "value", 0, 1)
        self._ask(lambda board: board.set_gpio(pins, number))
        output.say(f"{self._name}: pin {pin} is {number} now.", {"pin": pins, "value": number, "status": "OK"})

    def flip_gpio(self, pin: str) -> None:
        """Turn a pin round: 0 to 1, 1 to 0.

        Example: ./espcli device porch requests flip_gpio 22

        Args:
            pin: Number of the pin, or several: 22,23.
        """
        pins = _pins(pin)
        self._ask(lambda board: board.flip_gpio(pins))
        output.say(f"{self._name}: pin {pin} is turned round.", {"pin": pins, "status": "OK"})

    def get_dht22(self, pin: str) -> None:
        """Ask the DHT22 at a pin: °C, and percent of humidity.

        Example: ./espcli device porch requests get_dht22 4

        Args:
            pin: Number of the pin.
        """
        number = check_whole(pin, "pin", 0, 48)
        climate = self._ask(lambda board: board.get_dht22(number))
        tell({"temp": climate.temp_c, "humidity": climate.humidity})

    def read_adc(self, pin: str, power_pin: str = "", samples: str = "20") -> None:
        """Measure a voltage: 0 to 4095.

        Example: ./espcli device porch requests read_adc 34 --power_pin 25

        Args:
            pin: Number of the pin.
            power_pin: Pin that is to be high meanwhile.
            samples: How many are averaged, 1 to 100.
        """
        number, count = check_whole(pin, "pin", 0, 48), check_whole(samples, "samples", 1, 100)
        power = check_whole(power_pin, "power_pin", 0, 48) if power_pin else None
        measured = self._ask(lambda board: board.read_adc(number, power, count))
        tell({"data": list(measured.data), "ticks": measured.ticks_us})

    def set_host(self, ip: str) -> None:
        """Tell the board the address of its fleet.

        Example: ./espcli device porch requests set_host 192.0.2.1

        Args:
            ip: The address.
        """
        self._ask(lambda board: board.set_host(ip))
        output.say(f"{self._name} knows {ip} as its fleet now.", {"host": ip, "status": "OK"})

    def site_root(self) -> None:
        """Print the address of the board's pages.

        Example: ./espcli device porch requests site_root
        """
        board = with_store(lambda store: _board(store, self._name))
        output.say(f"http://{board.address}/", {"site_root": f"http://{board.address}/"})

    def _ask(self, question: Callable[[Board], Answer]) -> Answer:
        # The store is closed before the board is asked: nothing is kept from others while it thinks.
        return question(with_store(lambda store: _board(store, self._name)))


async def _board(store: Store, name: str) -> Board:
    return service.board_of((await registry.load(store)).device(name), settings().board_token or "")


def _pins(text: str) -> list[int]:
    return [check_whole(pin, "pin", 0, 48) for pin in text.split(",")]


class BoardCommands:
    """What can be done with a device that has pins."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def requests(self) -> RequestCommands:
        """Ask the board at once, past its lock.

        Example: ./espcli device porch requests get_basic
        """
        return RequestCommands(self._name)

    def update(self) -> BoardCommands:
        """Visit the board now: ask for its state, set its pins as its jobs wish, read its sensors. Shows the device.

        Waits while somebody else talks to it. Example: ./espcli device porch update - get_f
        """
        self._visit()
        return self

    def sync_job_state(self) -> None:
        """Set the pins as the jobs wish, now.

        Example: ./espcli device porch sync_job_state
        """
        done = self._visit()
        changed = {str(pin): value for pin, value in done.switched.items()}
        what = ", ".join(f"pin {pin} to {value}" for pin, value in changed.items())
        output.say(f"{self._name}: set {what}." if changed else f"{self._name}: all pins are as wished.", changed)

    def get_f(self) -> None:
        """Print the temperature of the chip in °F, as it was at the last visit, or as a lamp reported it.

        Example: ./espcli device porch get_f
        """
        (f, seen_ms), at_ms = with_time(self._f)
        output.say(f"{f:g} ({age(seen_ms, at_ms)} ago)", f)

    def get_gpio(self) -> None:
        """Print the pins as they were at the last visit.

        Example: ./espcli device porch get_gpio
        """
        tell({str(pin): value for pin, value in self._state().gpio.items()})

    def get_uid(self) -> None:
        """Print the hardware id.

        Example: ./espcli device porch get_uid
        """
        view = with_store(lambda store: devices.view(store, name=self._name, now_ms=store.now_ms()))
        output.say(view.device.id, view.device.id)

    def ip(self) -> None:
        """Print the address.

        Example: ./espcli device porch ip
        """
        view = with_store(lambda store: devices.view(store, name=self._name, now_ms=store.now_ms()))
        output.say(view.device.address or "not known", view.device.address)

    def online(self) -> None:
        """Say whether the device is there.

        Example: ./espcli device porch online
        """
        view = with_store(lambda store: devices.view(store, name=self._name, now_ms=store.now_ms()))
        output.say(view.presence.value, view.presence is not Presence.OFFLINE)

    def lock(self, purpose: str = "request", ttl: str = "1000") -> None:
        """Keep everybody else from talking to the board for a while.

        Example: ./espcli device porch lock request 60000

        Args:
            purpose: request, or any word of your own.
            ttl: For how long, in ms.
        """
        lasts_ms = check_whole(ttl, "ttl", *LOCK_MS, "ms")
        if not with_store(functools.partial(by_hand.lock, name=self._name, purpose=purpose, ttl_ms=lasts_ms)):
            raise RefusedError(f"{self._name} is busy: its {purpose} lock is taken")
        output.say(f"{self._name} is locked for {lasts_ms} ms.", True)

    def unlock(self, purpose: str = "request") -> None:
        """Open a lock, whoever holds it; whoever does may then not store what it was told.

        Example: ./espcli device porch unlock

        Args:
            purpose: request, or the word that was given to lock.
        """
        was = with_store(functools.partial(by_hand.unlock, name=self._name, purpose=purpose))
        output.say(f"{self._name} is unlocked." if was else f"{self._name} was not locked.", was)

    def cooldown(self, what: str, ttl: str) -> None:
        """Say "not again before": the exit code is 0 if that did not last already, and 1 while it does.

        For scripts of your own; unlike a lock nobody holds it, and it is never given back.
        Example: ./espcli device porch cooldown water 3600000 && ./espcli device porch requests flip_gpio 22

        Args:
            what: A word of your own, such as water.
            ttl: For how long, in ms.
        """
        lasts_ms = check_whole(ttl, "ttl", 1, 86_400_000, "ms")
        check_name(what, "cooldown")

        async def start(store: Store) -> int:
            device = (await registry.load(store)).device(self._name)
            return await cooldowns.start(store, device.id, what, lasts_ms)

        left_ms = with_store(start)
        if left_ms:
            raise RefusedError(f"{what} of {self._name} cools down for another {left_ms / 1_000:g} s")
        output.say(f"{what} of {self._name} cools down for {lasts_ms} ms from now.", True)

    def set_board_token(self, token: str = "", remove: str = "") -> None:
        """Keep the token that the board's HTTP server wants to see, instead of BOARD_TOKEN.

        Without TOKEN it is asked for, or read from a pipe, so that it does not stay in your shell's history. It is kept
        in Redis as it is, because the board must see it. Example: ./espcli device porch set_board_token < token.txt

        Args:
            token: The token.
            remove: --remove forgets it: the board is shown BOARD_TOKEN again.
        """
        if not token and remove != "True":
            token = getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
        wanted = None if remove == "True" else token
        with_store(functools.partial(devices.set_board_token, name=self._name, token=wanted))
        what = "BOARD_TOKEN" if wanted is None else "a token of its own"
        output.say(f"{self._name} is shown {what} now.", {"name": self._name, "own": wanted is not None})

    # --- names of EspNet that did something else than they said

    def set_gpio(self, *_: str) -> None:
        """Not here: it changed what was remembered, never the pin. Use: requests set_gpio PIN VALUE."""
        _moved("set_gpio", f"./espcli device {self._name} requests set_gpio PIN VALUE")

    def set_f(self, *_: str) -> None:
        """Not here: what a board measures is not set by hand. Use: update."""
        _moved("set_f", f"./espcli device {self._name} update")

    def set_lc(self, *_: str) -> None:
        """Not here: when a board was heard is not set by hand. Use: update."""
        _moved("set_lc", f"./espcli device {self._name} update")

    def commit_metric(self, *_: str) -> None:
        """Not here: every visit sends its metrics. Use: update."""
        _moved("commit_metric", f"./espcli device {self._name} update")

    def status(self) -> None:
        """Not here any more: the device itself shows it."""
        _moved("status", f"./espcli device {self._name}")

    def keys(self) -> None:
        """List what Redis holds about the device: key, type, size and lifetime.

        Example: ./espcli device porch keys
        """
        from espfleet.cli.raw import keys

        view = with_store(lambda store: devices.view(store, name=self._name, now_ms=store.now_ms()))
        keys(view.device.id)

    def r(self, *_: str) -> None:
        """Not here: it is the same for all devices. Use: ./espcli r COMMAND."""
        _moved("r", "./espcli r COMMAND")

    def _visit(self) -> Visit:
        token = settings().board_token or ""

        async def visit(store: Store) -> Visit:
            current = await registry.load(store)
            return await service.set_right(
                store, current, current.device(self._name), now_ms=store.now_ms(), token=token
            )

        return with_store(visit)

    async def _f(self, store: Store) -> tuple[float, int]:
        device = (await registry.load(store)).device(self._name)
        reported = (await readings.get(store, device.id)).get("temperature_c")
        state = await boards.get(store, device.id)
        if reported is not None and (state is None or state.at_ms < reported.at_ms):
            return round(reported.value * 9 / 5 + 32, 1), reported.at_ms
        if state is None or not state.at_ms:
            raise RefusedError(f"{self._name} has not been visited yet: ./espcli device {self._name} update")
        return state.f, state.at_ms

    def _state(self) -> BoardState:
        async def read(store: Store) -> BoardState | None:
            return await boards.get(store, (await registry.load(store)).device(self._name).id)

        state = with_store(read)
        if state is None or not state.at_ms:
            raise RefusedError(f"{self._name} has not been visited yet: ./espcli device {self._name} update")
        return state


def _moved(name: str, instead: str) -> NoReturn:
    raise InvalidError(f"{name} did something else than its name says and is gone; use {instead}", field="command")
