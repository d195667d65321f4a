"""Commands that write a backup and set a fleet up from one."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path

from espfleet.cli import output
from espfleet.cli.opening import with_store, with_time
from espfleet.cli.words import age
from espfleet.domain.backups import MOST_BYTES
from espfleet.domain.names import shown
from espfleet.errors import InvalidError, RefusedError
from espfleet.services import backups as service


def backup(file: str) -> None:
    """Write a backup; a file that is there already is only replaced by a whole one."""
    path = Path(file)
    if not path.name:
        raise InvalidError(f"{shown(file)} is not the name of a file", field="file")
    made, blob = with_store(lambda store: service.make(store, now_ms=store.now_ms()))
    _write(path, blob)
    output.say(
        f"{_spoken(made.counts)} are in {path} ({len(blob)} bytes). It holds hashes of tokens, "
        "and what boards want to see: keep it to yourself.",
        {"file": str(path), "bytes": len(blob), "schema": made.schema, "rows": made.counts},
    )


def restore(file: str, force: bool) -> None:
    """Set the fleet up from a backup."""
    path = Path(file)
    try:
        with path.open("rb") as stream:
            blob = stream.read(MOST_BYTES + 1)
    except OSError as exc:
        raise InvalidError(f"{shown(path)} cannot be read: {exc.strerror}", field="file") from exc
    if len(blob) > MOST_BYTES:
        raise InvalidError(f"{shown(path)} is larger than {MOST_BYTES >> 20} MiB: it is no backup", field="file")
    done, at_ms = with_time(functools.partial(service.restore, blob=blob, force=force))
    made = done.backup
    instead = f" instead of {_spoken(done.replaced)}" if done.replaced else ""
    output.say(
        f"Restored {_spoken(made.counts)}{instead}, as they were {age(made.made_ms, at_ms)} ago. "
        "Tokens too: what was ended since is valid again.",
        {"rows": made.counts, "replaced": done.replaced, "made_ms": made.made_ms, "made_by": made.made_by},
    )


def _spoken(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "0 rows"


def _write(path: Path, blob: bytes) -> None:
    """Write a file for its owner only, whole or not at all, also when the machine stops meanwhile."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        # A name like /dev/stdout would be taken from what it stands for.
        if path.is_symlink() or not (path.is_file() or path.is_dir() or not path.exists()):
            raise RefusedError(f"{shown(path)} is no ordinary file: name another")
        with contextlib.ExitStack() as stack:
            stack.callback(functools.partial(new.unlink, missing_ok=True))
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(blob)
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(path)
            # The new name is on the disk only once its folder is.
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, folder)
            os.fsync(folder)
    except OSError as exc:
        raise RefusedError(f"{shown(path)} cannot be written: {exc.strerror}") from exc
