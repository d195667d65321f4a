"""The embedded Redis: one server for all processes that use the same data folder; the last one out stops it.

Three locks in the data folder decide, and the kernel gives them back for a process that is killed:

- ``gate.lock`` is held by whoever starts or stops the server, one at a time;
- ``users.lock`` is held, shared, by every process that uses the server: who gets it alone is the last;
- ``server.lock`` is held by the server itself, so that nobody starts a second one on the same data, not even while
  the first one is stopped or too busy to answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from espfleet.errors import StoreStartError
from espfleet.store.binaries import find_server
from espfleet.store.data_folder import DataFolder

#: How long a server may take to answer; reading a log of a gigabyte takes about 30 s.
ANSWER_WITHIN_S = 120.0
#: How long a running server may keep silent before a newcomer gives up.
SILENT_FOR_S = 10.0
STOP_WITHIN_S = 10.0
_POLL_S = 0.005
#: A server that hangs up has done so by then.
_SILENT_S = 0.3
#: Servers this process has started; kept so that they can be reaped.
_started: list[subprocess.Popen[bytes]] = []


@contextlib.contextmanager
def embedded_server(data: Path, silent_s: float | None = None) -> Iterator[str]:
    """Start the server of a data folder, or join the one that runs; leave it on exit, and stop it as the last one.

    Args:
        data: Folder for everything the server keeps; created, readable for its owner only, if it is absent.
        silent_s: How long a running server may keep silent before this gives up, in seconds; usually 10.

    Yields:
        URL of the server, ``unix:///…``.

    Raises:
        StoreStartError: If the folder cannot be used or the server does not start; nothing is left running.
    """
    folder = DataFolder(data)
    users = folder.open("users.lock")
    try:
        with _gate(folder):
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield _running(folder, silent_s or SILENT_FOR_S)
        finally:
            with _gate(folder):
                _leave(folder, users)
    finally:
        os.close(users)


def revive(data: Path) -> str:
    """Start the server again if it has died; for those who hold ``embedded_server``.

    One that is only stopped or busy is left alone, and nobody has to wait at the gate for it.

    Returns:
        Its URL, the same as before.

    Raises:
        StoreStartError: If it does not start.
    """
    folder = DataFolder(data)
    if _lives(folder):
        return _url(folder)
    return _running(folder, SILENT_FOR_S)


def _lives(folder: DataFolder) -> bool:
    """Whether there is a server: it answers, or it keeps silent without hanging up, as one that is stopped does."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_SILENT_S)
        try:
            link.connect(str(folder.socket_path()))
            link.sendall(b"PING\r\n")
            return bool(link.recv(100))
        except TimeoutError:
            return True
        except OSError:
            return False


@contextlib.contextmanager
def _gate(folder: DataFolder) -> Iterator[None]:
    """Let one process at a time start or stop the server."""
    gate = folder.open("gate.lock")
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield
    finally:
        os.close(gate)


def _running(folder: DataFolder, silent_s: float) -> str:
    """Return the URL of the server, started if need be.

    Who waits for a server that is there leaves the gate open: all who come to a silent one are told so as soon.
    """
    begin_s = time.monotonic()
    while not _started_here(folder) and not _answers(folder, begin_s, silent_s):
        # One that was killed a moment ago may have held its lock for another one; this one then starts the next.
        pass
    return _url(folder)


def _url(folder: DataFolder) -> str:
    return f"unix://{quote(str(folder.socket_path()))}"


def _started_here(folder: DataFolder) -> bool:
    """Start the server unless there is one; return whether this did."""
    with _gate(folder):
        _reap()
        lock = folder.open("server.lock")
        try:
            if _locked(lock):
                return False
            _start(folder, lock)
            return True
        finally:
            os.close(lock)


def _locked(lock: int) -> bool:
    """Whether another process holds ``server.lock``; if not, this one does from now on."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _start(folder: DataFolder, lock: int) -> None:
    socket_path, log_start = folder.prepare()
    command = [find_server(), *_options(folder, socket_path)]
    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal stops the fleet; the server goes last, when nobody needs it any more.
            start_new_session=True,
            # The server inherits the open lock and so holds it until it ends, however it ends.
            pass_fds=(lock,),
            # Its log holds what boards want to see; the folder keeps others out, but not once it was copied.
            umask=0o077,
        )
    except OSError as exc:
        raise StoreStartError(f"the embedded Redis {command[0]} cannot be run: {exc.strerror}") from exc
    _started.append(server)
    try:
        begin_s = time.monotonic()
        while not _answers(folder, begin_s, ANSWER_WITHIN_S):
            if server.poll() is not None:
                raise StoreStartError(f"the embedded Redis ended at once; {folder.log} says more")
    except StoreStartError as exc:
        _end(server)
        folder.clear()
        raise folder.why_ended(log_start) or exc from None
    except BaseException:
        _end(server)
        folder.clear()
        raise


def _options(folder: DataFolder, socket_path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "pidfile": str(folder.path / "redis.pid"),
        "logfile": str(folder.log),
        "loglevel": "notice",
        "appendonly": "yes",
        "appendfsync": "everysec",
        # With the preamble Redis 7.0 could not read what Valkey 9 wrote, and nobody could move to a server of theirs.
        "aof-use-rdb-preamble": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _answers(folder: DataFolder, begin_s: float, silent_s: float) -> bool:
    """Whether the server answers now; if not, wait a moment, but not for ever."""
    answer = _ask(folder)
    # With a full disk it takes nothing more, and says to each who wants to write why.
    if answer.startswith((b"+PONG", b"-MISCONF")):
        return True
    if time.monotonic() - begin_s > (ANSWER_WITHIN_S if answer.startswith(b"-LOADING") else silent_s):
        pid = _pid(folder)
        mend = f": 'kill -CONT {pid}' lets a stopped one go on, 'kill -9 {pid}' ends it" if pid else ""
        raise StoreStartError(
            f"the embedded Redis of {folder} runs (process {pid or 'unknown'}) but does not answer{mend}"
        )
    time.sleep(_POLL_S)
    return False


def _pid(folder: DataFolder) -> int | None:
    """Return the server's process, as its file says or, where a full disk had no room for that, as it says itself."""
    told = re.search(rb"process_id:(\d+)", b"" if folder.pid() else _ask(folder, b"INFO server"))
    return int(told[1]) if told else folder.pid()


def _ask(folder: DataFolder, question: bytes = b"PING") -> bytes:
    """Return the begin of an answer, or nothing."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(1.0)
        link.connect(str(folder.socket_path()))
        link.sendall(question + b"\r\n")
        return link.recv(4_096)
    return b""


def _leave(folder: DataFolder, users: int) -> None:
    """Stop the server if nobody else uses it; the gate is held."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    lock = folder.open("server.lock")
    try:
        if _locked(lock):
            _stop(folder, lock)
        if not _locked(lock):
            folder.clear()
    finally:
        os.close(lock)


def _stop(folder: DataFolder, lock: int) -> None:
    end = time.monotonic() + STOP_WITHIN_S
    pid = _pid(folder)
    for wish in (signal.SIGTERM, signal.SIGKILL):
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                # A stopped process hears SIGTERM only when it goes on.
                os.kill(pid, wish)
                os.kill(pid, signal.SIGCONT)
        while _locked(lock):
            if time.monotonic() > end:
                break
            time.sleep(_POLL_S)
        else:
            _reap(pid)
            return
        end += 1.0


def _end(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()
    _started.remove(server)


def _reap(ended: int | None = None) -> None:
    """Forget servers that have ended; process ``ended`` has given its lock back, and is gone in a moment."""
    for server in _started.copy():
        if server.pid == ended:
            server.wait()
        if server.poll() is not None:
            _started.remove(server)
