"""New firmware over the connection: into the other slot, checked, on trial, and the way back."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espfleet.domain import releases
from espfleet.domain.releases import Release
from espfleet.errors import InvalidError
from lamp import RefusedError, flash
from lamp import release as rules
from lamp.trial import Trial
from tests.conftest import wait_until
from tests.firmware.boards import HERE, Board, Firmware
from tests.firmware.depots import TOKEN, Depot, release_of, with_lines
from tests.firmware.servers import serving
from tests.firmware.together import Boards, together

OLD = "0.1.0"
NEW = "0.2.0"
NOTHING = sha256(b"").hexdigest()
FAST = HERE / "scripts" / "fast.py"


def pointer(board: Board) -> dict[str, Any]:
    """Return what the board says that it runs."""
    path = board.folder / "slot"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def told(depot: Depot, *states: str) -> list[dict[str, Any]]:
    return [event for event in depot.events if event["state"] in states]


async def refusal(depot: Depot, release: Release, **other: Any) -> str:
    """Return why a lamp does not take a release."""
    count = len(depot.results)
    await depot.offer(release, f"c-{count}", **other)
    await wait_until(lambda: len(depot.results) > count)
    answer = depot.results[-1]
    assert (answer["id"], answer["ok"]) == (f"c-{count}", False)
    return str(answer["error"])


@together
async def test_a_good_update_runs_from_the_other_slot_and_stays(boards: Boards) -> None:
    depot = Depot(release_of(boards.firmware, NEW, boards.folder / "new"))
    async with serving(depot) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        assert depot.hellos[0]["firmware"] == OLD
        assert "update" not in depot.hellos[0]
        assert "update" in depot.hellos[0]["capabilities"]
        await board.line("light: level")
        await depot.offer()
        await board.line("light: updating")
        await wait_until(lambda: len(depot.hellos) == 2)
        assert depot.results[0]["data"] == {"version": NEW, "total_bytes": len(depot.release.data)}  # type: ignore[union-attr]
        assert told(depot, "writing")[-1]["done_bytes"] == len(depot.release.data)  # type: ignore[union-attr]
        assert depot.hellos[1]["firmware"] == NEW
        assert depot.hellos[1]["boot"]["reason"] == f"update to {NEW}"
        assert depot.hellos[1]["update"] == {"state": "trial", "slot": "a", "bad": "", "why": ""}
        assert pointer(board) == {"slot": "a", "version": NEW, "back": ""}
        await wait_until(lambda: told(depot, "running"))
        assert pointer(board) == {"slot": "a", "version": NEW}
        # The next one goes into the other slot; what is on trial takes none.
        newer = release_of(boards.firmware, "0.10.0", boards.folder / "newer")
        await depot.offer(newer, "c-2")
        await wait_until(lambda: len(depot.hellos) == 3)
        assert depot.hellos[2]["firmware"] == "0.10.0"
        assert pointer(board) == {"slot": "b", "version": "0.10.0", "back": "a"}
        assert await refusal(depot, newer) == "version 0.10.0 is still on trial"


@together
async def test_what_a_lamp_must_not_run_is_refused_with_a_sentence(boards: Boards) -> None:
    good = {"version": NEW, "downgrade": False}
    depot = Depot()
    async with serving(depot) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        whole = with_lines(good, ["lamp/app.mpy", 0, NOTHING])
        assert await refusal(depot, whole, hmac="0" * 64) == "the manifest is not sealed with the key of this lamp"
        assert await refusal(depot, whole, hmac=7) == "hmac must be a text of at most 64 characters"
        assert await refusal(depot, whole, manifest_bytes=9_000) == (
            "manifest_bytes must be a whole number from 1 to 8192"
        )
        older = with_lines({"version": "0.0.9", "downgrade": False}, ["lamp/app.mpy", 0, NOTHING])
        assert await refusal(depot, older) == "0.0.9 is older than 0.1.0, which runs"
        for name in ("lamp/../boot.py", "/lamp/app.mpy", "lamp//app.mpy", "../lamp/app.mpy", "lamp/.mpy", "lamp/A.mpy"):
            assert (
                await refusal(depot, with_lines(good, [name, 0, NOTHING]))
                == f"{name} is no place for a file of a release"
            )
        for name in ("boot.py", "main.py", "slots.mpy", "settings.json", "ca.der", "a/lamp/app.mpy", "lamp"):
            assert (
                await refusal(depot, with_lines(good, [name, 0, NOTHING]))
                == f"{name} is no place for a file of a release"
            )
        large = with_lines(good, *[[f"lamp/m{number}.mpy", 200_000, NOTHING] for number in range(2)])
        assert await refusal(depot, large) == "the release has 400000 bytes, more than 262144"
        assert await refusal(depot, with_lines(["lamp/app.mpy", 0, NOTHING])) == (
            "the manifest does not begin with a version"
        )
        assert await refusal(depot, with_lines({"version": "new", "downgrade": False})) == (
            "the manifest has no version such as 0.2.0"
        )
        assert await refusal(depot, with_lines(good, {"lamp/app.mpy": 0})) == (
            "the manifest lists something that is no file"
        )
        assert await refusal(depot, with_lines(good, ["lamp/app.mpy", 0, "00"])) == "lamp/app.mpy has no SHA-256"
        await board.line("light: level", board.at)
        assert not (board.folder / "slot").exists()
        assert {path.name for path in (board.folder / "a").rglob("*") if path.is_file()} <= {"manifest"}
        assert len(depot.hellos) == 1


@together
async def test_an_older_version_is_taken_where_the_manifest_says_so(boards: Boards) -> None:
    older = release_of(boards.firmware, "0.0.9", boards.folder / "old")
    lines = older.manifest.replace(b'"downgrade":false', b'"downgrade":true')
    depot = Depot(Release("0.0.9", lines, older.data))
    async with serving(depot) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        await depot.offer()
        await wait_until(lambda: len(depot.hellos) == 2)
    assert depot.hellos[1]["firmware"] == "0.0.9"


@together
async def test_a_file_that_is_not_what_it_must_be_ends_the_update(boards: Boards) -> None:
    depot = Depot(release_of(boards.firmware, NEW, boards.folder / "new"))
    last = len(depot.release.manifest) + 5_000  # type: ignore[union-attr]
    depot.spoil = lambda at, piece: bytes([piece[0] ^ 1]) + piece[1:] if at >= last else piece
    async with serving(depot) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        await depot.offer()
        await wait_until(lambda: told(depot, "failed"))
        assert told(depot, "failed")[0]["error"].endswith(".mpy is not what it must be (SHA-256)")
        assert depot.results[0]["ok"] is True
        await board.line("light: level", board.at)
        # Once more, unspoilt: what was right is not fetched again.
        depot.spoil, before = (lambda _at, piece: piece), len(depot.fetched)
        await depot.offer(command_id="c-2")
        await wait_until(lambda: len(depot.hellos) == 2)
    again = [at for at in depot.fetched[before:] if at > len(depot.release.manifest)]  # type: ignore[union-attr]
    assert min(again) > len(depot.release.manifest) + 2_000  # type: ignore[union-attr]
    assert depot.hellos[1]["firmware"] == NEW


@together
async def test_a_gateway_that_dies_in_the_middle_is_asked_for_the_rest_when_it_is_back(boards: Boards) -> None:
    depot = Depot(release_of(boards.firmware, NEW, boards.folder / "new"))
    depot.cut_after = 15
    async with serving(depot) as gateway:
        board = boards(gateway=gateway.url)
        # As after an earlier update and a new start by cable: there is something to tell.
        (board.folder / "slot").write_text('{"slot":"","version":"0.1.0"}')
        board.power_on()
        await wait_until(lambda: depot.hellos)
        await depot.offer()
        await wait_until(lambda: len(depot.hellos) == 3)
    assert [hello["firmware"] for hello in depot.hellos] == [OLD, OLD, NEW]
    assert [hello["update"]["state"] for hello in depot.hellos] == ["running", "writing", "trial"]
    assert depot.fetched == sorted(depot.fetched)
    # One that does not come in time is asked for again at once, which happens on a busy machine.
    once = [at for at, before in zip(depot.fetched, [None, *depot.fetched], strict=False) if at != before]
    assert len(set(once)) == len(once)


@together
async def test_a_lamp_that_loses_power_in_the_middle_runs_what_it_ran_and_takes_the_rest_later(boards: Boards) -> None:
    depot = Depot(release_of(boards.firmware, NEW, boards.folder / "new"))
    async with serving(depot) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        await depot.offer()
        await wait_until(lambda: len(depot.fetched) > 60)
        await board.power_off()
        board.power_on()
        await wait_until(lambda: len(depot.hellos) == 2)
        assert depot.hellos[1]["firmware"] == OLD
        assert pointer(board) == {}
        before = len(depot.fetched)
        await depot.offer(command_id="c-2")
        await wait_until(lambda: len(depot.hellos) == 3)
    assert depot.hellos[2]["firmware"] == NEW
    manifest = len(depot.release.manifest)  # type: ignore[union-attr]
    assert min(at for at in depot.fetched[before:] if at > manifest) > manifest + 10_000


@together
async def test_a_release_that_is_gone_ends_the_update(boards: Boards) -> None:
    depot = Depot(release_of(boards.firmware, NEW, boards.folder / "new"))
    depot.spoil = lambda at, piece: b"" if at > 6_000 else piece
    async with serving(depot) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        await depot.offer()
        await wait_until(lambda: told(depot, "failed"))
        assert told(depot, "failed")[0]["error"] == "the gateway does not have this release any more"
        await depot.offer(command_id="c-2")
        await wait_until(lambda: len(told(depot, "failed")) == 2)
    assert pointer(board) == {}


@together
async def test_one_update_at_a_time(boards: Boards) -> None:
    depot = Depot(release_of(boards.firmware, NEW, boards.folder / "new"))
    depot.spoil = lambda at, piece: piece if at == 0 else piece[:0] + piece
    async with serving(depot) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        await depot.offer()
        await depot.offer(command_id="c-2")
        await wait_until(lambda: len(depot.results) == 2)
    assert {"type": "result", "id": "c-2", "ok": False, "error": "an update is under way"} in depot.results


# On trial


async def bad_version(boards: Boards, script: Path | None = None, **sources: str) -> tuple[Board, Depot]:
    """Update a lamp to a version that is no good; return it when it is back."""
    depot = Depot(release_of(boards.firmware, NEW, boards.folder / "new", **sources))
    async with serving(depot) as gateway:
        board = boards(script, gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        await depot.offer()
        await board.line("@reset")
        await wait_until(lambda: depot.hellos[-1].get("update", {}).get("state") == "returned", 40)
    assert depot.hellos[-1]["firmware"] == OLD
    assert depot.hellos[-1]["update"]["bad"] == NEW
    assert depot.hellos[-1]["update"]["slot"] == ""
    return board, depot


@together
async def test_a_version_that_cannot_be_loaded_is_left_after_three_starts(boards: Boards) -> None:
    board, depot = await bad_version(boards, app="import nothing_like_that\n")
    assert depot.hellos[-1]["update"]["why"] == "it failed at 3 starts"
    assert [hello["firmware"] for hello in depot.hellos] == [OLD, OLD]
    assert board.starts == 5


@together
async def test_a_version_that_crashes_is_left_after_three_starts(boards: Boards) -> None:
    crash = "def collect(clock, station, sensor):\n    raise RuntimeError('a mistake')\n"
    _, depot = await bad_version(boards, readings=crash)
    assert depot.hellos[-1]["update"]["why"] == "it failed at 3 starts"


@together
async def test_a_version_that_finds_no_gateway_is_left_after_a_minute(boards: Boards) -> None:
    """A minute of the lamp's clock, which this test lets run twenty times as fast."""
    urls = "from lamp import RefusedError\n\n\ndef is_address(host):\n    return True\n\n\ndef split(url):\n"
    urls += "    return False, '127.0.0.1', 9, '/'\n"
    board, depot = await bad_version(boards, FAST, urls=urls)
    assert depot.hellos[-1]["update"]["why"] == "it had no gateway for 60 s"
    assert depot.hellos[-1]["boot"]["reason"] == f"back from {NEW}"
    assert len([line for line in board.lines if "no gateway" in line and "light" in line]) >= 1


@together
async def test_a_version_that_hangs_meets_the_watchdog(boards: Boards) -> None:
    """The hardware restarts it; what the lamp does is to switch that on before anything of the new version runs."""
    depot = Depot(release_of(boards.firmware, NEW, boards.folder / "new", app="while True:\n    pass\n"))
    async with serving(depot) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        await depot.offer()
        for _ in range(3):
            await board.line("@watchdog 120000", board.at)
            await board.power_off()
            board.world("cause", "3")
            board.restart()
        await wait_until(lambda: len(depot.hellos) == 2)
    assert depot.hellos[1]["update"] == {"state": "returned", "slot": "", "bad": NEW, "why": "it failed at 3 starts"}


@together
async def test_a_lamp_whose_main_does_not_know_slots_notices_that_nothing_has_changed(boards: Boards) -> None:
    depot = Depot(release_of(boards.firmware, NEW, boards.folder / "new"))
    script = boards.folder / "own.py"
    script.write_text("from lamp.app import main\n\nmain()\n")
    async with serving(depot) as gateway:
        board = boards(script, gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: depot.hellos)
        await depot.offer()
        await wait_until(lambda: pointer(board).get("why"))
    assert pointer(board) == {"slot": "", "bad": NEW, "why": "the main.py of this lamp does not start slots"}


@together
async def test_slots_outlive_files_that_are_not_theirs(boards: Boards) -> None:
    board = boards()
    (board.folder / "slot").write_text("{")
    board.power_on()
    await board.line("light: no settings")
    await board.power_off()
    (board.folder / "slot").write_text('{"slot":"b","back":"a"}')
    board.world("rtc", "nonsense")
    board.restart()
    await board.line("light: no settings", board.at)


def test_a_version_stays_once_its_connection_has_lasted_ten_seconds() -> None:
    trial = Trial(0)
    assert trial.verdict(5_000, False) is None
    assert trial.verdict(6_000, True) is None
    assert trial.verdict(15_999, True) is None
    assert trial.verdict(16_000, True) == ""


def test_a_version_goes_without_a_gateway_for_a_minute_or_with_one_that_never_lasts() -> None:
    trial = Trial(0)
    assert trial.verdict(59_999, False) is None
    assert trial.verdict(60_000, False) == "it had no gateway for 60 s"
    trial = Trial(0)
    for now_ms in range(0, 300_000, 5_000):
        assert trial.verdict(now_ms, now_ms % 10_000 == 0) is None
    assert trial.verdict(300_000, True) == "its connection never lasted 10 s"


# The same rules in two places


def test_what_the_fleet_seals_the_lamp_accepts(tmp_path: Path) -> None:
    release = releases.new_release("0.2.0", {"lamp/app.mpy": b"a" * 3_000, "lamp/board/__init__.mpy": b""})
    for token in (TOKEN, "x" * 43, "y" * 100):
        sealed = releases.seal(releases.update_key(token), release.manifest)
        path = tmp_path / "manifest"
        path.write_bytes(release.manifest)
        assert rules.check(str(path), token, sealed) == ("0.2.0", 3_000)
        assert list(flash.listed(str(path))) == [
            ("lamp/app.mpy", 3_000, sha256(b"a" * 3_000).digest()),
            ("lamp/board/__init__.mpy", 0, sha256(b"").digest()),
        ]
        path.write_bytes(release.manifest + b"\n")
        with pytest.raises(RefusedError, match="not sealed"):
            rules.check(str(path), token, sealed)
    assert rules.MOST_BYTES == releases.RELEASE_BYTES


@given(st.text("lamp/._-aZ09ä ", max_size=70).map(lambda text: text if len(text) % 3 else "lamp/" + text))
def test_fleet_and_lamp_refuse_the_same_names(name: str) -> None:
    try:
        releases.new_release(NEW, {name: b""})
        fleet_takes = True
    except InvalidError:
        fleet_takes = False
    try:
        rules.checked_file(json.dumps([name, 0, NOTHING]).encode())
        lamp_takes = True
    except RefusedError:
        lamp_takes = False
    assert fleet_takes == lamp_takes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.just(NOTHING) | st.just("lamp/app.mpy"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["version", "downgrade"]), inner),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(JSON, max_size=4))
def test_a_manifest_of_any_nonsense_is_refused_or_taken_and_nothing_else(tmp_path: Path, lines: list[Any]) -> None:
    path = tmp_path / "manifest"
    release = with_lines(*lines)
    path.write_bytes(release.manifest)
    try:
        version, total = rules.check(str(path), TOKEN, releases.seal(releases.update_key(TOKEN), release.manifest))
    except RefusedError:
        return
    assert isinstance(version, str)
    assert total == sum(size for _, size, _ in flash.listed(str(path)))


# Power cuts


async def test_a_power_cut_at_any_write_of_an_update_leaves_the_old_version_or_the_new(
    firmware: Firmware, tmp_path: Path
) -> None:
    out = await firmware.run("update_cuts.py", folder=tmp_path, heap="4000wk", timeout_s=120)
    found = json.loads(out.splitlines()[-1])
    for way in ("update", "confirm", "back", "start"):
        assert found[way]["neither"] == [], way
        assert found[way]["old"] + found[way]["new"] == found[way]["cuts"]
        assert found[way]["old"] > 0
        assert found[way]["new"] > 0
    assert found["update"]["cuts"] > 30
    assert found["too big"].startswith("the release needs ")
    assert found["full"] == "the flash is full"
