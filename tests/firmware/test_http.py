"""A lamp's own HTTP server: what it shows, what it can be told, and by whom."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.conftest import wait_until
from tests.firmware.pages import Pages
from tests.firmware.together import Boards, together

SAFE = {"4", "13", "14", "18", "19", "21", "22", "23", "25", "26", "27", "32", "33", *map(str, range(34, 40))}


@asynccontextmanager
async def pages(boards: Boards, token: str = "", **settings: Any) -> AsyncIterator[Pages]:
    """Switch a lamp on that is not registered, or is with a token that the client knows too."""
    board = boards(token=token, **settings)
    board.power_on()
    yield await Pages(board, token).ready()
    assert board.starts == 1, "it crashed"


# Looking


@together
async def test_the_root_tells_what_boards_of_espnet_tell_and_what_it_is(boards: Boards) -> None:
    async with pages(boards) as lamp:
        lamp.board.world("pins", '{"34": 4095}')
        answer = await lamp.get("/")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        told = answer.json
        gpio = told.pop("gpio")
        assert told == {
            "f": 113.0,
            "id": "3c71bff93720",
            "name": "lamp-3720",
            "chip": "ESP32",
            "firmware": "0.1.0",
            "kind": "lamp",
            "provision": True,
        }
        assert set(gpio) == SAFE
        assert gpio["34"] == 1
        assert set(gpio.values()) == {0, 1}
        # Looking makes no pin an input or an output.
        assert not [line for line in lamp.board.lines if line.startswith("@mode")]


@together
async def test_the_state_tells_what_is_shown_and_why(boards: Boards) -> None:
    async with pages(boards, token="secret", gateway="ws://127.0.0.1:9") as lamp:
        await lamp.board.line("light: no gateway")
        state = (await lamp.get("/state")).json
        assert (state["look"], state["link"]) == ("no gateway", "no gateway")
        assert (state["level"], state["state"]) == (None, None)
        assert state["why"].startswith("127.0.0.1:9 cannot be reached")
        assert state["registered"] is True
        assert state["boot"] == {"reason": "power-on", "count": 1}
        assert state["rssi_dbm"] == -61
        assert [line for line in state["log"] if line.endswith("wifi: joined as 192.168.1.23")]
        assert set(state["channels"]) == {"green", "orange", "red"}
        assert len(state["rgb"]) == 3
        assert "secret" not in json.dumps(state)


@together
async def test_the_page_is_one_file_that_needs_nothing_else(boards: Boards) -> None:
    async with pages(boards) as lamp:
        answer = await lamp.get("/ui?from=a&link")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-encoding"] == "gzip"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        page = gzip.decompress(answer.body).decode()
        assert page.startswith("<!doctype html>")
        assert page.rstrip().endswith("</html>")
        for outside in ("http:", "https:", "src=", "@import", "url("):
            assert outside not in page
        # Else browsers ask for /favicon.ico, which a lamp has no room for.
        assert '<link rel="icon" href="data:,">' in page
        assert "img-src data:" in answer.headers["content-security-policy"]


@together
async def test_a_head_has_no_body(boards: Boards) -> None:
    async with pages(boards) as lamp:
        answer = await lamp.ask("HEAD", "/ui")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 1_000


# Telling


@together
async def test_pins_are_switched_turned_round_and_only_safe_ones(boards: Boards) -> None:
    async with pages(boards) as lamp:
        board = lamp.board
        assert await lamp.done("/gpio", pin=25, value=1) == {"status": "OK", "gpio": {"25": 1}}
        await board.line("@pin 25 1")
        answer = await lamp.form("/gpio", pin="25,26", value="2")
        assert answer.json == {"id": "3c71bff93720", "status": "OK", "gpio": {"25": 0, "26": 1}}
        assert await lamp.done("/gpio", pin=["25", 26], value=0) == {"status": "OK", "gpio": {"25": 0, "26": 0}}
        before = board.said
        assert await lamp.refused("/gpio", pin=[25, 6], value=1) == "pin 6 of this ESP32 cannot be switched"
        assert await lamp.refused("/gpio", pin=18, value=1) == "pin 18 of this ESP32 cannot be switched"
        assert await lamp.refused("/gpio", pin=34, value=0) == "pin 34 of this ESP32 cannot be switched"
        assert await lamp.refused("/gpio", pin=25, value=3) == "value must be a whole number from 0 to 2"
        assert await lamp.refused("/gpio", pin=25, value=True) == "value must be a whole number from 0 to 2"
        assert await lamp.refused("/gpio", pin=25) == "value must be 0, 1, or 2 to turn round"
        assert await lamp.refused("/gpio", pin=[], value=1) == "pin must be a pin or several"
        assert await lamp.refused("/gpio", pin={"25": 1}, value=1) == "pin must be a whole number from 0 to 48"
        assert (await lamp.form("/gpio", pin="25,", value="1")).error == "pin must be a whole number from 0 to 48"
        assert not [line for line in board.lines[before:] if line.startswith("@pin ")]


@together
async def test_voltages_are_measured_at_one_pin_or_several(boards: Boards) -> None:
    async with pages(boards) as lamp:
        lamp.board.world("pins", '{"34": 1000, "35": 2000}')
        told = await lamp.done("/adc", read_pin=34, power_pin=26, samples=5)
        assert (told["data"], told["millivolts"]) == ([1000], [800])
        assert told["ticks"] > 5_000
        await lamp.board.line("@pin 26 1")
        await lamp.board.line("@pin 26 0")
        answer = await lamp.form("/adc", read_pin="34,35", power_pin="", samples="1")
        assert answer.json["data"] == [1000, 2000]
        assert await lamp.refused("/adc", read_pin=25) == "pin 25 of this ESP32 measures no voltages"
        assert await lamp.refused("/adc") == "pin must be a whole number from 0 to 48"
        assert await lamp.refused("/adc", read_pin=34, samples=101) == "samples must be a whole number from 1 to 100"


@together
async def test_a_sensor_is_asked(boards: Boards) -> None:
    async with pages(boards) as lamp:
        assert await lamp.refused("/dht22", read_pin=13) == "no dht22 answers at pin 13"
        lamp.board.world("climate", '{"temperature": 21.5, "humidity": 40.2}')
        assert await lamp.done("/dht22", read_pin=13) == {"temp": 21.5, "humidity": 40.2}


@together
async def test_a_tried_level_is_shown_for_a_while_only(boards: Boards) -> None:
    async with pages(boards) as lamp:
        await lamp.board.line("light: no settings")
        assert (await lamp.done("/level", level=0, for_ms=60_000)) == {"level": 0, "for_ms": 60_000}
        await lamp.board.line("light: override")
        state = (await lamp.get("/state")).json
        assert (state["look"], state["level"]) == ("override", 0)
        await wait_until(lambda: lamp.board.light()[0] > 60_000)
        await wait_until(lambda: max(lamp.board.light()[1:]) < 1_000)
        assert (await lamp.done("/level", level=100, for_ms=2_000)) == {"level": 100, "for_ms": 2_000}
        await lamp.board.line("light: no settings", lamp.board.at)
        assert (await lamp.done("/level", level=100))["for_ms"] == 10_000
        await lamp.board.line("light: override", lamp.board.at)
        assert await lamp.done("/level", off=True) == {"off": True}
        await lamp.board.line("light: no settings", lamp.board.at)
        most = "for_ms must be a whole number from 100 to 60000"
        assert await lamp.refused("/level", level=0, for_ms=60_001) == most
        assert await lamp.refused("/level", level=101) == "level must be a whole number from 0 to 100"


@together
async def test_a_lamp_that_is_looked_for_blinks(boards: Boards) -> None:
    async with pages(boards) as lamp:
        await lamp.board.line("light: no settings")
        assert await lamp.done("/identify", for_ms=400) == {"for_ms": 400}
        await lamp.board.line("light: identify")
        await lamp.board.line("light: no settings", lamp.board.at)
        assert await lamp.refused("/identify", for_ms="soon") == "for_ms must be a whole number from 100 to 3600000"


@together
async def test_settings_are_shown_and_changed_without_their_secrets(boards: Boards) -> None:
    async with pages(boards, token="the-token") as lamp:
        shown = await lamp.get("/settings")
        assert shown.json["token"] is True
        assert shown.json["networks"] == [{"ssid": "home", "password": True}]
        assert "the-token" not in shown.body.decode()
        assert "home-secret" not in shown.body.decode()
        networks = [{"ssid": "new", "password": "new-secret"}, {"ssid": "home", "password": True}]
        told = await lamp.done("/settings", networks=networks, brightness=40)
        assert (told["restart"], told["brightness"]) == (True, 40)
        answer = await lamp.form("/settings", inverted="true", pins="[21, 22, 23]", name="porch")
        assert (answer.status, answer.json["pins"], answer.json["name"]) == (200, [21, 22, 23], "porch")
        assert await lamp.refused("/settings", wrong=1) == "there is no setting wrong"
        assert await lamp.refused("/settings", brightness=0) == "brightness must be a whole number from 1 to 100"
        assert await lamp.refused("/settings", brightness="a") == "brightness must be JSON"
        stored = json.loads((lamp.board.folder / "settings.json").read_text())
        assert (stored["brightness"], stored["inverted"], stored["name"]) == (40, True, "porch")
        secrets = json.loads((lamp.board.folder / "nvs").read_text())
        kept = json.loads(bytes.fromhex(secrets[f"secrets{stored['vault']}"]))
        assert kept == {"token": "the-token", "wifi": {"new": "new-secret", "home": "home-secret"}}
        # What the lamp shows by itself does not tell them either.
        state = await lamp.get("/state")
        assert "secret" not in state.body.decode()
        assert "the-token" not in state.body.decode()


@together
async def test_it_starts_again_when_told_to_and_answers_first(boards: Boards) -> None:
    async with pages(boards) as lamp:
        assert await lamp.done("/reboot") == {"status": "OK"}
        await lamp.board.line("@reset")
        await lamp.ready()
        assert (await lamp.get("/state")).json["boot"] == {"reason": "reboot", "count": 2}
        lamp.board.starts = 1


@together
async def test_a_lamp_with_a_fixed_address_asks_no_router_for_one(boards: Boards) -> None:
    async with pages(boards, address="192.168.1.200/24 192.168.1.1") as lamp:
        await lamp.board.line("@wifi ifconfig 192.168.1.200 255.255.255.0 192.168.1.1 192.168.1.1")
        await lamp.board.line("wifi: joined as 192.168.1.200", lamp.board.at)


# Who may


@together
async def test_a_registered_lamp_wants_its_token_for_every_change(boards: Boards) -> None:
    async with pages(boards, token="the-token") as lamp:
        for token in ("", "the-toke", "the-token2", "The-token"):
            lamp.token = token
            for path in ("/gpio", "/adc", "/dht22", "/level", "/identify", "/settings", "/set_host", "/reboot"):
                answer = await lamp.post(path, pin=25, value=1, level=50, ip="127.0.0.1", read_pin=34)
                assert answer.status == 401
                assert answer.error.startswith("this lamp is registered and wants its token")
        for path in ("/", "/ui", "/state", "/settings"):
            assert (await lamp.get(path)).status == 200
        assert not [line for line in lamp.board.lines if line.startswith("@pin ")]
        lamp.token = "the-token"
        await lamp.done("/gpio", pin=25, value=1)


@together
async def test_a_token_is_handed_over_once(boards: Boards) -> None:
    async with pages(boards) as lamp:
        assert await lamp.refused("/provision") == "token must be a text of at most 128 characters"
        assert await lamp.refused("/provision", token="") == "token is missing"
        wrong = await lamp.refused("/provision", token="good", gateway_url="ftp://x")
        assert wrong == "gateway must be ws://HOST:PORT or wss://HOST:PORT"
        assert (await lamp.get("/")).json["provision"] is True
        assert await lamp.done("/provision", token="good", gateway_url="ws://127.0.0.1:9") == {"status": "OK"}
        await lamp.board.line("link: 127.0.0.1:9 cannot be reached")
        assert (await lamp.get("/")).json["provision"] is False
        again = await lamp.post("/provision", token="another")
        assert (again.status, again.error[:28]) == (409, "this lamp has a token alread")
        assert (await lamp.post("/provision", token="good")).status == 200
        assert (await lamp.post("/set_host", ip="127.0.0.2")).status == 401
        lamp.token = "good"
        await lamp.done("/set_host", ip="127.0.0.2")
        assert (await lamp.get("/settings")).json["gateway"] == "ws://127.0.0.2:5678"
        await lamp.done("/set_host", ip="127.0.0.2:99")
        assert (await lamp.get("/settings")).json["gateway"] == "ws://127.0.0.2:99"
        assert await lamp.refused("/set_host", ip="a b") == "gateway must be ws://HOST:PORT or wss://HOST:PORT"


@together
async def test_no_page_from_elsewhere_can_drive_a_lamp(boards: Boards) -> None:
    async with pages(boards) as lamp:
        body = b'{"pin": 25, "value": 1}'
        kind = "application/json"
        for origin in ("http://evil.example", "null", "https://" + lamp.host, "http://127.0.0.1", ""):
            sent = {"Origin": origin} if origin else {"Host": "evil.example"}
            answer = await lamp.ask("POST", "/gpio", body, Content_Type=kind, **sent)
            assert answer.status in (400, 403)
            assert answer.error
        strangers = "evil.example 127.0.0.1.evil.example lamp-3720.evil.example 127.0.0.1:a [::1] 1.2.3 1.2.3.256"
        for host in strangers.split():
            answer = await lamp.get("/settings", Host=host)
            assert answer.status == 400
            assert answer.error == "the header host must be the lamp's address or lamp-3720.local"
        for host in ("lamp-3720.local", "LAMP-3720:80", "localhost", "192.168.1.23:8080"):
            assert (await lamp.get("/settings", Host=host)).status == 200
        assert (await lamp.ask("POST", "/gpio", body, Content_Type="text/plain")).status == 415
        preflight = await lamp.ask("OPTIONS", "/gpio", Origin="http://evil.example")
        assert preflight.status == 405
        assert not [name for name in preflight.headers if name.startswith("access-control")]
        own = await lamp.ask("POST", "/provision", b'{"token": "x"}', Content_Type=kind, Origin="http://" + lamp.host)
        assert own.status == 403
        assert not [line for line in lamp.board.lines if line.startswith("@pin ")]
        assert (await lamp.ask("POST", "/gpio", body, Content_Type=kind, Origin="http://" + lamp.host)).status == 200


# What cannot be read


@together
async def test_every_bad_request_gets_a_status_and_a_sentence(boards: Boards) -> None:
    async with pages(boards) as lamp:
        host = f"Host: {lamp.host}\r\n".encode()
        get, post = b"GET / HTTP/1.1\r\n" + host, b"POST /level HTTP/1.1\r\n" + host
        json_ = b"Content-Type: application/json\r\n"
        form = b"Content-Type: application/x-www-form-urlencoded\r\n"

        def sized(body: bytes) -> bytes:
            return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

        for status, sentence, data in (
            (400, "this is not HTTP", b"\x16\x03\x01\x02\x00\x01\x00"),
            (400, "this is not HTTP", b"\r\n\r\n"),
            (400, "the first line is not METHOD PATH", b"GET /\r\n\r\n"),
            (400, "the first line is not METHOD PATH", b"GET  / HTTP/1.1\r\n\r\n"),
            (400, "the first line is not METHOD PATH", b"GET / HTPP/1.1\r\n\r\n"),
            (400, "the path must begin with /", b"GET http://a/ HTTP/1.1\r\n" + host + b"\r\n"),
            (400, "the head of the request is not ASCII", b"GET /\xff HTTP/1.1\r\n" + host + b"\r\n"),
            (505, "this server speaks HTTP/1.0 and", b"GET / HTTP/2.0\r\n" + host + b"\r\n"),
            (400, "the header host is missing", b"GET / HTTP/1.1\r\n\r\n"),
            (400, "the header host stands twice", get + host + b"\r\n"),
            (400, "a header is not NAME: VALUE", get + b"Nothing\r\n\r\n"),
            (400, "a header is not NAME: VALUE", get + b": nothing\r\n\r\n"),
            (400, "a header is not NAME: VALUE", get + b"Content-Length : 2\r\n\r\n"),
            (400, "a header is not NAME: VALUE", get + b" folded: 2\r\n\r\n"),
            (400, "a header is not NAME: VALUE", get + b"X: y\nContent-Length: 2\r\n\r\n"),
            (431, "the head of a request may have 2048", get + b"X: " + b"y" * 3_000 + b"\r\n\r\n"),
            (431, "the head of a request may have 2048", b"GET /" + b"y" * 10_000),
            (404, "there is nothing here: look at /, /adc", b"GET /nothing HTTP/1.1\r\n" + host + b"\r\n"),
            (404, "there is nothing here", b"GET /../settings HTTP/1.1\r\n" + host + b"\r\n"),
            (405, "/level takes only POST", b"GET /level HTTP/1.1\r\n" + host + b"\r\n"),
            (405, "/settings takes only GET, POST", b"BREW /settings HTTP/1.1\r\n" + host + b"\r\n"),
            (411, "a body must come with its Content-Len", post + json_ + b"\r\n"),
            (411, "a body must come with its", post + json_ + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            (400, "Content-Length is not a number", post + json_ + b"Content-Length: -1\r\n\r\n"),
            (400, "the header content-length stands twice", post + b"Content-Length: 1\r\n" + sized(b"{}")),
            (413, "a body may have 2048 bytes", post + json_ + sized(b"x" * 2_049)),
            (413, "a body may have 2048 bytes", post + json_ + b"Content-Length: 99999999999999999999\r\n\r\n"),
            (415, "the body must be application/json", post + sized(b"{}")),
            (415, "the body must be application/json", post + b"Content-Type: multipart/form-data\r\n" + sized(b"{}")),
            (400, "the body is not application/json", post + json_ + sized(b"{")),
            (400, "the body is not application/json", post + json_ + sized(b"")),
            (400, "the body is not application/json", post + json_ + sized(b"\xff\xfe")),
            (400, "the body is not application/json", post + json_ + sized(b"[" * 2_000)),
            (400, "the body is not a JSON object", post + json_ + sized(b"[1]")),
            (400, "the body is not a JSON object", post + json_ + sized(b"{1: 2}")),
            (400, "the body is not application/x-www", post + form + sized(b"level=%zz")),
            (400, "the body is not application/x-www", post + form + sized(b"level=%f")),
            (400, "the body is not application/x-www", post + form + sized(b"level=%ff")),
            (400, "the body is not application/x-www", post + form + sized(b"level")),
            (400, "the body is not application/x-www", post + form + sized(b"&".join([b"a=b"] * 33))),
            (400, "level must be a whole number", post + json_ + sized(b'{"level": 1e999}')),
            (400, "level must be a whole number", post + json_ + sized(b'{"level": ' + b"9" * 2_000 + b"}")),
        ):
            answer = await lamp.raw(data)
            assert answer is not None, data[:80]
            assert (answer.status, answer.error[: len(sentence)]) == (status, sentence), data[:80]
            if status == 405:
                assert answer.headers["allow"] in ("POST", "GET, POST")
        assert (await lamp.post("/level", level=50)).status == 200


@together
async def test_old_http_is_understood_too(boards: Boards) -> None:
    async with pages(boards) as lamp:
        answer = await lamp.raw(b"GET /state HTTP/1.0\r\n\r\n")
        assert answer is not None
        assert answer.status == 200


@together
async def test_a_port_that_is_taken_is_told_once_and_tried_again(boards: Boards) -> None:
    async with pages(boards) as first:
        second = boards(http_port=first.board.port, token="x")
        second.power_on()
        await second.line(rf"http: port {first.board.port} cannot be used \(.*EADDRINUSE\)")
        await second.line("light: no settings")


@together
async def test_without_a_port_there_are_no_pages(boards: Boards) -> None:
    board = boards(http_port=0)
    board.power_on()
    await board.line("light: no settings")
    assert not [file for file in board.files() if file.startswith("socket:")]
