"""What people type about boards and jobs, and what they see."""

from __future__ import annotations

import asyncio
import io
import re
import threading
from collections.abc import Iterator

import pytest

from espfleet.cli import output
from espfleet.cli.boards import BoardCommands, RequestCommands
from espfleet.cli.jobs import JobCommands, PinCommands
from espfleet.cli.tree import StreamTree
from espfleet.simulator.boards import BoardSimulator, SimulatedBoard, new_boards
from espfleet.store import readings
from espfleet.store.client import open_store
from tests.cli.conftest import Type


@pytest.fixture
def simulated() -> Iterator[SimulatedBoard]:
    """A board that is served by a thread, for commands block."""
    simulator = BoardSimulator(new_boards(1))
    loop = asyncio.new_event_loop()
    running = loop.create_task(simulator.run())
    ready = threading.Event()

    async def wait() -> None:
        await simulator.started.wait()
        ready.set()
        await asyncio.gather(running, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(wait()))
    thread.start()
    assert ready.wait(30)
    yield next(iter(simulator.boards.values()))
    loop.call_soon_threadsafe(running.cancel)
    thread.join(30)
    loop.close()


@pytest.fixture
def porch(type_: Type, simulated: SimulatedBoard) -> SimulatedBoard:
    assert type_("register", simulated.address, "porch").code == 0
    return simulated


def test_requests_ask_the_board_itself(type_: Type, porch: SimulatedBoard) -> None:
    basic = type_("device", "porch", "requests", "get_basic").json
    assert list(basic) == ["gpio", "f", "id"]
    assert basic["id"] == porch.id
    assert type_("device", "porch", "requests", "set_gpio", "22", "1").code == 0
    assert porch.electronics.pins[22] == 1
    assert type_("device", "porch", "requests", "flip_gpio", "22").code == 0
    assert porch.electronics.pins[22] == 0
    porch.electronics.warm(20.5)
    assert type_("device", "porch", "requests", "get_dht22", "4").json["temp"] == 20.5
    porch.electronics.apply(34, 99)
    assert type_("device", "porch", "requests", "read_adc", "34").json == {"data": [99.0], "ticks": 200_000}
    assert type_("device", "porch", "requests", "set_host", "192.0.2.1").code == 0
    assert porch.host == "192.0.2.1"


def test_what_a_visit_found_is_kept(type_: Type, porch: SimulatedBoard) -> None:
    refused = type_("device", "porch", "get_f")
    assert (refused.code, "has not been visited yet" in refused.err) == (1, True)
    assert type_("is_online", "porch").code == 1
    assert type_("device", "porch", "update").json["name"] == "porch"
    assert type_("is_online", "porch").json is True
    f = type_("device", "porch", "get_f").json
    assert 90 < f < 130
    assert type_("device", "porch", "update", "-", "get_f").json == f
    assert type_("device", "porch", "get_gpio").json["22"] == 0
    assert type_("device", "porch", "get_uid").json == porch.id
    assert type_("device", "porch", "ip").json == porch.address


def test_jobs_are_added_explained_paused_and_removed(type_: Type, porch: SimulatedBoard) -> None:
    assert type_("device", "porch", "add_timer_job", "lights", "22", "00:00", "24", "--zone", "UTC").code == 0
    assert type_("device", "porch", "sync_job_state").json == {"22": 1}
    assert porch.electronics.pins[22] == 1
    [job] = type_("device", "porch", "jobs").json
    assert (job["wish"], job["pin"], job["kind"]) == (True, 22, "timer")
    assert "its window lasts until" in type_("device", "porch", "job", "lights").json["why"]
    assert type_("device", "porch", "job", "lights", "pause").code == 0
    assert type_("jobs").json[0]["paused"]
    assert type_("device", "porch", "job", "lights", "resume").code == 0
    assert type_("device", "porch", "job", "lights", "remove").code == 0
    assert type_("jobs").json == []
    assert type_("device", "porch", "job", "lights").code == 1


def test_a_threshold_of_espnet_works_with_its_own_words(type_: Type, porch: SimulatedBoard) -> None:
    words = ("heat", "23", "00:00:00", "24", "0", "devices:porch:dht22:air:temp", "68")
    assert type_("device", "porch", "add_threshold_job", *words).code == 0
    assert type_("device", "porch", "add_dht22", "air", "4").code == 0
    porch.electronics.warm(19)
    assert type_("device", "porch", "update_dht22").json["air.temp"] == 19
    assert porch.electronics.pins[23] == 1
    porch.electronics.warm(21)
    assert type_("device", "porch", "update_dht22").code == 0
    assert porch.electronics.pins[23] == 0
    assert "is 69.8 F" in type_("device", "porch", "job", "heat").json["why"]
    assert type_("device", "porch", "list_dht22").json == {"air": 4}
    assert type_("device", "porch", "get_dht22").json["air.temp"] == 21
    assert type_("device", "porch", "readings").json["air.temp"]["value"] == 21
    assert type_("device", "porch", "history", "air.temp").json
    assert type_("device", "porch", "remove_sensor", "air").code == 0
    assert type_("device", "porch", "sensors").json == []


def test_a_lock_keeps_visits_away_and_requests_pass_it(type_: Type, porch: SimulatedBoard) -> None:
    assert type_("device", "porch", "lock", "request", "60000").code == 0
    busy = type_("device", "porch", "lock")
    assert (busy.code, "busy" in busy.err) == (1, True)
    assert type_("device", "porch", "requests", "get_basic").code == 0
    assert type_("device", "porch", "unlock").json is True
    assert type_("device", "porch", "update").code == 0


def test_a_cooldown_says_not_again_before(type_: Type, porch: SimulatedBoard) -> None:
    assert type_("device", "porch", "cooldown", "water", "60000").json is True
    again = type_("device", "porch", "cooldown", "water", "60000")
    assert (again.code, "cools down for another" in again.err) == (1, True)
    assert type_("device", "porch", "cooldown", "feed", "60000").code == 0
    assert type_("device", "porch", "lock").code == 0
    assert type_("device", "porch", "cooldown", "two words", "1").code == 1


def test_a_person_reads_pins_and_measured_values_in_words(
    type_: Type, porch: SimulatedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "for_programs", lambda: False)
    assert type_("device", "porch", "requests", "set_gpio", "22", "1").code == 0
    basic = type_("device", "porch", "requests", "get_basic")
    assert basic.code == 0
    assert "22: 1" in basic.out
    porch.electronics.apply(34, 99)
    measured = type_("device", "porch", "requests", "read_adc", "34")
    assert re.search(r"data +99\.0 *\n", measured.out)
    assert not re.search(r"[{}\[\]']", basic.out + measured.out)


def test_a_board_is_shown_a_token_of_its_own_that_nothing_tells(
    type_: Type, porch: SimulatedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    porch.token = "s3cret"
    refused = type_("device", "porch", "update")
    assert (refused.code, "wants another token: see set_board_token" in refused.err) == (1, True)
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))
    told = [type_("device", "porch", "set_board_token")]
    for words in (["update"], ["requests", "get_basic"], [], ["readings"]):
        told.append(type_("device", "porch", *words))
    told.append(type_("devices"))
    assert [one.code for one in told] == [0] * 6
    assert not [one for one in told if "s3cret" in one.out + one.err]
    assert type_("register", porch.address, "other").err.count("wants a token to say who it is: register it with --id")
    monkeypatch.setenv("BOARD_TOKEN", "s3cret")
    assert type_("device", "porch", "set_board_token", "wrong").code == 0
    assert type_("device", "porch", "update").code == 1
    assert type_("device", "porch", "set_board_token", "--remove").code == 0
    assert type_("device", "porch", "update").code == 0


@pytest.mark.parametrize("token", ["two words", "line\r\nX-Other: 1", "é", "x" * 129, ""])
def test_what_cannot_stand_in_a_header_is_no_token(
    type_: Type, porch: SimulatedBoard, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    refused = type_("device", "porch", "set_board_token", token)
    assert (refused.code, "cannot be the token of a board" in refused.err) == (1, True)


@pytest.mark.parametrize("name", ["set_gpio", "set_f", "set_lc", "commit_metric", "status", "r"])
def test_a_name_that_was_a_trap_points_to_the_right_one(type_: Type, porch: SimulatedBoard, name: str) -> None:
    refused = type_("device", "porch", name)
    assert (refused.code, "; use " in refused.err) == (1, True)


def test_what_redis_holds_about_a_device_is_listed(type_: Type, porch: SimulatedBoard) -> None:
    assert type_("device", "porch", "update").code == 0
    listed = type_("device", "porch", "keys").json
    assert {key["key"].split(":")[1] for key in listed} >= {"board", "readings"}
    assert all(porch.id in key["key"] and key["bytes"] > 0 for key in listed)


def test_where_the_beat_of_espnet_is_set_now_is_said(type_: Type) -> None:
    refused = type_("run", "10")
    assert (refused.code, "./espcli run steward" in refused.err, "POLL_S" in refused.err) == (1, True, True)


VERBS = {
    ("device", "porch"): (BoardCommands, PinCommands),
    ("device", "porch", "requests"): (RequestCommands,),
    ("device", "porch", "job", "lights"): (JobCommands,),
    (): (StreamTree,),
}


@pytest.mark.parametrize(
    "words",
    [
        (*words, name)
        for words, classes in VERBS.items()
        for one in classes
        for name, verb in vars(one).items()
        if not name.startswith("_") and not isinstance(verb, property)
    ],
    ids=" ".join,
)
def test_every_verb_has_a_help_text_with_an_example(type_: Type, words: tuple[str, ...]) -> None:
    told = type_(*words, "--help")
    assert told.code == 0
    about = " ".join(told.out.split())
    assert "Not here" in about or f"Example: ./espcli {' '.join(words)}" in about


def test_the_help_of_a_device_lists_its_verbs(type_: Type, porch: SimulatedBoard) -> None:
    told = type_("device", "porch", "--help").out
    for verb in ("update", "jobs", "add_timer_job", "requests", "readings"):
        assert verb in told
    assert "past its lock" in told


def test_what_a_lamp_reports_of_its_chip_is_told_in_fahrenheit_too(type_: Type, redis_url: str) -> None:
    lamp = "3c71bff93720"
    assert type_("register", "192.0.2.7", "lamp", "--id", lamp).code == 0

    async def report() -> None:
        async with open_store(redis_url, name="test") as store:
            await readings.put(store, lamp, {"temperature_c": 44.5}, 1_800_000_000_000)

    asyncio.run(report())
    assert type_("device", "lamp", "get_f").json == 112.1
