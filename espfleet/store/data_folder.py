"""The data folder: where the embedded Redis keeps everything, and what can be wrong with it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import stat
import tempfile
from pathlib import Path

from espfleet.errors import StoreStartError

#: Longest path of a unix socket, in bytes, that every system takes.
SOCKET_PATH_BYTES = 103
#: A log that is longer is put aside at the next start, in place of the one before.
LOG_BYTES = 1_000_000
#: With less disk the server cannot even begin its log.
_LEAST_DISK_BYTES = 16_384


class DataFolder:
    """A folder that is there and this user's alone.

    Attributes:
        path: Full path.
        log: The server's log.

    Raises:
        StoreStartError: If it cannot be made, or is somebody else's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.path = path.expanduser().resolve()
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            owner = self.path.stat().st_uid
            if owner != os.geteuid():
                raise StoreStartError(
                    f"the data folder {self.path} belongs to {_user(owner)}, not to {_user(os.geteuid())}: "
                    f"run as {_user(owner)}, or set ESPFLEET_DATA to a folder of your own"
                )
            self.path.chmod(0o700)
        except OSError as exc:
            raise self._unusable(exc) from exc
        self.log = self.path / "redis.log"

    def __str__(self) -> str:
        return str(self.path)

    def open(self, name: str) -> int:
        """Return a descriptor of a file of the folder, made if need be.

        Raises:
            StoreStartError: If the folder is read-only or full.
        """
        try:
            return os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise self._unusable(exc) from exc

    def prepare(self) -> tuple[Path, int]:
        """Return where a new server shall make its socket, and how long its log is before it starts.

        The socket is in the folder, or elsewhere when that path is too long; a note then says where.

        Raises:
            StoreStartError: If the folder is read-only or full.
        """
        try:
            socket_path = self.path / "redis.sock"
            note = self.path / "socket.path"
            if len(os.fsencode(socket_path)) > SOCKET_PATH_BYTES:
                socket_path = self._short_folder() / "redis.sock"
                note.write_text(str(socket_path))
            else:
                note.unlink(missing_ok=True)
            socket_path.unlink(missing_ok=True)
            log_bytes = self.log.stat().st_size if self.log.exists() else 0
            if log_bytes > LOG_BYTES:
                self.log.replace(self.path / "redis.log.1")
                log_bytes = 0
        except OSError as exc:
            raise self._unusable(exc) from exc
        return socket_path, log_bytes

    def clear(self) -> None:
        """Remove what a server leaves behind; none runs."""
        socket_path = self.socket_path()
        socket_path.unlink(missing_ok=True)
        (self.path / "redis.pid").unlink(missing_ok=True)
        if socket_path.parent != self.path:
            with contextlib.suppress(OSError):
                socket_path.parent.rmdir()
            (self.path / "socket.path").unlink(missing_ok=True)

    def pid(self) -> int | None:
        """Return the process that the server says it is."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.path / "redis.pid").read_text())
        return None

    def socket_path(self) -> Path:
        """Return where the server's socket is."""
        with contextlib.suppress(OSError):
            return Path((self.path / "socket.path").read_text())
        return self.path / "redis.sock"

    def why_ended(self, log_start: int) -> StoreStartError | None:
        """Return why a server ended, by the disk and by what it logged after ``log_start`` bytes."""
        disk = os.statvfs(self.path)
        if disk.f_bavail * disk.f_frsize < _LEAST_DISK_BYTES:
            return StoreStartError(f"the data folder {self} cannot be used: no space left on its disk")
        try:
            with self.log.open("rb") as log:
                log.seek(log_start)
                text = log.read(100_000).decode(errors="replace")
        except OSError:
            return None
        if "Bad file format" in text or "Unexpected end of file" in text:
            return StoreStartError(
                f"the embedded Redis cannot read its data in {self.path / 'appendonlydir'}: mend it with "
                f"redis-check-aof --fix, or move it away to begin with an empty fleet; {self.log} says more"
            )
        return None

    def _short_folder(self) -> Path:
        """Return a folder of ours with a short path: the one noted before, or a new one."""
        noted = self.socket_path().parent
        if noted != self.path and noted.is_dir() and noted.stat().st_uid == os.geteuid():
            return noted
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
        folder = runtime / f"espfleet-{hashlib.blake2b(os.fsencode(self.path), digest_size=6).hexdigest()}"
        fits = len(os.fsencode(folder / "redis.sock")) <= SOCKET_PATH_BYTES
        if fits and runtime.is_absolute() and runtime.is_dir() and os.access(runtime, os.W_OK):
            folder.mkdir(mode=0o700, exist_ok=True)
            # Its name can be guessed: where others may write, they could have made it, and hold the socket in it.
            made = folder.lstat()
            if stat.S_ISDIR(made.st_mode) and made.st_uid == os.geteuid():
                folder.chmod(0o700)
                return folder
        return Path(tempfile.mkdtemp(prefix="espfleet-"))

    def _unusable(self, exc: OSError) -> StoreStartError:
        return StoreStartError(
            f"the data folder {self} cannot be used: {(exc.strerror or str(exc)).lower()}; "
            "set ESPFLEET_DATA to a folder you can write to"
        )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
