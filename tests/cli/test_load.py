"""``simulate --lamps``: what it tells, what it leaves behind, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from espfleet.cli import simulated_swarm
from espfleet.cli.swarm_children import Children
from espfleet.domain.registry import Registry
from espfleet.gateway.server import OTHER_FILES, TOLD_LEAST
from espfleet.store import registry
from espfleet.store.client import open_store
from tests.cli.conftest import Type
from tests.conftest import wait_until

SCRIPT = "at 0s arrive 5 over 100ms\nat 100ms move 2 to room lab\nat 1200ms end  # enough\n"


@pytest.fixture
def script(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a script, for a fleet whose gateway is not there: nobody listens on its port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SERVER_PORT", str(taken.getsockname()[1]))
    path = home / "storm.txt"
    path.write_text(SCRIPT)
    return path


def stored(url: str) -> Registry:
    async def load() -> Registry:
        async with open_store(url, name="test") as store:
            return await registry.load(store)

    return asyncio.run(load())


def test_a_load_test_tells_each_second_and_leaves_nothing(type_: Type, script: Path, redis_url: str) -> None:
    answer = type_("simulate", "--lamps", "6", "--rooms", "2", "--script", str(script))
    assert (answer.code, answer.err) == (0, "")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    steps = [(row["line"], row["lamps"]) for row in rows if row["kind"] == "step"]
    assert steps == [("at 0s arrive 5 over 100ms", 5), ("at 100ms move 2 to room lab", 2), ("at 1200ms end", 0)]
    [second, *_] = [row for row in rows if row["kind"] == "second"]
    assert (second["connected"], second["glows"]["no gateway"], second["glows"]["dark"]) == (0, 5, 1)
    end = rows[-1]
    assert (end["kind"], end["lamps"], end["all_connected_s"]) == ("end", 6, None)
    assert end["failed"] >= 5
    assert end["endings"]["the gateway cannot be reached (Connection refused)"] == end["failed"]
    left = stored(redis_url)
    assert (left.devices, left.rooms) == ({}, {})


def test_lamps_that_are_kept_stay_where_the_script_put_them(type_: Type, script: Path, redis_url: str) -> None:
    assert type_("simulate", "--lamps", "6", "--rooms", "2", "--script", str(script), "--first=101", "--keep").code == 0
    left = stored(redis_url)
    assert sorted(device.name for device in left.devices.values()) == [f"sim-00{number}" for number in range(101, 107)]
    assert [device.room for device in left.devices.values()].count("lab") == 2
    assert set(left.rooms) == {"sim-room-1", "sim-room-2", "lab"}
    assert type_("demo", "remove").code == 0
    assert (stored(redis_url).devices, stored(redis_url).rooms) == ({}, {})


def test_several_processes_run_a_test_as_one_does(type_: Type, script: Path, redis_url: str) -> None:
    script.write_text("at 0s arrive 5 over 100ms\nat 100ms move 2 to room lab\nat 3s end\n")
    answer = type_("simulate", "--lamps", "6", "--script", str(script), "--processes", "2")
    assert (answer.code, answer.err) == (0, "")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    steps = [(row["line"], row["lamps"]) for row in rows if row["kind"] == "step"]
    assert steps == [("at 0s arrive 5 over 100ms", 5), ("at 100ms move 2 to room lab", 2), ("at 3s end", 0)]
    assert [row["kind"] for row in rows].count("second") >= 2
    end = rows[-1]
    assert (end["lamps"], end["processes"]) == (6, 2)
    assert (end["glows"]["no gateway"], end["glows"]["dark"]) == (5, 1)
    assert end["failed"] >= 5
    assert end["endings"]["the gateway cannot be reached (Connection refused)"] == end["failed"]
    left = stored(redis_url)
    assert (left.devices, left.rooms) == ({}, {})


def test_lamps_that_need_more_files_than_one_process_may_have_run_in_several(
    type_: Type, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_swarm, "processes_for", lambda lamps, spare: 2 if (lamps, spare) == (6, 0) else 1)
    answer = type_("simulate", "--lamps", "6", "--script", str(script))
    assert answer.code == 0
    assert json.loads(answer.out.splitlines()[-1])["processes"] == 2
    assert answer.err == ("espfleet: 6 lamps need more open files than one process may have: 2 processes run them\n")


def test_a_test_ends_with_one_sentence_when_one_of_its_processes_does(
    type_: Type, script: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    script.write_text("at 0s arrive all\nat 1h end\n")
    begin = Children.begin

    async def begin_and_lose_one(others: Children, at_s: float) -> None:
        await begin(others, at_s)
        others._processes[0].kill()

    monkeypatch.setattr(Children, "begin", begin_and_lose_one)
    answer = type_("simulate", "--lamps", "6", "--script", str(script), "--processes", "2")
    assert answer.code == 1
    assert answer.err == "espfleet: a process that runs lamps of this test has ended (signal 9)\n"
    assert stored(redis_url).devices == {}


def test_a_process_that_may_not_run_its_lamps_says_why(
    type_: Type, script: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    limited = partial(
        asyncio.create_subprocess_exec, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    )
    monkeypatch.setattr(asyncio, "create_subprocess_exec", limited)
    answer = type_("simulate", "--lamps", "60", "--processes", "2")
    assert answer.code == 1
    assert "30 connections need 78 open files, and a process may have 60" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert stored(redis_url).devices == {}


def test_a_gateway_with_few_open_files_serves_as_many_as_it_can_and_tells_others_when_to_return(
    type_: Type, script: Path, redis_url: str
) -> None:
    limit = f"ulimit -n {OTHER_FILES + TOLD_LEAST + 40}; exec {sys.executable} -P -m espfleet run gateway"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    async def listens() -> bool:
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", int(os.environ["SERVER_PORT"]))) == 0

    with (
        (script.parent / "log").open("wb") as log,
        subprocess.Popen(["sh", "-c", limit], cwd=script.parent, env=environ, stderr=log) as gateway,
    ):
        try:
            asyncio.run(wait_until(listens, 60))
            script.write_text("at 0s arrive 40 over 1s\nat 4s arrive 20\nat 8s end\n")
            answer = type_("simulate", "--lamps", "60", "--script", str(script))
            assert gateway.poll() is None
        finally:
            gateway.terminate()
    end = json.loads(answer.out.splitlines()[-1])
    assert (end["connected"], end["failed"]) == (40, 0), end
    assert end["refused"] >= 20
    assert end["endings"]["the gateway answered HTTP 503"] == end["refused"]
    assert "takes 40 connections instead of 50000" in (script.parent / "log").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--lamps", "0.5"], "lamps must be a number from 1 to 200000, not '0.5'"),
        (["--lamps", "300000"], "lamps must be a number from 1 to 200000, not '300000'"),
        (["--lamps", "5", "--script", "/does/not/exist"], "/does/not/exist cannot be read: No such file or directory"),
        (
            ["--lamps", "4", "--script", "storm.txt"],
            "storm.txt line 1: 5 lamps are more than there are: --lamps says 4",
        ),
        (
            ["--lamps", "5", "--room", "hall", "--rooms", "2"],
            "lamps stand in one --room, or in turn in several --rooms",
        ),
        (["--lamps", "5", "--rooms", "2000"], "rooms must be a number from 0 to 1000"),
        (["--lamps", "5", "--processes", "65"], "processes must be a number from 0 to 64"),
        (["--lamps", "5", "--seed", "x"], "seed must be a number from 0 to 999999"),
        (["3", "--script", "storm.txt"], "--script: that is for lamps by the thousand; say how many with --lamps N"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    type_: Type, script: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(script.parent)
    answer = type_("simulate", *words)
    assert answer.code == 1
    assert sentence in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not answer.out


def test_lamps_take_no_name_of_a_real_one(type_: Type, script: Path) -> None:
    assert type_("register", "192.0.2.7", "sim-00002", "--id", "3c71bff93720").code == 0
    answer = type_("simulate", "--lamps", "6", "--script", str(script))
    assert answer.code == 1
    assert "another device is already called 'sim-00002'; nothing was registered" in answer.err
