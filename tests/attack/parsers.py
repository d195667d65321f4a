"""Everything that reads what others have written, each as a function of bytes, with examples to begin from.

A parser returns, or raises a ``FleetError``; anything else that leaves it is a defect.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from espfleet.boards import client as boards
from espfleet.boards.client import Board
from espfleet.domain import backups, jobs, messages, minutes, pictures, points, samples, summary
from espfleet.domain.apriltags import check_tag
from espfleet.domain.backups import Backup
from espfleet.domain.devices import split_address
from espfleet.domain.groups import new_group
from espfleet.domain.names import check_device_id, check_name
from espfleet.domain.targets import new_target
from espfleet.errors import FleetError
from espfleet.gateway.dialects.boards import S3Board
from espfleet.gateway.dialects.hub import HubCamera
from espfleet.gateway.dialects.pinglamp import PingLamp
from espfleet.gateway.dialects.v1 import V1
from espfleet.gateway.handshakes import usual_handshake
from espfleet.gateway.settings import GatewaySettings
from espfleet.probes.clocks import Clocks
from espfleet.probes.ledger import Ledger
from espfleet.probes.outcomes import Counters
from espfleet.probes.plain import PlainLink
from espfleet.probes.sockets import IP_RECVERR
from espfleet.probes.wire import Family, Identity, Requests, addresses_of
from espfleet.services.imports import read_pinglamp
from espfleet.settings import names, read_settings
from espfleet.simulator import speech
from espfleet.simulator.swarm import script
from espfleet.store.urls import parse_url
from espfleet.web.listening import https_instead
from tests.gateway.raw import request

Parser = Callable[[bytes], object]
GATEWAY = GatewaySettings(port=0)


def _text(read: Callable[[str], object]) -> Parser:
    # The gateway hands on only what is UTF-8.
    return lambda data: read(data.decode("utf-8", "replace"))


def _settings_file(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ".env").write_bytes(data)
        return read_settings({}, Path(folder))


def _setting(data: bytes) -> object:
    name, _, value = data.decode("utf-8", "replace").partition("=")
    return read_settings({name: value}, Path(os.devnull).parent) if name in names() else None


def _pairs(data: bytes) -> dict[str, str | None]:
    lines = data.decode("utf-8", "replace").splitlines()
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}


def _board(data: bytes) -> object:
    return boards._info("192.0.2.7", boards._object("192.0.2.7", data))


def _asked(ask: Callable[[Board], object]) -> Parser:
    """Return the reader of what a board answers: of odd length as it should, of even length as a refusal."""

    def parse(data: bytes) -> object:
        status = 200 if len(data) % 2 else 400
        with mock.patch.object(boards, "_exchange", return_value=(status, data)):
            return ask(Board(address="192.0.2.7", id="3c71bff93720"))

    return parse


IDENTITY = Identity(Family.V4, 7, 2**63 + 5)
#: What the kernel says with an ICMP error: of ICMP, destination unreachable, host unreachable.
UNREACHABLE = bytes((0, 0, 0, 0, 2, 3, 1, 0)) + bytes(24)


def _pinged(data: bytes) -> object:
    """Take bytes from the network as an answer to a ping, and as what an ICMP error quotes."""
    counters = Counters()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        link = PlainLink(sock, IDENTITY, addresses_of(Family.V4, ["192.0.2.1", "192.0.2.2"]), counters, Clocks())
        link._answers.append((bytes(20) + data, 1, "192.0.2.2"))
        link._errors.append((data, [(socket.IPPROTO_IP, IP_RECVERR, UNREACHABLE)], 0, ("192.0.2.2", 0)))
        link.digest(Ledger(10**9, np.array([10**9, 10**9]), counters))
    return counters


def _echo() -> bytes:
    packets = Requests(2, IDENTITY).packets
    packets["type"] = 0
    return bytes(packets[1].tobytes())


def _hour(data: bytes) -> object:
    # It is the fleet's own; whoever reads it says which device's.
    with contextlib.suppress(ValueError):
        return minutes.unpack(7, data)
    return None


def _json(read: Callable[[dict[str, object]], object]) -> Parser:
    def parse(data: bytes) -> object:
        with contextlib.suppress(ValueError, RecursionError):
            values = json.loads(data)
            if isinstance(values, dict):
                return read(values)
        return None

    return parse


def _both_ways(text: str) -> object:
    """Read protocol 1 by the short way, for objects with nothing around them, and by the way of everything else."""
    try:
        quick: object = messages.parse(text)
    except FleetError as exc:
        quick = exc.__class__, str(exc)
    try:
        plain: object = messages.parse(" " + text)
    except FleetError as exc:
        plain = exc.__class__, str(exc)
    # One byte more may be too much.
    assert quick == plain or len(text.encode()) >= messages.TEXT_BYTES, (quick, plain)
    return quick


BATCH = samples.Batch(np.array([0, 2, 5], np.int32), np.array([1.0, 2.0, np.nan], np.float32), 10**18, 1_000)
HELLO = {
    "type": "hello", "protocol": 1, "id": "3c71bff93720", "token": "t", "firmware": "1", "chip": "esp32c3",
    "capabilities": ["identify"], "boot": {"reason": "power-on", "count": 3}, "resume": 7,
    "update": {"state": "confirmed", "slot": "a"},
}  # fmt: skip
BOARD = {"id": "3c71bff93720", "f": 70.5, "gpio": {"2": 1}, "chip": "esp32", "provision": True}
SUMMARY = summary.HEADER.pack(summary.VERSION, 2, 3, 5) + b"a\nb" + bytes(2 * summary.ROW.size)
BACKUP = Backup(schema=1, made_ms=5, made_by="1.0", tables={"rooms": {"hall": {"name": "hall"}}})


def _written(*many: object) -> tuple[bytes, ...]:
    return tuple(json.dumps(one).encode() for one in many)


SAID = _written(
    HELLO,
    {"type": "keepalive", "shown": 10, "rssi_dbm": -60, "heap_bytes": 1, "uptime_ms": 5, "late_ms": 0},
    {"type": "result", "id": "a", "ok": True, "data": {"pin": 2}},
    {"type": "readings", "values": {"temperature_c": 21.5}, "at_ms": 5},
    {"type": "event", "name": "button", "pressed": True},
    {"type": "watch", "token": "t", "devices": ["a"], "rooms": "*"},
    {"type": "fetch", "release": "a" * 16, "at": 0, "bytes": 1_024},
    {"type": "status", "temperature": 20.5, "led": True},
    {"event": "identify", "data": {"type": "camera", "device": "a", "auth_token": "t"}},
    {"event": "apriltag_data", "data": {"id": 3, "x": 1.5}},
)

#: By name: the parser, and what it should understand.
PARSERS: dict[str, tuple[Parser, tuple[bytes, ...]]] = {
    "protocol 1": (_text(messages.parse), SAID),
    "protocol 1, both ways": (_text(_both_ways), SAID),
    "dialect v1": (_text(V1(GATEWAY).read), SAID),
    "dialect pinglamp": (_text(PingLamp(50).read), SAID),
    "dialect boards": (_text(S3Board(GATEWAY).read), SAID),
    "dialect hub": (_text(HubCamera(GATEWAY).read), SAID),
    "picture": (pictures.check_picture, (b"\xff\xd8\xff\xe0" + bytes(200),)),
    "size of a picture": (pictures.size_of, (b"\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x11\x08\0\x10\0\x20" + bytes(200),)),
    "packed samples": (samples.unpack, (samples.pack(BATCH),)),
    "summary of targets": (summary.parse_summary, (SUMMARY,)),
    "points of metrics": (points.unpack, (points.pack([points.Point("a", 1.0, 5, ("b:c",))]),)),
    "backup": (backups.unpack, (backups.pack(BACKUP),)),
    "answer of a board": (_board, _written(BOARD)),
    "what a gateway says": (_text(speech.understand), _written({"type": "level", "level": 3, "state": "ok", "seq": 5})),
    "file of settings": (_settings_file, (b"WEB_PORT=8000\nLOG_LEVEL='info' # why\n",)),
    "a setting": (_setting, (b"KEEPALIVE_MS=1000", b"REDIS_URL=redis://u:p@h:1/2?x=y")),
    "url of redis": (_text(parse_url), (b"redis+sentinel://a:1,b:2/name/0?sentinel_password=x", b"unix:///a?db=1")),
    "settings of PING_LAMP": (
        lambda data: read_pinglamp(_pairs(data)),
        (b"PING_TARGET_1_HOST=192.0.2.1\nPING_TARGET_1_INTERVAL_S=1\nAVG_ORANGE_THRESHOLD_MS=20",),
    ),
    "what a camera recognised": (_json(check_tag), _written({"tag_id": 5, "yaw": 1.5, "x_cm": 20.0, "name": "a"})),
    "climate that a board measured": (
        _asked(lambda board: board.get_dht22(4)),
        _written({"temp": 21.5, "humidity": 40}, {"error": "no sensor"}),
    ),
    "voltages that a board measured": (
        _asked(lambda board: board.read_adc(34)),
        _written({"data": [1, 2.5], "ticks": 100}, {"data": 5, "id": "3c71bff93720"}),
    ),
    "packet of ICMP": (_pinged, (_echo(), _echo()[:8])),
    "pins of a board": (
        _json(lambda values: boards._pins("192.0.2.7", values.get("gpio"))),
        _written(BOARD, {"gpio": {"99": 2}}),
    ),
    "request for a socket": (usual_handshake, (request(), request(Origin="http://a", Authorization="Bearer x"))),
    "plain words at a door of TLS": (
        lambda data: https_instead(data, 8_000),
        (b"GET / HTTP/1.1\r\nHost: a:1\r\n\r\n",),
    ),
    "an hour of readings": (_hour, (b"\0\0\x04\x01\x02" + b"\0\x01\x07" + bytes(8),)),
    "beginning of a job": (_text(jobs.start_of), (b"06:30", b"23:59:59")),
    "days of a job": (_text(jobs.days_of), (b"mon,wed", b"fri-mon", b"all")),
    "script of a load test": (
        _text(lambda text: script.read(text, 100)),
        (b"at 0s arrive 10 over 5s\nat 20s die 5 # why\nat 30s loop from 20s",),
    ),
    "address of a device": (_text(split_address), (b"192.0.2.7:80", b"[2001:db8::1]:80")),
    "name": (_text(lambda text: check_name(text, "room")), (b"hall-1",)),
    "hardware id": (_text(check_device_id), (b"3C:71:BF:F9:37:20",)),
    "target": (_text(lambda text: new_target(name="a", address=text)), (b"tcp://192.0.2.1:80", b"sim://calm?seed=1")),
    "thresholds of a group": (
        _json(lambda values: new_group("a", [], "lan", values)),
        _written({"latency_orange_ms": 5, "loss_red_percent": 9}),
    ),
}


def survives(name: str, data: bytes) -> None:
    """Let a parser read; what it refuses in one sentence is fine."""
    try:
        PARSERS[name][0](data)
    except FleetError as exc:
        sentence = str(exc)
        # It goes to terminals and logs: nothing that was sent may break out of its line, or fill them.
        assert "\n" not in sentence, sentence
        assert "\x1b" not in sentence, sentence
        assert len(sentence) < 1_000, sentence
