"""Wall clocks that can be set for some processes alone, while the machine's stays as it is: Debian's libfaketime."""

from __future__ import annotations

from pathlib import Path

#: Where the package libfaketime puts its library.
PATTERN = "*/faketime/libfaketime.so.1"
FOLDERS = (Path("/usr/lib"), Path("/usr/local/lib"))
#: Processes look at the file of their clock so often, in seconds.
LOOK_S = 1


def library() -> Path | None:
    """Return the library that lets clocks be set, or ``None`` where the Debian package ``faketime`` is missing."""
    return next((found for folder in FOLDERS for found in sorted(folder.glob(PATTERN))), None)


class Clock:
    """The wall clock of every process that is started with its ``environ``; clocks that never jump go on.

    Args:
        file: Where its offset is kept; its folder exists.

    Attributes:
        environ: Names and values that a process needs; none where the library is missing.
        offset_s: How far it is ahead of the machine's; negative if it is behind.
    """

    def __init__(self, file: Path) -> None:
        self.offset_s = 0.0
        self.environ: dict[str, str] = {}
        self._file = file
        if (path := library()) is not None:
            self.environ = {
                "LD_PRELOAD": str(path),
                "FAKETIME_TIMESTAMP_FILE": str(file),
                "FAKETIME_CACHE_DURATION": str(LOOK_S),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DONT_RESET": "1",
            }
        self.set(0.0)

    def set(self, offset_s: float) -> None:
        """Set it this far ahead of the machine's; processes notice within ``LOOK_S``."""
        self.offset_s = offset_s
        # At once, for half a number is another number.
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+.3f}\n")
        new.replace(self._file)


def forget(pid: int) -> None:
    """Remove what the library has left of a process that was killed."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (Path("/dev/shm") / name).unlink(missing_ok=True)
