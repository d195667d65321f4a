"""What users type: one clear answer each, JSON in pipes, exit codes as documented."""

from __future__ import annotations

import inspect
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from espfleet.cli.alone import AloneTree
from espfleet.cli.boards import RequestCommands
from espfleet.cli.certs import CertsCommands
from espfleet.cli.devices import DeviceCommands
from espfleet.cli.groups import GroupCommands
from espfleet.cli.jobs import JobCommands
from espfleet.cli.rooms import RoomCommands
from espfleet.cli.root import Cli, ImportCommands
from espfleet.cli.simulated_tree import SimulatedTree
from espfleet.cli.targets import TargetCommands
from espfleet.cli.tokens import TokenCommands
from espfleet.cli.tree import StreamTree
from tests.cli.conftest import Type

ROOT = Path(__file__).parents[2]


def test_a_target_a_group_and_a_room_are_made_and_listed(type_: Type) -> None:
    assert type_("target", "router", "add", "127.0.0.1").code == 0
    assert type_("group", "lan", "add", "router", "--preset", "lan").json["preset"] == "lan"
    assert type_("room", "hall", "add", "--group", "lan").json["group"] == "lan"
    assert [row["name"] for row in type_("targets").json] == ["router"]
    assert type_("target", "router").json["groups"] == ["default", "lan"]
    assert {row["name"]: row["state"] for row in type_("levels").json} == {"default": "unknown", "lan": "unknown"}
    assert type_("rooms").json[0]["reason"] == "no leveler is running"


def test_ids_and_names_stay_text_whatever_they_look_like(type_: Type) -> None:
    for device_id, name in (("30e123456789", "12"), ("240000000001", "1e5"), ("0123456789ab", "None")):
        assert type_("register", "192.0.2.7", name, "--id", device_id).json["id"] == device_id
    assert type_("ids").json == {"12": "30e123456789", "1e5": "240000000001", "None": "0123456789ab"}
    assert type_("device", "12").json["name"] == "12"
    assert type_("device", "240000000001").json["name"] == "1e5"


def test_a_token_is_told_once(type_: Type) -> None:
    first = type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720").json
    assert len(first["token"]) > 30
    again = type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720").json
    assert "token" not in again
    assert first["token"] not in type_("device", "porch").out
    assert (
        type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720", "--new_token").json["token"] != first["token"]
    )


def test_a_ping_lamp_client_needs_no_id(type_: Type) -> None:
    first = type_("register", "192.0.2.9", "old", "--dialect", "pinglamp").json
    assert type_("register", "192.0.2.9", "old", "--dialect", "pinglamp").json["id"] == first["id"]


def test_is_online_answers_by_exit_code(type_: Type) -> None:
    type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720")
    answer = type_("is_online", "porch")
    assert (answer.code, answer.json) == (1, False)
    unknown = type_("is_online", "prch")
    assert (unknown.code, unknown.err) == (1, "espfleet: no device is called 'prch'; did you mean 'porch'?\n")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["devics"], 2, "espfleet: there is no command 'devics'; did you mean devices or device"),
        (["target", "router", "add", "256.1.1.1"], 1, "'256.1.1.1' is not an address"),
        (["target", "router", "add", "127.0.0.1", "--interval_ms", "0"], 1, "interval_ms must be a number from 10"),
        (["target", "router", "add", "127.0.0.1", "--interval_ms", "nan"], 1, "interval_ms must be a number from 10"),
        (["target", "x" * 10_000, "add", "127.0.0.1"], 1, "cannot be the name of a target"),
        (["target", "a\x1b[2Jb", "add", "127.0.0.1"], 1, r"'a\x1b[2Jb' cannot be the name of a target"),
        (["register", "localhost", "porch"], 1, "'localhost' is not the address of a device"),
        (["room", "hall", "watch", "lan"], 1, "no room is called 'hall'"),
        (["why", "nothing"], 1, "no device or room or group or target is called 'nothing'"),
        (["run", "probr"], 1, "there is no worker 'probr'; did you mean prober?"),
        (["simulate"], 1, "say how many: './espcli simulate 3' runs three lamps"),
        (["simulate", "0"], 1, "count must be a number from 1 to 1000"),
        (["demo", "explode"], 1, "demo can add or remove"),
        (["import", "env", "/does/not/exist"], 1, "cannot be read: No such file or directory"),
    ],
)
def test_nonsense_gets_one_sentence(type_: Type, words: list[str], code: int, sentence: str) -> None:
    answer = type_(*words)
    assert answer.code == code
    assert sentence in answer.err
    assert len(answer.err.splitlines()) == 1
    assert len(answer.err) < 400
    assert not answer.out


def test_a_missing_argument_is_wrong_usage(type_: Type) -> None:
    assert type_("device").code == 2
    assert type_("target", "router", "add").code == 2


def test_redis_away_is_one_sentence(type_: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{tmp_path}/nowhere.sock")
    answer = type_("devices")
    assert answer.code == 1
    assert len(answer.err.splitlines()) == 1
    assert answer.err.startswith("espfleet: ")


def test_the_demo_comes_and_goes(type_: Type, home: Path) -> None:
    assert type_("demo", "add").code == 0
    assert len(type_("devices").json) == 3
    lamps = home / ".espfleet" / "lamps.json"
    assert lamps.stat().st_mode & 0o777 == 0o600
    # Once more, also while it runs: its lamps stay who and where they are. What cannot be read is made anew.
    tokens = lamps.read_text()
    type_("device", "demo-desk", "move", "demo-kitchen")
    before = type_("device", "demo-desk").json
    assert type_("demo", "add").code == 0
    assert lamps.read_text() == tokens
    assert type_("device", "demo-desk").json == before
    lamps.write_text("[")
    assert type_("demo", "add").code == 0
    assert len(lamps.read_text()) == len(tokens)
    assert type_("demo", "remove").json == {"devices": 3, "rooms": 2, "groups": 2, "targets": 4}
    assert type_("devices").json == []
    assert not (home / ".espfleet" / "lamps.json").exists()


def test_a_ping_lamp_env_is_imported(type_: Type, tmp_path: Path) -> None:
    file = tmp_path / "old.env"
    file.write_text("PING_TARGET_1_HOST=127.0.0.1 # router\nPING_TARGET_1_INTERVAL_S=0.5\nAVG_RED_THRESHOLD_MS=60\n")
    assert type_("import", "env", str(file)).json["targets"][0]["interval_ms"] == 500
    assert type_("group", "pinglamp").json["thresholds"]["latency_red_ms"] == 60


def test_settings_are_listed(type_: Type) -> None:
    listed = {row["name"]: row for row in type_("settings").json}
    assert listed["REDIS_URL"]["source"] == "environment"
    assert listed["SERVER_PORT"]["value"] == "5678"
    assert listed["TLS"]["value"] == "off"


def test_help_lists_everything_without_redis_and_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    times = []
    for _ in range(3):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = subprocess.run(
            [sys.executable, "-P", "-m", "espfleet", "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "REDIS_URL": "redis://127.0.0.1:1/0"},
        )
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
    from espfleet.cli.root import Cli

    commands = [name for name in dir(Cli) if not name.startswith("_")]
    assert len(commands) > 20
    assert all(f"     {name}\n" in told.stdout for name in commands)
    assert not told.stderr
    # Seconds of CPU. It imports neither numpy nor redis: those alone take longer than all of this may.
    assert min(times) < 1.0


@pytest.mark.parametrize(
    ("words", "verbs"),
    [
        (("device",), ("rename", "identify", "requests", "update_firmware")),
        (("device", "porch"), ("rename", "identify", "requests", "update_firmware")),
        (("device", "porch", "requests"), ("set_gpio",)),
        (("room",), ("add", "watch")),
        (("group", "internet"), ("include", "pause")),
        (("target",), ("add", "remove")),
        (("token",), ("kiosk", "rotate")),
        (("certs",), ("make", "renew", "rotate", "show")),
    ],
)
def test_the_help_of_a_noun_lists_its_verbs_without_redis(
    type_: Type, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], verbs: tuple[str, ...]
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    for asked in ("--help", "-h"):
        told = type_(*words, asked)
        assert told.code == 0
        assert not told.err
        assert all(f"     {verb}\n" in told.out for verb in verbs)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("register", "192.0.2.7"), "espfleet: something is missing: name\nUsage: espcli register"),
        (("device",), "espfleet: something is missing: name\nUsage: espcli device NAME"),
        (("room", "hall", "wach"), "espfleet: 'wach' is not understood here\nUsage: espcli room hall"),
        (("capacity", "--lamps"), "espfleet: --lamps needs a value\nUsage: espcli capacity"),
        (("register", "192.0.2.7", "porch", "--room", "--new_token"), "espfleet: --room needs a value\n"),
        (("register", "192.0.2.7", "porch", "-r"), "espfleet: --room needs a value\n"),
        (("register", "192.0.2.7", "porch", "--noroom"), "espfleet: --room needs a value\n"),
        (("events", "5", "6"), "espfleet: --each takes no value such as '6'\nUsage: espcli events"),
        (("up", "extra"), "espfleet: --demo takes no value such as 'extra'\n"),
        (("devices", "--trace"), "espfleet: '--trace' is not understood here\n"),
        (("devices", "-", "clear"), "espfleet: '-' is not used here"),
        (("certs",), "espfleet: say what to do: ./espcli certs show, make, renew or rotate\n"),
        (("token", "ann"), "espfleet: say what to do with it: ./espcli token ann add, kiosk, rotate or remove\n"),
    ],
)
def test_wrong_usage_is_a_sentence_and_what_could_be_said(type_: Type, words: tuple[str, ...], sentence: str) -> None:
    told = type_(*words)
    assert told.code == 2
    assert told.err.startswith(sentence)


@pytest.mark.parametrize(
    ("rest", "code"), [(["more"], 2), (["--force"], 2), (["--help"], 0), (["-", "upper"], 2), (["--", "--trace"], 2)]
)
def test_nothing_is_done_until_all_that_was_typed_is_understood(type_: Type, rest: list[str], code: int) -> None:
    type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720")
    assert type_("unregister", "porch", *rest).code == code
    assert type_("ids").json == {"porch": "3c71bff93720"}


@pytest.mark.parametrize(
    "tree",
    [
        *(Cli, AloneTree, SimulatedTree, StreamTree, ImportCommands, DeviceCommands, JobCommands, RequestCommands),
        *(RoomCommands, GroupCommands, TargetCommands, TokenCommands, CertsCommands),
    ],
)
def test_every_command_says_what_it_does_and_what_each_argument_is(tree: type) -> None:
    for name, command in inspect.getmembers(tree, inspect.isfunction):
        if name.startswith("_"):
            continue
        told = inspect.getdoc(command) or ""
        assert re.match(r"[A-Z].*\.", told), f"{tree.__name__}.{name}"
        for argument in inspect.signature(command).parameters:
            described = re.search(rf"^\s+{argument}: .*\S", told, re.MULTILINE)
            assert argument in ("self", "_") or described, f"{tree.__name__}.{name}: {argument}"


def test_the_version_is_told_to_whoever_asks_as_elsewhere(type_: Type) -> None:
    assert type_("--version").json == type_("version").json


def test_ctrl_c_before_a_command_begins_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Impatient:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'espfleet.cli.main':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Impatient())\n"
    )
    told = subprocess.run(
        [sys.executable, "-P", "-m", "espfleet", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
        # Whoever runs the tests in the background of a script ignores it, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (told.returncode, told.stdout, told.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("espfleet.cli.root", {"numpy", "redis", "rich", "websockets", "requests"}),
        ("espfleet.cli.up", {"numpy", "rich", "websockets", "requests"}),
    ],
)
def test_help_and_up_import_nothing_heavy_that_they_do_not_need(module: str, heavy: set[str]) -> None:
    code = f"import sys; import {module}; print(sorted({heavy} & set(sys.modules)))"
    told = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert told.stdout.strip() == "[]"


def test_a_terminal_without_utf_8_is_shown_what_it_knows() -> None:
    terminal, output = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "espfleet", "settings"],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "latin-1"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert b"SERVER_HOST" in os.read(terminal, 65_536)
    finally:
        os.close(terminal)
        os.close(output)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
@pytest.mark.parametrize("words", [["version"], ["settings"], ["--help"]])
def test_what_cannot_be_written_is_one_sentence_and_who_reads_no_further_gets_none(
    words: list[str], tmp_path: Path
) -> None:
    def told(output: IO[str] | int) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "espfleet", *words],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "ESPFLEET_HOME": str(tmp_path)},
        )
        return done.returncode, done.stderr

    with Path("/dev/full").open("w") as full:
        assert told(full) == (1, "espfleet: what it says cannot be written: No space left on device\n")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert told(writer) == (0, "")
    finally:
        os.close(writer)
