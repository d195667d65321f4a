"""The file of a backup: everything that people have set up, as gzipped lines of JSON.

The first line says what it is, each further line holds one row of the registry, and the last one says how many rows
there are and the SHA-256 of all lines before it. So a file that was cut, changed or mixed up is noticed before
anything is written.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from espfleet.domain.migration import Tables
from espfleet.errors import InvalidError

FORMAT = "espfleet backup"
#: Version of the file itself; what its rows look like is the schema's matter.
VERSION = 1
#: A registry of 10,000 devices takes about 5 MB; a file that unpacks to more than this is none of ours.
MOST_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup holds.

    Attributes:
        schema: Version of the layout of its rows.
        made_ms: When it was made, ms since the epoch.
        made_by: Version of the espfleet that made it.
        tables: Rows by kind and key.
    """

    schema: int
    made_ms: int
    made_by: str
    tables: Tables

    @property
    def counts(self) -> dict[str, int]:
        """How many rows there are of each kind that has any."""
        return {kind: len(rows) for kind, rows in self.tables.items() if rows}


def pack(backup: Backup) -> bytes:
    """Return the file of a backup."""
    head = {"format": FORMAT, "version": VERSION, "schema": backup.schema, "made_ms": backup.made_ms}
    lines = [_line({**head, "made_by": backup.made_by})]
    lines += [
        _line({"kind": kind, "key": key, "value": rows[key]})
        for kind, rows in sorted(backup.tables.items())
        for key in sorted(rows)
    ]
    body = b"".join(lines)
    end = _line({"rows": len(lines) - 1, "sha256": sha256(body).hexdigest()})
    # Without a time of its own, so that the same fleet gives the same file.
    return gzip.compress(body + end, mtime=0)


def unpack(blob: bytes) -> Backup:
    """Return what a file of a backup holds.

    Raises:
        InvalidError: If it is none, is damaged, or was made by a newer espfleet.
    """
    text = _inflated(blob)
    body, end = text[: (cut := text[:-1].rfind(b"\n") + 1)], text[cut:]
    try:
        head = _object(body[: body.find(b"\n") + 1] or end)
    except ValueError:
        head = {}
    if head.get("format") != FORMAT:
        raise InvalidError("this is not a backup of an espfleet", field="file")
    if not isinstance(head.get("version"), int) or head["version"] > VERSION:
        raise InvalidError(
            f"this backup was made by a newer espfleet ({str(head.get('made_by'))[:20]!r}): update this one",
            field="file",
        )
    try:
        closing = _object(end)
        lines = body.splitlines()[1:]
        sound = closing["sha256"] == sha256(body).hexdigest() and closing["rows"] == len(lines)
        if not sound:
            raise ValueError("the sum is another")
        tables: dict[str, dict[str, Mapping[str, Any]]] = {}
        for line in lines:
            row = _object(line)
            value = row["value"]
            if not isinstance(value, dict):
                raise ValueError("a row is no object")
            tables.setdefault(str(row["kind"]), {})[str(row["key"])] = value
        return Backup(
            schema=int(head["schema"]), made_ms=int(head["made_ms"]), made_by=str(head["made_by"]), tables=tables
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidError("this backup is damaged: it was cut or changed after it was made", field="file") from None


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("a line is no object")
    return found


def _inflated(blob: bytes) -> bytes:
    """Return what was compressed, and never more than ``MOST_BYTES`` of it."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(blob)) as stream:
            text = stream.read(MOST_BYTES + 1)
    except gzip.BadGzipFile:
        raise InvalidError(
            "this is not a backup of an espfleet, or it was changed after it was made", field="file"
        ) from None
    except (EOFError, zlib.error, OSError):
        raise InvalidError("this backup is damaged: it was cut or changed after it was made", field="file") from None
    if len(text) > MOST_BYTES:
        raise InvalidError(f"this backup unpacks to more than {MOST_BYTES >> 20} MiB: it is not read", field="file")
    return text
