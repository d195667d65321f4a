"""``flash`` and ``provision`` as a user types them, on boards that are a real MicroPython behind a pseudo-terminal."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import io
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from espfleet.cable import lamp_settings, port, program, prompt
from espfleet.cable.lamp_settings import Network, Seen
from espfleet.cli import provision as command
from espfleet.errors import PortError
from tests.cable.conftest import Plug
from tests.cable.plugged import Cable, PluggedBoard
from tests.cli.conftest import Type, Typed
from tests.cli.conftest import home as home
from tests.cli.conftest import type_ as type_
from tests.conftest import wait_until
from tests.firmware.boards import Firmware
from tests.firmware.conftest import firmware as firmware

PASSWORD = "correct horse battery"
GATEWAY = "ws://127.0.0.1:9"
#: Without pages of its own, which would all want the same port.
QUIET = {"http_port": 0}

LampOnCable = Callable[..., PluggedBoard]

_compiled_once = functools.cache(program.compile_program)


@pytest.fixture(autouse=True)
def program_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first command compile the program, and all others take that: it costs 40 processes each time."""
    monkeypatch.setattr(program, "compile_program", _compiled_once)


@pytest.fixture
def lamp(plug: Plug, firmware: Firmware) -> LampOnCable:
    """Return what plugs in boards that have the lamp's program already."""

    def plugged(**settings: object) -> PluggedBoard:
        board = plug()
        # It has started without it, and shows its prompt.
        shutil.copytree(firmware.folder, board.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("fakes"))
        (board.folder / "settings.json").write_text(json.dumps(QUIET | settings))
        return board

    return plugged


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what puts text into the standard input of the next command."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def provision(type_: Type, board: Cable, *more: str) -> Typed:
    return type_("provision", board.port, "--name", "porch", "--gateway", GATEWAY, *more)


def looked(board: Cable) -> Seen:
    end_s = time.monotonic() + 20
    while True:
        try:
            with prompt.open_prompt(board.port) as there:
                return lamp_settings.look(there)
        except PortError:
            # It is starting: its port is gone for a moment.
            assert time.monotonic() < end_s
            time.sleep(0.1)


def stored(board: PluggedBoard) -> str:
    """Return everything that is kept on a board but the chip's own store."""
    return "".join(path.read_text(errors="replace") for path in board.folder.glob("settings.json*"))


def test_a_bare_board_becomes_a_lamp_and_a_second_time_changes_nothing(
    type_: Type, plug: Plug, piped: Callable[[str], None]
) -> None:
    board = plug()
    (board.folder / "settings.json").write_text(json.dumps(QUIET))
    (board.folder / "lamp").mkdir()
    (board.folder / "lamp" / "left_over.py").write_text("")
    type_("room", "hall", "add")
    flashed = type_("flash", board.port).json
    assert flashed["changed"] == len(program.compile_program())
    assert board.files - {"settings.json.bak"} == program.compile_program().keys() | {"settings.json"}
    asyncio.run(wait_until(lambda: board.resets == 1))
    again = type_("flash", board.port)
    assert again.code == 0, again.err
    assert again.json["changed"] == 0
    # Who comes before it has begun interrupts it, as everything else at its prompt.
    asyncio.run(wait_until(lambda: board.resets == 2))
    piped(PASSWORD + "\n")
    done = provision(type_, board, "--room", "hall", "--wifi", "home")
    assert done.code == 0, done.err
    assert done.json["new"]
    assert (done.json["id"], done.json["chip"], done.json["room"]) == ("3c71bff93720", "ESP32", "hall")
    assert type_("ids").json == {"porch": "3c71bff93720"}
    # It starts as a lamp, and finds what it was told.
    asyncio.run(wait_until(lambda: board.resets == 3))
    seen = looked(board)
    assert seen.settings["gateway"] == GATEWAY
    assert seen.settings["name"] == "porch"
    assert seen.knows(Network(ssid="home", password=PASSWORD))
    again = provision(type_, board)
    assert (again.json["new"], again.json["changed"]) == (False, False)
    assert looked(board).settings["token"] == seen.settings["token"]
    # Secrets are in the chip's own store only, and nowhere in what was said.
    said = done.out + done.err + again.out + again.err
    assert PASSWORD not in said + stored(board)
    assert seen.settings["token"] not in said
    assert PASSWORD.encode() in board.heard


def test_a_board_without_the_program_gets_it_first(type_: Type, plug: Plug, tmp_path: Path) -> None:
    board = plug()
    (board.folder / "settings.json").write_text(json.dumps(QUIET))
    (tmp_path / "password").write_text(PASSWORD + "\n")
    done = provision(type_, board, "--wifi", "home", "--wifi-password-file", str(tmp_path / "password"))
    assert done.code == 0, done.err
    assert looked(board).knows(Network(ssid="home", password=PASSWORD))


def test_half_a_program_is_completed_first(type_: Type, lamp: LampOnCable) -> None:
    board = lamp(networks=[{"ssid": "home", "password": PASSWORD}])
    # As a flash leaves it that was interrupted.
    for path in ("main.py", "lamp/settings.mpy", "lamp/ws.mpy"):
        (board.folder / path).unlink()
    done = provision(type_, board)
    assert done.code == 0, done.err
    assert program.compile_program().keys() <= board.files


def test_a_lamp_that_is_known_gets_a_token_when_its_own_is_not_valid(type_: Type, lamp: LampOnCable) -> None:
    type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720")
    board = lamp(networks=[{"ssid": "home", "password": PASSWORD}], token="of another fleet")
    done = provision(type_, board)
    assert done.code == 0, done.err
    assert (done.json["new"], done.json["changed"]) == (False, True)
    assert provision(type_, board).json["changed"] is False


def test_a_new_network_is_tried_first_and_the_old_one_is_kept(
    type_: Type, lamp: LampOnCable, piped: Callable[[str], None]
) -> None:
    board = lamp(networks=[{"ssid": "old", "password": PASSWORD}])
    piped("\n")
    done = provision(type_, board, "--wifi", "cafe", "--output", "rgb", "--pins", "25,26,27", "--inverted")
    assert done.code == 0, done.err
    seen = looked(board).settings
    assert [one["ssid"] for one in seen["networks"]] == ["cafe", "old"]
    assert seen["networks"] == [
        {"ssid": "cafe", "password": ""},
        {"ssid": "old", "password": lamp_settings.checksum(PASSWORD)},
    ]
    assert (seen["output"], seen["pins"], seen["inverted"]) == ("rgb", [25, 26, 27], True)


def test_the_certificate_of_the_fleet_goes_onto_the_lamp(type_: Type, lamp: LampOnCable, home: Path) -> None:
    board = lamp(networks=[{"ssid": "home", "password": PASSWORD}])
    certificate = home / ".espfleet" / "certs" / "ca.der"
    certificate.parent.mkdir(parents=True)
    certificate.write_bytes(bytes(range(256)) * 3)
    done = type_("provision", board.port, "--name", "porch", "--gateway", "wss://127.0.0.1:9")
    assert done.code == 0, done.err
    assert (board.folder / "ca.der").read_bytes() == certificate.read_bytes()


def test_a_lamp_that_could_trust_nobody_over_tls_is_not_told_to(type_: Type, lamp: LampOnCable, home: Path) -> None:
    board = lamp(networks=[{"ssid": "home", "password": PASSWORD}])
    done = type_("provision", board.port, "--name", "porch", "--gateway", "wss://127.0.0.1:9")
    assert done.code == 1
    assert done.err.startswith("espfleet: over wss a lamp trusts only the authority that it was given")
    assert type_("certs", "make", "--names", "127.0.0.1").code == 0
    done = type_("provision", board.port, "--name", "porch", "--gateway", "wss://127.0.0.1:9")
    assert done.code == 0, done.err
    assert (board.folder / "ca.der").read_bytes() == (home / ".espfleet" / "certs" / "ca.der").read_bytes()


def test_a_lamp_refuses_what_its_chip_cannot_do_and_keeps_all_its_settings(type_: Type, lamp: LampOnCable) -> None:
    board = lamp(networks=[{"ssid": "home", "password": PASSWORD}], gateway="ws://127.0.0.1:8")
    before = looked(board)
    done = provision(type_, board, "--pins", "6,7,8")
    assert (done.code, done.err) == (1, "espfleet: the board refuses it: pin 6 of an ESP32 cannot be used\n")
    assert looked(board) == before


def test_a_cable_that_is_pulled_in_the_middle_leaves_the_old_settings_and_a_token_that_works(
    type_: Type, lamp: LampOnCable, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = lamp(networks=[{"ssid": "home", "password": PASSWORD}])
    assert provision(type_, board).code == 0
    before = looked(board)
    monkeypatch.setattr(prompt, "SILENT_S", 4.0)
    # The text of the change has arrived but for its end.
    board.cut_at = b"7777"
    cut = type_("provision", board.port, "--name", "porch", "--gateway", "ws://127.0.0.1:7777")
    assert cut.code == 1
    assert "does not answer any more" in cut.err
    board.power_on()
    assert looked(board) == before
    # The fleet still accepts the token that the lamp has.
    assert provision(type_, board).json["changed"] is False


def test_nothing_is_registered_when_the_name_or_the_room_is_wrong(type_: Type, lamp: LampOnCable) -> None:
    type_("register", "192.0.2.7", "porch", "--id", "0123456789ab")
    board = lamp(networks=[{"ssid": "home", "password": PASSWORD}])
    before = looked(board)
    taken = provision(type_, board)
    assert (taken.code, taken.err) == (
        1,
        "espfleet: another device is already called 'porch'; 'porch-2' is free\n",
    )
    nowhere = provision(type_, board, "--room", "attic")
    assert "no room is called 'attic'" in nowhere.err
    assert looked(board) == before
    assert type_("ids").json == {"porch": "0123456789ab"}


def test_a_lamp_without_a_network_says_so(type_: Type, lamp: LampOnCable) -> None:
    done = provision(type_, lamp())
    assert (done.code, done.err) == (1, "espfleet: this lamp knows no Wi-Fi yet: add --wifi SSID\n")
    assert type_("ids").json == {}


# Ports and boards that do not do their part


def test_a_port_that_cannot_be_used_is_one_sentence(
    type_: Type, cable: Cable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(where: str) -> str:
        done = type_("flash", where)
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
        return done.err

    assert "there is no port '/dev/nothing'" in told("/dev/nothing")
    (tmp_path / "file").write_text("")
    assert "is not a serial port" in told(str(tmp_path / "file"))
    assert "is a folder" in told(str(tmp_path))
    held = os.open(cable.port, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert "is in use by another program" in told(cable.port)
    os.close(held)

    really_open = os.open

    def refused(path: str, *more: int, **options: int) -> int:
        if path == cable.port:
            raise PermissionError(13, "Permission denied")
        return really_open(path, *more, **options)

    os.chmod(cable.port, stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP)  # noqa: PTH101
    with monkeypatch.context() as patched:
        patched.setattr(port.os, "open", refused)
        assert "join its group with 'sudo usermod -aG " in told(cable.port)


def test_a_board_that_does_not_answer_is_one_sentence(
    type_: Type, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt, "SILENT_S", 0.5)
    silent = provision(type_, cable)
    assert (silent.code, len(silent.err.splitlines())) == (1, 1)
    assert f"nothing answers at {cable.port}" in silent.err
    assert type_("ids").json == {}


def test_a_board_without_micropython_is_one_sentence(
    type_: Type, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt, "SILENT_S", 0.5)
    cable.answers = b"invalid header: 0xffffffff\r\n"
    other = provision(type_, cable)
    assert (other.code, len(other.err.splitlines())) == (1, 1)
    assert f"what answers at {cable.port} is not MicroPython" in other.err


def test_a_full_flash_is_one_sentence(type_: Type, plug: Plug) -> None:
    board = plug(flash_bytes=64 * 1024)
    full = type_("flash", board.port)
    assert (full.code, len(full.err.splitlines())) == (1, 1)
    assert "the flash of the board is full" in full.err


# Words


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "the lamp needs a name: add --name NAME"),
        (["--name", "porch"], "no lamp can reach the gateway at 127.0.0.1: set SERVER_HOST in .env"),
        (["--name", "porch", "--gateway", "http://x"], "'http://x' is not the address of a gateway"),
        (["--name", "porch", "--gateway", GATEWAY, "--output", "bulb"], "'bulb' is no output"),
        (["--name", "porch", "--gateway", GATEWAY, "--pins", "a,b"], "a pin must be a number from 0 to 48"),
        (["--name", "porch", "--gateway", GATEWAY, "--wifi", "w" * 33], "cannot be the name of a Wi-Fi"),
        (["--name", "porch", "--gateway", GATEWAY, "--wifi", "home"], "the password of 'home' is missing"),
        (["--name", "porch", "--gateway", GATEWAY, "--wifi-password-file", "x"], "add --wifi SSID"),
        (["--name", "front porch", "--gateway", GATEWAY], "'front porch' cannot be the name of a device"),
    ],
)
def test_words_that_cannot_be_meant_get_one_sentence(
    type_: Type, piped: Callable[[str], None], words: list[str], sentence: str
) -> None:
    piped("")
    done = type_("provision", "/dev/nothing", *words)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert sentence in done.err


def test_a_password_is_typed_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(command.getpass, "getpass", lambda text: asked.append(text) or PASSWORD)
    network = command._network("home", "")
    assert network == Network(ssid="home", password=PASSWORD)
    assert PASSWORD not in repr(network)
    assert len(asked) == 1


def test_a_password_that_no_network_has_is_refused_before_the_board_is_asked(
    type_: Type, piped: Callable[[str], None]
) -> None:
    piped("short\n")
    done = type_("provision", "/dev/nothing", "--name", "porch", "--gateway", GATEWAY, "--wifi", "home")
    assert done.err == "espfleet: a password of a Wi-Fi has 8 to 64 characters, or none at all\n"


def test_a_lamp_is_called_in_its_network_as_in_the_fleet() -> None:
    from espfleet.services.provisioning import host_name

    assert host_name("porch") == "porch"
    assert host_name("Living_room.2") == "Living-room-2"
    assert host_name("x" * 64) == "x" * 32
