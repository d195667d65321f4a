"""Simulated boards: what EspNet's firmware answers over HTTP, by many boards in one process."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterable, Mapping
from html import escape
from http import HTTPStatus
from typing import Any

from espfleet import __version__
from espfleet.domain.names import SIMULATED, check_whole, nearest
from espfleet.errors import InvalidError, NotFoundError, StartError
from espfleet.simulator.board import form_fields
from espfleet.simulator.electronics import Electronics
from espfleet.simulator.http import HttpError, HttpServer, Request, Response, json_response
from espfleet.simulator.session import Clock, monotonic_ms
from espfleet.simulator.specs import hardware_id

HOST = "127.0.0.1"
MOST_BOARDS = 1_000
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{id}</title>
<h1>{id}</h1><p id="board_temp">{f} °F</p>
<form action="/gpio" method="post">pin <input name="pin"> value <input name="value"><button>set</button></form>
<form action="/adc" method="post">pin <input name="read_pin"><button>measure</button></form></html>"""


class SimulatedBoard:
    """One board without a link: it is only asked.

    Attributes:
        id: Hardware id.
        address: Where it is served, once it is.
        electronics: What hangs on its pins.
        token: What a request must show, or ``""``.
        host: What ``/set_host`` told it.
    """

    def __init__(self, device_id: str, *, token: str = "", clock: Clock = monotonic_ms) -> None:
        self.id = device_id
        self.address = ""
        self.electronics = Electronics(int(device_id, 16))
        self.token = token
        self.host = ""
        self._clock = clock
        self._told: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "/gpio": self._gpio,
            "/adc": self._adc,
            "/dht22": self._dht22,
            "/set_host": self._set_host,
            "/reset": self._reset,
        }

    def handle(self, request: Request) -> Response:
        """Return the answer to a request.

        Raises:
            HttpError: If it is refused.
        """
        shown = request.headers.get("authorization", "")
        if self.token and not hmac.compare_digest(shown.encode(), f"Bearer {self.token}".encode()):
            raise HttpError(HTTPStatus.UNAUTHORIZED, "this board wants its token")
        if request.path in ("/", "/ui"):
            if request.method not in ("GET", "HEAD"):
                raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} takes only GET")
            return self._root() if request.path == "/" else self._ui()
        if request.path not in self._told:
            raise HttpError(HTTPStatus.NOT_FOUND, "there is nothing here")
        if request.method != "POST":
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} takes only POST")
        try:
            return json_response({"id": self.id, **self._told[request.path](form_fields(request))})
        except InvalidError as exc:
            raise HttpError(HTTPStatus.BAD_REQUEST, str(exc)) from None

    def _f(self) -> int:
        return round(self.electronics.chip_c(self._clock()) * 9 / 5 + 32)

    def _root(self) -> Response:
        gpio = {str(pin): value for pin, value in self.electronics.pins.items()}
        return json_response(
            {"f": self._f(), "id": self.id, "gpio": gpio, "chip": SIMULATED, "firmware": __version__, "kind": "board"}
        )

    def _ui(self) -> Response:
        html = _PAGE.format(id=escape(self.id), f=self._f())
        return Response(body=html.encode(), content_type="text/html; charset=utf-8")

    def _gpio(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        pins = [check_whole(pin, "pin", 0, 48) for pin in str(fields.get("pin", "")).split(",")]
        self.electronics.switch(pins, check_whole(fields.get("value"), "value", 0, 2))
        return {"status": "OK"}

    def _adc(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        samples = check_whole(fields.get("samples", 20), "samples", 1, 100)
        pins = [check_whole(pin, "read_pin", 0, 48) for pin in str(fields.get("read_pin", "")).split(",")]
        data = [self.electronics.voltage(pin, self._clock()) for pin in pins]
        return {"data": data, "ticks": 10_000 * samples}

    def _dht22(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        temp_c, humidity = self.electronics.climate(
            check_whole(fields.get("read_pin"), "read_pin", 0, 48), self._clock()
        )
        return {"temp": temp_c, "humidity": humidity}

    def _set_host(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        self.host = str(fields.get("ip", ""))
        return {"status": "OK"}

    def _reset(self, _fields: Mapping[str, Any]) -> dict[str, Any]:
        self.electronics.reset()
        return {"status": "OK"}


class BoardSimulator:
    """Boards that are served on loopback.

    Attributes:
        boards: By hardware id.
        started: Set once all are served.
    """

    def __init__(self, boards: Iterable[SimulatedBoard], *, first_port: int = 0) -> None:
        self.boards = {board.id: board for board in boards}
        self.started = asyncio.Event()
        self._first_port = first_port
        self._servers: list[HttpServer] = []

    def board(self, device_id: str) -> SimulatedBoard:
        """Return a board.

        Raises:
            NotFoundError: If there is none.
        """
        if device_id not in self.boards:
            raise NotFoundError("simulated board", device_id, nearest(device_id, self.boards))
        return self.boards[device_id]

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            StartError: If a port is taken.
        """
        try:
            for number, board in enumerate(self.boards.values()):
                server = HttpServer(board.handle)
                port = self._first_port + number if self._first_port else 0
                try:
                    port = await server.start(HOST, port)
                except OSError as exc:
                    raise StartError(f"a simulated board cannot serve on {HOST}:{port}: {exc.strerror}") from exc
                self._servers.append(server)
                board.address = f"{HOST}:{port}"
            self.started.set()
            await asyncio.Event().wait()
        finally:
            self.started.clear()
            await asyncio.gather(*(server.close() for server in self._servers), return_exceptions=True)
            self._servers.clear()


def new_boards(count: int, *, seed: int = 0) -> list[SimulatedBoard]:
    """Return 1 to ``MOST_BOARDS`` boards; another seed makes other hardware ids.

    Raises:
        InvalidError: If there shall be more.
    """
    count = check_whole(count, "boards", 1, MOST_BOARDS)
    return [SimulatedBoard(hardware_id(number, seed ^ 0xB0A4D)) for number in range(1, count + 1)]
