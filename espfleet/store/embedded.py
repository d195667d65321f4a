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
import hashlib
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from espfleet.errors import StoreStartError
from espfleet.store.binaries import find_server

#: Longest path of a unix socket, in bytes, that every system takes.
SOCKET_PATH_BYTES = 103
#: How long a server may take to answer; reading a log of a gigabyte takes about 30 s.
ANSWER_WITHIN_S = 120.0
#: How long a running server may keep silent before a newcomer gives up.
SILENT_FOR_S = 10.0
STOP_WITHIN_S = 10.0
_POLL_S = 0.005
#: With less the server cannot even begin its log.
_LEAST_DISK_BYTES = 16_384
#: Servers this process has started; kept so that they can be reaped.
_started: list[subprocess.Popen[bytes]] = []


@contextlib.contextmanager
def embedded_server(data: Path) -> Iterator[str]:
    """Start the server of a data folder, or join the one that runs; leave it on exit, and stop it as the last one.

    Args:
        data: Folder for everything the server keeps; created, readable for its owner only, if it is absent.

    Yields:
        URL of the server, ``unix:///…``.

    Raises:
        StoreStartError: If the folder cannot be used or the server does not start; nothing is left running.
    """
    data = _folder(data)
    users = _open(data, "users.lock")
    try:
        with _gate(data):
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                url = _running(data)
            except StoreStartError:
                _leave(data, users)
                raise
        try:
            yield url
        finally:
            with _gate(data):
                _leave(data, users)
    finally:
        os.close(users)


def revive(data: Path) -> str:
    """Start the server again if it has died; for those who hold ``embedded_server``.

    Returns:
        Its URL, the same as before.

    Raises:
        StoreStartError: If it does not start.
    """
    data = _folder(data)
    with _gate(data):
        return _running(data)


def _folder(data: Path) -> Path:
    """Return the data folder as a full path; it exists, and is this user's alone."""
    try:
        data = data.expanduser().resolve()
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = data.stat().st_uid
        if owner != os.geteuid():
            raise StoreStartError(
                f"the data folder {data} belongs to {_user(owner)}, not to {_user(os.geteuid())}: "
                f"run as {_user(owner)}, or set ESPFLEET_DATA to a folder of your own"
            )
        data.chmod(0o700)
    except OSError as exc:
        raise _unusable(data, exc) from exc
    return data


def _open(data: Path, name: str) -> int:
    try:
        return os.open(data / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _unusable(data, exc) from exc


@contextlib.contextmanager
def _gate(data: Path) -> Iterator[None]:
    """Let one process at a time start or stop the server."""
    gate = _open(data, "gate.lock")
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield
    finally:
        os.close(gate)


def _running(data: Path) -> str:
    """Return the URL of the server, started if need be; the gate is held."""
    lock = _open(data, "server.lock")
    try:
        begin_s = time.monotonic()
        # One that was killed a moment ago may hold its lock for another one.
        while _locked(lock):
            if _answers(data, begin_s, SILENT_FOR_S):
                break
        else:
            _start(data, lock)
    finally:
        os.close(lock)
    return f"unix://{quote(str(_socket_path(data)))}"


def _locked(lock: int) -> bool:
    """Whether another process holds ``server.lock``; if not, this one does from now on."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _start(data: Path, lock: int) -> None:
    socket_path = _new_socket_path(data)
    log = data / "redis.log"
    log_start = log.stat().st_size if log.exists() else 0
    command = [find_server(), *_options(data, socket_path)]
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
        )
    except OSError as exc:
        raise StoreStartError(f"the embedded Redis {command[0]} cannot be run: {exc.strerror}") from exc
    _started.append(server)
    try:
        begin_s = time.monotonic()
        while not _answers(data, begin_s, ANSWER_WITHIN_S):
            if server.poll() is not None:
                raise StoreStartError(f"the embedded Redis ended at once; {data / 'redis.log'} says more")
    except StoreStartError as exc:
        _end(server)
        _clear(data)
        raise _why(data, log_start) or exc from None
    except BaseException:
        _end(server)
        _clear(data)
        raise


def _options(data: Path, socket_path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(data),
        "pidfile": str(data / "redis.pid"),
        "logfile": str(data / "redis.log"),
        "loglevel": "notice",
        "appendonly": "yes",
        "appendfsync": "everysec",
        # With the preamble Redis 7.0 could not read what Valkey 9 wrote, and nobody could move to a server of theirs.
        "aof-use-rdb-preamble": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _answers(data: Path, begin_s: float, silent_s: float) -> bool:
    """Whether the server answers now; if not, wait a moment, but not for ever."""
    answer = _ask(data)
    if answer.startswith(b"+PONG"):
        return True
    if time.monotonic() - begin_s > (ANSWER_WITHIN_S if answer.startswith(b"-LOADING") else silent_s):
        raise StoreStartError(
            f"the embedded Redis of {data} runs (process {_pid(data) or 'unknown'}) but does not answer"
        )
    time.sleep(_POLL_S)
    return False


def _ask(data: Path) -> bytes:
    """Return the answer to PING, or nothing."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(1.0)
        link.connect(str(_socket_path(data)))
        link.sendall(b"PING\r\n")
        return link.recv(100)
    return b""


def _leave(data: Path, users: int) -> None:
    """Stop the server if nobody else uses it; the gate is held."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    lock = _open(data, "server.lock")
    try:
        if _locked(lock):
            _stop(data, lock)
    finally:
        os.close(lock)
    _clear(data)


def _stop(data: Path, lock: int) -> None:
    end = time.monotonic() + STOP_WITHIN_S
    pid = _pid(data)
    for wish in (signal.SIGTERM, signal.SIGKILL):
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                # A stopped process hears SIGTERM only when it goes on.
                os.kill(pid, wish)
                os.kill(pid, signal.SIGCONT)
        while _locked(lock):
            _reap()
            if time.monotonic() > end:
                break
            time.sleep(_POLL_S)
        else:
            return
        end += 1.0


def _end(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()
    _started.remove(server)


def _reap() -> None:
    _started[:] = [server for server in _started if server.poll() is None]


def _clear(data: Path) -> None:
    """Remove what a server leaves behind; none runs."""
    _reap()
    socket_path = _socket_path(data)
    socket_path.unlink(missing_ok=True)
    (data / "redis.pid").unlink(missing_ok=True)
    if socket_path.parent != data:
        with contextlib.suppress(OSError):
            socket_path.parent.rmdir()
        (data / "socket.path").unlink(missing_ok=True)


def _pid(data: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int((data / "redis.pid").read_text())
    return None


def _socket_path(data: Path) -> Path:
    """Return where the server's socket is."""
    with contextlib.suppress(OSError):
        return Path((data / "socket.path").read_text())
    return data / "redis.sock"


def _new_socket_path(data: Path) -> Path:
    """Return where the server shall make its socket: in the data folder, or elsewhere when that path is too long."""
    path = data / "redis.sock"
    try:
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            path = _short_folder(data) / "redis.sock"
            (data / "socket.path").write_text(str(path))
        else:
            (data / "socket.path").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise _unusable(data, exc) from exc
    return path


def _short_folder(data: Path) -> Path:
    old = _socket_path(data).parent
    if old != data and old.is_dir() and old.stat().st_uid == os.geteuid():
        return old
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    name = f"espfleet-{hashlib.blake2b(os.fsencode(data), digest_size=6).hexdigest()}"
    if runtime.is_absolute() and runtime.is_dir() and os.access(runtime, os.W_OK) and len(os.fsencode(runtime)) < 60:
        folder = runtime / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
    return Path(tempfile.mkdtemp(prefix="espfleet-"))


def _why(data: Path, log_start: int) -> StoreStartError | None:
    """Return why a server ended, as one sentence, by the disk and by what it logged after ``log_start``."""
    disk = os.statvfs(data)
    if disk.f_bavail * disk.f_frsize < _LEAST_DISK_BYTES:
        return StoreStartError(f"the data folder {data} cannot be used: no space left on its disk")
    try:
        with (data / "redis.log").open("rb") as log:
            log.seek(log_start)
            text = log.read(100_000).decode(errors="replace")
    except OSError:
        return None
    if "Bad file format" in text or "Unexpected end of file" in text:
        return StoreStartError(
            f"the embedded Redis cannot read its data in {data / 'appendonlydir'}: mend it with redis-check-aof --fix, "
            f"or move it away to begin with an empty fleet; {data / 'redis.log'} says more"
        )
    return None


def _unusable(data: Path, exc: OSError) -> StoreStartError:
    return StoreStartError(
        f"the data folder {data} cannot be used: {(exc.strerror or str(exc)).lower()}; "
        "set ESPFLEET_DATA to a folder you can write to"
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
