"""The embedded server: started, shared, stopped, and what stands in its way."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from espfleet.errors import StoreStartError
from espfleet.store import binaries, data_folder, embedded
from espfleet.store.embedded import embedded_server, revive
from tests.own_time import calm_s, promised
from tests.store.conftest import Embedded

PROJECT = Path(__file__).parents[2]


def ask(url: str, *lines: str) -> list[str]:
    """Send inline commands to a server and return the line it answers to each."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30.0)
        link.connect(unquote(urlsplit(url).path))
        with link.makefile("rw", newline="\r\n") as talk:
            answers = []
            for line in lines:
                talk.write(line + "\r\n")
                talk.flush()
                answer = talk.readline().strip()
                answers.append(talk.readline().strip() if answer.startswith("$") and answer != "$-1" else answer)
            return answers


def servers_of(data: Path) -> list[int]:
    """Return the processes whose files are in a data folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "exe").readlink().name.endswith("-server") and (folder / "cwd").readlink() == data.resolve():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def is_clean(data: Path) -> bool:
    return not servers_of(data) and not (data / "redis.sock").exists() and not (data / "redis.pid").exists()


def user(code: str, data: Path) -> subprocess.Popen[str]:
    """Start another process that uses the server of ``data``; ``code`` sees its url."""
    program = (
        "import socket, sys\nfrom pathlib import Path\nfrom urllib.parse import unquote, urlsplit\n"
        f"from espfleet.store.embedded import embedded_server\n{inspect.getsource(ask)}\n"
        f"with embedded_server(Path(sys.argv[1])) as url:\n    {code}\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(data)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def other(data: Path, embedded: Embedded) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server until it reads a line."""
    process = user("print(url, flush=True); input()", data)
    with process:
        assert line_of(process) == embedded.url
        yield process
        process.kill()


# --- started and stopped


def test_it_starts_and_leaves_nothing_behind(data: Path) -> None:
    with embedded_server(data) as url:
        assert ask(url, "PING") == ["+PONG"]
        assert len(servers_of(data)) == 1
    assert is_clean(data)


def test_what_was_written_is_there_again(data: Path) -> None:
    with embedded_server(data) as url:
        ask(url, "SET name porch")
    with embedded_server(data) as url:
        assert ask(url, "GET name") == ["porch"]


def test_only_its_owner_can_reach_it(data: Path) -> None:
    data.mkdir(mode=0o755)
    with embedded_server(data) as url:
        ask(url, "SET name porch")
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert stat.S_IMODE((data / "redis.sock").stat().st_mode) == 0o700
        # Also where the folder was copied to with wider rights.
        files = [path for path in data.rglob("*") if path.is_file()]
        assert any(path.suffix == ".aof" for path in files)
        assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_ctrl_c_in_the_terminal_does_not_reach_it(embedded: Embedded) -> None:
    assert os.getsid(embedded.pid) != os.getsid(0)
    assert os.getpgid(embedded.pid) != os.getpgid(0)


def test_it_uses_the_settings_it_should(embedded: Embedded) -> None:
    for option, value in {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-use-rdb-preamble": "no",
        "maxmemory-policy": "noeviction",
        "save": "",
        "port": "0",
    }.items():
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(embedded.data / "redis.sock"))
            link.sendall(f"CONFIG GET {option}\r\n".encode())
            assert link.recv(1_000).split(b"\r\n")[-2] == value.encode()


# --- shared


def test_the_last_one_out_stops_it(data: Path, embedded: Embedded, other: subprocess.Popen[str]) -> None:
    pid = embedded.pid
    other.communicate("\n", timeout=30)
    assert servers_of(data) == [pid]


def test_it_outlives_a_user_that_is_killed(data: Path) -> None:
    with user("ask(url, 'SET name porch'); print(url, flush=True); input()", data) as first:
        line_of(first)
        [pid] = servers_of(data)
        first.kill()
        first.wait()
        assert servers_of(data) == [pid]
        with embedded_server(data) as url:
            assert ask(url, "GET name") == ["porch"]
            assert servers_of(data) == [pid]
    assert is_clean(data)


@pytest.mark.slow
def test_eight_at_once_start_one_server(data: Path) -> None:
    for rounds in range(1, 4):
        crowd = [
            user("print(ask(url, 'INCR n', 'CONFIG GET pidfile')[0], flush=True); input()", data) for _ in range(8)
        ]
        numbers = [line_of(process) for process in crowd]
        running = servers_of(data)
        for process in crowd:
            process.communicate("\n", timeout=60)

        assert len(running) == 1
        assert Counter(numbers) == Counter(f":{n}" for n in range(8 * rounds - 7, 8 * rounds + 1))
        assert [process.returncode for process in crowd] == [0] * 8
        assert is_clean(data)


# --- killed, stopped


def test_a_killed_server_is_revived_and_has_lost_nothing(embedded: Embedded) -> None:
    ask(embedded.url, *(f"SET key-{number} {number}" for number in range(1_000)))
    embedded.kill()

    assert revive(embedded.data) == embedded.url
    assert ask(embedded.url, "DBSIZE", "GET key-999") == [":1000", "999"]


def test_reviving_a_living_server_does_nothing_and_is_quick(embedded: Embedded) -> None:
    pid = embedded.pid
    with promised(1.0):
        for _ in range(10):
            revive(embedded.data)
    assert embedded.pid == pid


def test_several_who_revive_at_once_start_one_server(embedded: Embedded, other: subprocess.Popen[str]) -> None:
    code = "from espfleet.store.embedded import revive; [revive(Path(sys.argv[1])) for _ in range(20)]"
    crowd = [user(code, embedded.data) for _ in range(4)]
    embedded.kill()
    for process in crowd:
        process.communicate(timeout=60)
    revive(embedded.data)
    assert len(servers_of(embedded.data)) == 1


def test_a_stopped_server_is_not_doubled(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espfleet.store.embedded.SILENT_FOR_S", 0.5)
    embedded.stop()
    try:
        assert revive(embedded.data) == embedded.url
        silent = pytest.raises(StoreStartError, match=rf"runs \(process {embedded.pid}\) but does not answer")
        with silent, embedded_server(embedded.data):
            pass
        assert servers_of(embedded.data) == [embedded.pid]
    finally:
        embedded.go_on()


def test_all_who_come_to_a_silent_server_are_told_so_side_by_side(embedded: Embedded) -> None:
    def come() -> str:
        with pytest.raises(StoreStartError) as told, embedded_server(embedded.data, silent_s=2.0):
            pass
        return str(told.value)

    embedded.stop()
    try:
        begin = calm_s()
        with ThreadPoolExecutor(8) as crowd:
            sentences = {visit.result() for visit in [crowd.submit(come) for _ in range(8)]}
        # One after the other they would take 16 s.
        assert calm_s() - begin < 10.0
    finally:
        embedded.go_on()
    assert sentences == {
        f"the embedded Redis of {embedded.data} runs (process {embedded.pid}) but does not answer: "
        f"'kill -CONT {embedded.pid}' lets a stopped one go on, 'kill -9 {embedded.pid}' ends it"
    }


def test_a_stopped_server_is_stopped_for_good_by_the_last_one_out(data: Path) -> None:
    with embedded_server(data):
        [pid] = servers_of(data)
        os.kill(pid, signal.SIGSTOP)
    assert is_clean(data)


# --- where it lives


def test_a_path_with_a_space_and_an_umlaut_is_fine(data: Path) -> None:
    with embedded_server(data / "my flüt%20") as url:
        assert " " not in url
        assert ask(url, "PING") == ["+PONG"]


@pytest.mark.parametrize("runtime", [True, False], ids=["runtime folder", "temporary folder"])
def test_a_socket_path_that_is_too_long_goes_elsewhere(
    data: Path, runtime: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runtime:
        data.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(data))
    else:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    deep = data / ("d" * 100)
    with embedded_server(deep) as url, embedded_server(deep) as same:
        path = Path((deep / "socket.path").read_text())
        assert url == same == f"unix://{path}"
        assert len(str(path)) < 104
        assert (path.parent.parent == data) is runtime
        assert ask(url, "PING") == ["+PONG"]
    assert not path.parent.exists()
    assert is_clean(deep)


def test_a_folder_that_somebody_else_has_laid_ready_gets_no_socket(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = data / "theirs"
    theirs.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(data))
    deep = data / ("d" * 100)
    with embedded_server(deep):
        guessed = Path((deep / "socket.path").read_text()).parent
    guessed.symlink_to(theirs)
    with embedded_server(deep) as url:
        assert ask(url, "PING") == ["+PONG"]
        assert Path((deep / "socket.path").read_text()).parent.resolve() != theirs.resolve()
        assert list(theirs.iterdir()) == []
    assert is_clean(deep)


def test_a_long_log_is_put_aside(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_server(data):
        pass
    before = (data / "redis.log").read_text()
    monkeypatch.setattr(data_folder, "LOG_BYTES", 100)
    with embedded_server(data):
        assert (data / "redis.log.1").read_text() == before
        assert not (data / "redis.log").read_text().startswith(before)


# --- what stands in its way


def fails(data: Path) -> str:
    """Return the sentence of a start that fails; nothing may be left of it."""
    with pytest.raises(StoreStartError) as told, embedded_server(data):
        pass
    if data.is_dir():
        assert is_clean(data)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_data_folder_that_is_a_file_is_refused(data: Path) -> None:
    data.write_text("")
    assert fails(data) == (
        f"the data folder {data} cannot be used: file exists; set ESPFLEET_DATA to a folder you can write to"
    )


def test_a_data_folder_of_somebody_else_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    told = fails(data)
    assert f"the data folder {data} belongs to " in told
    assert "not to user 54321" in told


@pytest.fixture
def small_disk(data: Path) -> Iterator[Path]:
    """Path of a disk of 64 KiB."""
    disk = data.parent / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.root
def test_a_read_only_folder_is_refused(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert fails(small_disk) == (
        f"the data folder {small_disk} cannot be used: read-only file system; "
        "set ESPFLEET_DATA to a folder you can write to"
    )


@pytest.mark.root
def test_a_full_disk_is_refused(small_disk: Path) -> None:
    with (small_disk / "filling").open("wb", buffering=0) as filling, contextlib.suppress(OSError):
        while True:
            filling.write(bytes(4_096))
    assert "no space left" in fails(small_disk)


@pytest.mark.root
def test_a_disk_that_fills_up_is_told_to_who_writes_and_the_server_ends_as_ever(small_disk: Path) -> None:
    with embedded_server(small_disk) as url:
        # As it is where the disk was full already when it began.
        (small_disk / "redis.pid").unlink()
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as stream:
            while True:
                stream.write(b"x" * 4_096)
                stream.flush()
        while ask(url, f"SET name {'x' * 8_000}")[0] == "+OK":
            pass
        with embedded_server(small_disk) as again:
            assert ask(again, "SET name porch")[0].startswith("-MISCONF")
        filler.unlink()
    assert is_clean(small_disk)


def test_damaged_data_is_refused_and_kept(data: Path) -> None:
    with embedded_server(data) as url:
        ask(url, *(f"SET key-{number} {number}" for number in range(100)))
    [log] = (data / "appendonlydir").glob("*.incr.aof")
    damaged = log.read_bytes().replace(b"$6\r\nkey-50", b"porch")
    log.write_bytes(damaged)

    assert fails(data) == (
        f"the embedded Redis cannot read its data in {data}/appendonlydir: mend it with redis-check-aof --fix, or "
        f"move it away to begin with an empty fleet; {data}/redis.log says more"
    )
    assert log.read_bytes() == damaged


def test_a_log_that_was_cut_off_loses_only_its_end(data: Path) -> None:
    with embedded_server(data) as url:
        ask(url, *(f"SET key-{number} {number}" for number in range(100)))
    [log] = (data / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(log.read_bytes()[:-7])
    with embedded_server(data) as url:
        assert ask(url, "DBSIZE") == [":99"]


def test_a_machine_without_a_server_is_told_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_packaged", lambda: None)
    monkeypatch.setenv("PATH", str(data))
    assert fails(data) == (
        "no Redis server was found: install one (apt-get install redis-server) or set REDIS_URL to one that runs"
    )


@pytest.mark.package("redis-server")
def test_the_server_of_the_machine_is_second_choice(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert binaries.find_server().endswith("valkey-server")
    monkeypatch.setattr(binaries, "_packaged", lambda: None)
    assert Path(binaries.find_server()).name in ("redis-server", "valkey-server")
    with embedded_server(data) as url:
        assert ask(url, "PING") == ["+PONG"]


def test_a_program_that_is_too_old_is_passed_over(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.mkdir()
    old = data / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setattr(binaries, "_packaged", lambda: None)
    monkeypatch.setenv("PATH", f"{data}:/nowhere")
    assert "no Redis server was found" in fails(data)


def test_a_program_that_does_not_run_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_server", lambda: str(data / "nothing"))
    assert fails(data) == f"the embedded Redis {data}/nothing cannot be run: No such file or directory"


def test_a_program_that_ends_at_once_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_server", lambda: "/bin/false")
    assert fails(data) == f"the embedded Redis ended at once; {data}/redis.log says more"
