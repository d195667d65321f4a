"""Set-up without a cable: a lamp's own access point, its page, and what is tried and kept."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamp import portal_names
from tests.conftest import wait_until
from tests.firmware.boards import HERE, Board, Firmware
from tests.firmware.pages import Pages
from tests.firmware.servers import Peer, serving
from tests.firmware.together import Boards, together
from tests.ports import free_port

HURRY = HERE / "scripts" / "hurry.py"
PATIENCE_S = 60.0
AIR = '{"new": "new-secret", "cafe": "cafe-secret"}'
NEW: dict[str, Any] = {"ssid": "new", "password": "new-secret"}


class SetUp(Pages):
    """A lamp whose own access point is open."""

    async def try_(self, **fields: Any) -> str:
        """Try something, and return the sentence or ``saved``."""
        since = self.board.said
        assert await self.done("/setup", **fields) == {"stage": "joining"}
        # Asked for the stage, a lamp in a hurry might have closed by then.
        ended = (await self.board.line("set-up: (.*)", since, PATIENCE_S))[1]
        return "saved" if ended == f"{fields['ssid']} works" else ended

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = (await self.get("/setup/state")).json
        return state


@asynccontextmanager
async def alone(boards: Boards, speed: int = 20, **settings: Any) -> AsyncIterator[SetUp]:
    """Switch a lamp on that reaches no network, and for whose set-up time passes faster."""
    board = boards(HURRY, **{"networks": [], "token": "", **settings})
    board.world("networks", AIR)
    board.world("speed", str(speed))
    board.power_on()
    await board.line("set-up: join lamp-3720 and open http://192.168.4.1/setup", timeout_s=PATIENCE_S)
    lamp = SetUp(board)
    await lamp.ready()
    yield lamp
    assert board.starts == 1, "it crashed"


def stored(board: Board) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((board.folder / "settings.json").read_text())
    return values


async def good(peer: Peer) -> None:
    await peer.upgrade()
    await peer.gone()


@together
async def test_a_new_lamp_opens_a_network_of_its_own_whose_every_name_leads_to_set_up(boards: Boards) -> None:
    async with alone(boards) as lamp:
        await lamp.board.line("@ap active")
        await lamp.board.line("@ap config .*ssid=lamp-3720")
        await lamp.board.line("light: no settings")
        for host, path in (
            ("captive.apple.com", "/hotspot-detect.html"),
            ("connectivitycheck.gstatic.com", "/generate_204"),
        ):
            answer = await lamp.get(path, Host=host)
            assert (answer.status, answer.headers["location"]) == (302, "http://192.168.4.1/setup")
        page = gzip.decompress((await lamp.get("/setup")).body).decode()
        assert '<link rel="icon" href="data:,">' in page
        assert "Set up this lamp" in page
        assert (await lamp.get("/setup/networks")).json == {"networks": ["cafe", "new"]}
        assert await lamp.state() == {
            "stage": "waiting",
            "why": "",
            "address": "",
            "registered": False,
            "name": "",
            "gateway": "",
            "ssids": [],
            "id": "3c71bff93720",
        }
        assert (await lamp.get("/")).headers["location"] == "/setup"
        assert (await lamp.get("/ui")).status == 200


@together
async def test_what_works_is_kept_and_the_lamp_joins_at_once(boards: Boards) -> None:
    async with serving(good) as gateway, alone(boards) as lamp:
        assert await lamp.try_(**NEW, gateway=gateway.url, name="porch") == "saved"
        assert gateway.connections == 1
        await lamp.board.line("wifi: joined as 192.168.1.23")
        await lamp.board.line("set-up: over", timeout_s=PATIENCE_S)
        await lamp.board.line("@ap inactive")
        values = stored(lamp.board)
        assert (values["networks"], values["gateway"], values["name"]) == ([{"ssid": "new"}], gateway.url, "porch")
        assert "new-secret" not in json.dumps(values)
        answer = await lamp.get("/setup")
        assert (answer.status, answer.error[:26]) == (404, "there is nothing here: loo")


@together
async def test_what_does_not_work_is_not_kept_and_says_why(boards: Boards) -> None:
    async with alone(boards, gateway="ws://127.0.0.1:9") as lamp:
        before = stored(lamp.board)
        assert await lamp.try_(ssid="new", password="wrong-one") == "new: the password is wrong"
        assert await lamp.try_(ssid="gone", password="whatever") == "gone: there is no such access point"
        assert (await lamp.state())["stage"] == "failed"
        nobody = await lamp.try_(**NEW)
        assert nobody.startswith("the Wi-Fi works, but 127.0.0.1:9 cannot be reached")
        assert stored(lamp.board) == before
        assert await lamp.try_(**NEW, anyway=True, token="the-token") == "saved"
        shown = await lamp.get("/settings")
        assert shown.status == 200, shown.body
        assert shown.json["token"] is True
        assert stored(lamp.board)["networks"] == [{"ssid": "new"}]


@together
async def test_what_answers_at_the_address_must_be_a_gateway(boards: Boards) -> None:
    async def web(peer: Peer) -> None:
        await peer.upgrade(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.gone()

    async with serving(web) as server, alone(boards) as lamp:
        assert (await lamp.try_(**NEW, gateway=server.url)).endswith("answers HTTP 200")
        no_ca = await lamp.try_(**NEW, gateway=server.url.replace("ws:", "wss:"))
        assert no_ca == "the Wi-Fi works, but there is no certificate of the fleet to know the gateway by"


@together
async def test_a_wish_that_cannot_be_tried_is_refused(boards: Boards) -> None:
    async with alone(boards) as lamp:
        most = "a network has an ssid, and a password of at least 8 characters or none"
        assert await lamp.refused("/setup") == "ssid must be a text of at most 32 characters"
        assert await lamp.refused("/setup", ssid="") == most
        assert await lamp.refused("/setup", ssid="new", password="short") == most
        assert await lamp.refused("/setup", **NEW, name="a b") == "name may have letters, digits and '-'"
        assert await lamp.refused("/setup", **NEW, gateway="x") == "gateway must be ws://HOST:PORT or wss://HOST:PORT"
        assert (await lamp.ask("PUT", "/setup")).status == 405
        body = json.dumps(NEW).encode()
        foreign = await lamp.ask("POST", "/setup", body, Content_Type="application/json", Origin="http://evil.example")
        assert foreign.status == 403
        named = await lamp.ask("POST", "/setup", body, Content_Type="application/json", Host="captive.apple.com")
        assert named.status == 400
        await lamp.done("/setup", ssid="gone", password="whatever")
        assert (await lamp.post("/setup", **NEW)).status == 409


@together
async def test_a_registered_lamp_wants_its_token_and_keeps_its_old_network_behind_the_new_one(boards: Boards) -> None:
    old = [{"ssid": "home", "password": "home-secret"}]
    async with alone(boards, networks=old, token="the-token") as lamp:
        assert (await lamp.state())["registered"] is True
        assert (await lamp.post("/setup", **NEW)).status == 401
        assert "home-secret" not in (await lamp.get("/setup/state")).body.decode()
        lamp.token = "the-token"
        assert await lamp.try_(**NEW) == "saved"
        assert stored(lamp.board)["networks"] == [{"ssid": "new"}, {"ssid": "home"}]
        await lamp.board.line("wifi: joined")


@together
async def test_while_nobody_sets_it_up_a_lamp_goes_on_looking_for_its_network(boards: Boards) -> None:
    known = [{"ssid": "home", "password": "home-secret"}]
    async with alone(boards, networks=known, gateway="ws://127.0.0.1:9", token="the-token") as lamp:
        board = lamp.board
        await board.line("@wifi connect home", board.at, timeout_s=PATIENCE_S)
        board.world("guests", "1")
        # A phone is here: the radio stays on its channel, and the light says what is going on.
        await board.line("light: no settings", board.at)
        before = board.said
        await asyncio.sleep(1.5)
        assert not [line for line in board.lines[before:] if line.startswith("@wifi connect")]
        board.world("guests", "0")
        board.world("networks", '{"home": "home-secret"}')
        await board.line("wifi: joined", timeout_s=PATIENCE_S)
        await board.line("set-up: over", timeout_s=PATIENCE_S)


@together
async def test_it_closes_after_five_minutes_unless_somebody_uses_it(boards: Boards) -> None:
    async with alone(boards, speed=30) as lamp:
        # Twelve seconds here are six minutes there.
        for _ in range(6):
            await asyncio.sleep(2)
            assert (await lamp.state())["stage"] == "waiting"
        await lamp.board.line("set-up: over", timeout_s=60)
        await lamp.board.line("@ap inactive")
        assert (await lamp.get("/setup")).status == 404
        assert (await lamp.get("/state")).status == 200


@together
async def test_a_phone_that_was_forgotten_does_not_keep_it_open_for_ever(boards: Boards) -> None:
    async with alone(boards, speed=120) as lamp:
        lamp.board.world("guests", "1")

        async def over() -> bool:
            return (await lamp.get("/setup")).status == 404

        # 7.5 s here are fifteen minutes there.
        await wait_until(over, 60)


@together
async def test_a_network_that_is_lost_later_opens_nothing(boards: Boards) -> None:
    """Else whoever can disturb a Wi-Fi could have the lamp's pages."""
    board = boards(HURRY, token="")
    board.power_on()
    await board.line("wifi: joined")
    board.world("wifi", "off")
    await board.line("wifi: lost")
    await board.line("wifi: home: there is no such access point", timeout_s=PATIENCE_S)
    assert not [line for line in board.lines if "@ap" in line or "set-up" in line]


@together
async def test_ctrl_c_closes_the_access_point_too(boards: Boards) -> None:
    async with alone(boards) as lamp:
        lamp.board.interrupt()
        await lamp.board.line("@ap inactive")
        await lamp.board.line("The lamp is off")
        await wait_until(lambda: lamp.board.exit_code == 0)


# Names


def question(name: str, kind: int = 1, number: int = 7, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def test_every_name_leads_to_the_lamp() -> None:
    asked = question("connectivitycheck.gstatic.com")
    answer = portal_names.answer(asked, bytes([192, 168, 4, 1]))
    assert answer is not None
    assert struct.unpack("!6H", answer[:12]) == (7, 0x8580, 1, 1, 0, 0)
    assert answer[12 : len(asked)] == asked[12:]
    assert answer[len(asked) :] == b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\xc0\xa8\x04\x01"


def test_what_is_no_address_is_answered_with_nothing() -> None:
    asked = question("captive.apple.com", kind=28)
    answer = portal_names.answer(asked, bytes(4))
    assert answer is not None
    assert answer[6:8] == b"\0\0"
    assert answer[12:] == asked[12:]


@pytest.mark.parametrize(
    "query",
    [
        b"",
        question("a")[:16],
        question("a", flags=0x8180),
        question("a", flags=0x2800),
        question("a.b")[:-1],
        question("a")[:5] + b"\x02" + question("a")[6:],
        question("a")[:12] + b"\xc0\x0c\0\x01\0\x01",
    ],
)
def test_what_is_no_question_gets_no_answer(query: bytes) -> None:
    assert portal_names.answer(query, bytes(4)) is None


@given(st.binary(max_size=64))
def test_no_message_breaks_it(data: bytes) -> None:
    answer = portal_names.answer(data, bytes(4))
    assert answer is None or answer[:2] == data[:2]


async def test_names_are_answered_on_the_wire(firmware: Firmware, tmp_path: Path) -> None:
    port = free_port()
    running = asyncio.create_task(firmware.run("names.py", "127.0.0.1", port, folder=tmp_path))
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", port))

        async def answered() -> bool:
            try:
                client.send(question("any.name"))
                return (await asyncio.wait_for(loop.sock_recv(client, 512), 0.1))[-4:] == bytes([127, 0, 0, 1])
            except (ConnectionError, TimeoutError):
                return False

        await wait_until(answered, PATIENCE_S)
    assert "@ready" in await running
