"""The whole lamp against gateways that fail in every way: it says why, lets go, and is back as soon as it can."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import cast

from espfleet.domain.closing import restart_reason
from tests.conftest import wait_until
from tests.firmware.boards import Board
from tests.firmware.certificates import authority
from tests.firmware.servers import CLOSE, PING, PONG, TEXT, Handler, Peer, frame, serving
from tests.firmware.together import Boards, together

Bad = Callable[[Peer], Awaitable[None]]


async def good(peer: Peer) -> None:
    """Welcome a lamp and send it green for ever."""
    await peer.welcome()
    await peer.levels(0)


def first(bad: Bad, then: Bad = good) -> Handler:
    """Return a server that is bad to the first connection and good to all others."""
    served = 0

    async def serve(peer: Peer) -> None:
        nonlocal served
        served += 1
        await (bad if served == 1 else then)(peer)

    return serve


async def green(board: Board, since: int = 0, timeout_s: float = 60.0) -> None:
    """Wait until a lamp shows a fresh level of 0."""
    await board.line("light: level", since, timeout_s)
    await wait_until(lambda: board.light()[0] > 60_000 and board.light()[2] < 100, timeout_s)


# What a lamp does while all is well


@together
async def test_a_lamp_says_who_it_is_and_shows_what_it_is_told(boards: Boards) -> None:
    said: list[dict[str, object]] = []

    async def server(peer: Peer) -> None:
        said.append(await peer.welcome(level=50))
        said.append(await peer.hear("keepalive"))
        levels = asyncio.create_task(peer.levels(100))
        try:
            while said[-1].get("shown") != 100:
                said.append(await peer.hear("keepalive"))
                if "shown" not in said[-1]:
                    assert said.pop() == {"type": "keepalive"}
        finally:
            levels.cancel()
        await peer.gone()

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await board.line("link: connected as porch")
        await board.line("@pwm 4 65535")
    hello, keepalive = said[:2]
    assert hello == {
        "type": "hello",
        "protocol": 1,
        "id": "3c71bff93720",
        "token": "secret",
        "firmware": "0.1.0",
        "chip": "ESP32",
        "capabilities": [
            "adc",
            "brightness",
            "gpio",
            "identify",
            "override",
            "reboot",
            "sensor",
            "settings",
            "trust",
            "update",
        ],
        "boot": {"reason": "power-on", "count": 1},
    }
    assert keepalive["rssi_dbm"] == -61
    assert set(keepalive) >= {"heap_bytes", "uptime_ms", "late_ms"}


@together
async def test_readings_come_with_the_time_of_the_gateway(boards: Boards) -> None:
    found = asyncio.get_running_loop().create_future()

    async def server(peer: Peer) -> None:
        await peer.welcome()
        levels = asyncio.create_task(peer.levels(0))
        try:
            found.set_result(await peer.hear("readings"))
        finally:
            levels.cancel()

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url, sensor={"kind": "dht22", "pin": 13})
        board.world("climate", '{"temperature": 21.5, "humidity": 40.0}')
        board.power_on()
        readings = await asyncio.wait_for(found, 60)
    assert 1_763_670_000_123 < readings["at_ms"] < 1_763_670_020_000
    values = readings["values"]
    assert (values["temperature_c"], values["humidity_percent"]) == (21.5, 40.0)
    assert values["chip_temperature_c"] == 45.0


@together
async def test_a_lamp_that_measures_nothing_sends_keepalives_alone(boards: Boards) -> None:
    said: list[dict[str, object]] = []

    async def server(peer: Peer) -> None:
        await peer.welcome()
        levels = asyncio.create_task(peer.levels(0))
        try:
            while sum("heap_bytes" in one for one in said) < 2:
                said.append(await peer.hear())
        finally:
            levels.cancel()
        await good(peer)

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url)
        board.world("thermometer", "off")
        board.power_on()
        await wait_until(lambda: sum("heap_bytes" in one for one in said) >= 2)
        assert gateway.connections == 1
    assert {one["type"] for one in said} == {"keepalive"}


@together
async def test_a_lamp_answers_pings_and_ignores_what_it_does_not_know(boards: Boards) -> None:
    async def server(peer: Peer) -> None:
        await peer.welcome()
        for text in (
            "",
            "{",
            "[]",
            "7",
            '{"type":"led_control"}',
            '{"type":"level","level":"green"}',
            '{"type":"level"}',
        ):
            await peer.say(text)
        await peer.send(frame(2, b"\x00" * 500) + frame(PING, b"there?"))
        while await peer.frame() != (PONG, b"there?"):
            pass
        await peer.levels(100)

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await board.line("@pwm 4 65535")
        assert gateway.connections == 1


# What becomes of a lamp when all is not well


async def drop(peer: Peer) -> None:
    await peer.welcome()
    await asyncio.sleep(0.2)


async def cut_in_a_frame(peer: Peer) -> None:
    await peer.welcome()
    await peer.send(frame(TEXT, b"x" * 100)[:50])
    await asyncio.sleep(0.1)


async def hang_up(_peer: Peer) -> None:
    pass


async def nonsense(peer: Peer) -> None:
    await peer.welcome()
    await peer.send(bytes(range(255, -1, -1)) * 8)
    await peer.gone()


async def web_server(peer: Peer) -> None:
    await peer.upgrade(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n")


async def mail_server(peer: Peer) -> None:
    await peer.send(b"220 mail ESMTP\r\n\r\n")
    await peer.gone()


async def too_much(peer: Peer) -> None:
    await peer.welcome()
    await peer.send(frame(TEXT, b"x" * 70_000))
    await peer.gone()


async def restart(peer: Peer) -> None:
    await peer.welcome()
    await peer.send(frame(CLOSE, b"\x03\xf4" + restart_reason(300).encode()))
    await peer.gone()


async def busy(peer: Peer) -> None:
    await peer.upgrade(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n")


async def unwelcoming(peer: Peer) -> None:
    await peer.upgrade()
    await peer.gone()


async def frozen(peer: Peer) -> None:
    await peer.welcome()
    await asyncio.sleep(60)


async def deaf(peer: Peer) -> None:
    """Ask again and again whether the lamp is there, and never listen."""
    await peer.welcome()
    peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
    while True:
        await peer.send(frame(PING, b"?" * 125) * 100)


async def silent(_peer: Peer) -> None:
    await asyncio.sleep(60)


async def dripping(peer: Peer) -> None:
    for byte in b"HTTP/1.1 101 Switching Protocols\r\n":
        await peer.send(bytes([byte]))
        await asyncio.sleep(1)


BAD = {
    drop: "the connection broke",
    cut_in_a_frame: "the connection broke",
    hang_up: r"hangs up at once|cannot be reached \(\[Errno 104\] ECONNRESET\)",
    nonsense: "the gateway is none: it sends a frame that is not allowed",
    web_server: "answers HTTP 404",
    mail_server: "it does not speak HTTP",
    too_much: "the gateway is none: it sends a message of more than 4096 bytes",
    restart: r"the gateway closed the connection \(1012: restarting; retry_after_ms=300\)",
    busy: "answers HTTP 503",
}


@together
async def test_a_lamp_lets_go_of_a_bad_gateway_and_comes_back(boards: Boards) -> None:
    async def one(bad: Bad, says: str) -> None:
        async with serving(first(bad)) as gateway:
            board = boards(gateway=gateway.url)
            board.power_on()
            await board.line(f"link: .*{says}")
            await board.line("link: connected as porch", board.at)
            await green(board)
            assert board.starts == 1

    await asyncio.gather(*(one(bad, says) for bad, says in BAD.items()))


@together
async def test_a_gateway_that_falls_silent_is_given_up(boards: Boards) -> None:
    async def one(bad: Bad, says: str, *words: str, secure: bool = False) -> None:
        # A TLS server that never answers the handshake is one that does not speak TLS.
        async with serving(first(bad)) as gateway:
            board = boards(gateway=gateway.url.replace("ws:", "wss:") if secure else gateway.url)
            (board.folder / "ca.der").write_bytes(boards.ca.der)
            board.power_on()
            for word in words:
                await board.line(f"light: {word}")
            await board.line(f"link: {says}")
            if not secure:
                await board.line("link: connected as porch", board.at)
                await green(board)
            await board.line("@watchdog 20000")
            await board.line("@fed")
            assert board.starts == 1

    await asyncio.gather(
        one(frozen, "the gateway said nothing for 5 s", "level", "stale"),
        one(unwelcoming, "the gateway said nothing for 5 s", "no gateway"),
        one(deaf, "the gateway takes nothing|the gateway said nothing for 5 s", "stale"),
        one(silent, "the gateway takes more than 10 s", "no gateway"),
        one(dripping, "the gateway takes more than 10 s", "no gateway"),
        one(silent, "the gateway takes more than 10 s", "no gateway", secure=True),
    )


@together
async def test_a_refused_lamp_says_so_and_does_not_come_back_soon_unless_it_was_only_not_understood(
    boards: Boards,
) -> None:
    async def one(code: int, reason: str, says: str, *, again: bool = False) -> None:
        async def refuse(peer: Peer) -> None:
            await peer.upgrade()
            await peer.hear("hello")
            await peer.send(frame(CLOSE, code.to_bytes(2, "big") + reason.encode()))
            await peer.gone()

        async with serving(refuse) as gateway:
            board = boards(gateway=gateway.url)
            board.power_on()
            found = await board.line("link: (.*)")
            assert found[1] == says
            if again:
                await wait_until(lambda: gateway.connections > 1)
                return
            await asyncio.sleep(1.5)
            assert gateway.connections == 1

    await asyncio.gather(
        one(4001, "not a token of porch", "the gateway does not accept the token (4001: not a token of porch)"),
        one(4004, "", "the lamp is not registered (4004)"),
        one(4003, "no", "the gateway does not speak this protocol (4003: no)", again=True),
        one(4002, "newer", "the gateway closed the connection (4002: newer)"),
    )


@together
async def test_a_lamp_waits_for_a_gateway_that_is_not_there_yet(boards: Boards) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    board = boards(gateway=f"ws://127.0.0.1:{port}")
    board.power_on()
    await board.line("light: no gateway")
    await board.line(r"link: 127.0.0.1:\d+ cannot be reached \(\[Errno 111\] ECONNREFUSED\)")
    async with serving(good, port=port):
        await green(board)


@together
async def test_a_lamp_that_trusts_another_fleet_stays_away_and_shows_it(boards: Boards) -> None:
    async with serving(good, boards.tls()) as gateway:
        board, stranger = boards(gateway=gateway.url), boards(gateway=gateway.url)
        (board.folder / "ca.der").write_bytes(boards.ca.der)
        (stranger.folder / "ca.der").write_bytes(authority("other").der)
        board.power_on()
        stranger.power_on()
        await stranger.line("link: .* is not trusted .*not correctly signed by the trusted CA")
        await green(board)
        await stranger.line("light: no gateway")


# Names


class Dns(asyncio.DatagramProtocol):
    """Answers every question with the same address, or not at all."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answers = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(data)
        if self.answers:
            record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01"
            self.transport.sendto(data[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + data[12:] + record, addr)


@together
async def test_a_gateway_is_found_by_name_and_its_last_address_is_good_enough(boards: Boards) -> None:
    loop = asyncio.get_running_loop()
    transport, dns = await loop.create_datagram_endpoint(Dns, ("127.0.0.1", 0))
    server = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    visits = 0

    async def visit(peer: Peer) -> None:
        nonlocal visits
        visits += 1
        await (drop if visits == 1 else good)(peer)

    try:
        async with serving(visit) as gateway:
            board = boards(gateway=gateway.url.replace("127.0.0.1", "gateway.example"))
            board.world("dns", server)
            dns.answers = False
            board.power_on()
            await board.line(r"link: gateway.example:\d+ cannot be reached \(nobody answered who gateway.example is\)")
            await board.line("light: no gateway")
            dns.answers = True
            await board.line("link: connected as porch")
            dns.answers = False
            await board.line("link: the connection broke")
            await board.line("link: connected as porch", board.at)
            await green(board)
    finally:
        transport.close()
    assert b"\x07gateway\x07example\x00" in dns.asked[0]


# Wi-Fi


@together
async def test_a_lamp_without_settings_says_so(boards: Boards) -> None:
    board = boards()
    board.power_on()
    await board.line("light: no settings")
    await board.line("@hostname lamp-3720")


@together
async def test_a_lamp_whose_wifi_goes_shows_it_and_comes_back(boards: Boards) -> None:
    async with serving(good) as gateway:
        board = boards(gateway=gateway.url)
        board.world("wifi", "off")
        board.power_on()
        await board.line("light: no Wi-Fi")
        board.world("wifi", "on")
        await green(board)
        since = board.said
        board.world("wifi", "off")
        await board.line("wifi: lost", since)
        board.world("wifi", "on")
        await board.line("wifi: joined as 192.168.1.23", since)
        assert board.starts == 1
        told = [line for line in board.lines if line.startswith("@wifi")]
        assert told[0].startswith("@wifi active")
        assert told[1].startswith("@wifi config pm=0"), "modem sleep would be shown as latency"
        assert len([line for line in told if "connect home home-secret" in line]) == 1


@together
async def test_a_wrong_password_is_told_and_the_next_network_tried(boards: Boards) -> None:
    board = boards(
        gateway="ws://127.0.0.1:9",
        networks=[{"ssid": "attic", "password": "attic-secret"}, {"ssid": "home", "password": "home-secret"}],
    )
    board.world("wifi", "wrong password")
    board.power_on()
    await board.line("wifi: attic: the password is wrong", timeout_s=60)
    board.world("wifi", "on")
    since = board.said
    await board.line("@wifi connect home home-secret", since)
    await board.line("wifi: joined", since)
