"""Releases of the lamp's program: what is in one, how it is sealed for a lamp, and where a lamp says it stands.

A release is one run of bytes: its manifest, and behind that the files in the order of the manifest. Lamps ask for it
piece by piece. The manifest is lines of JSON: ``{"version":"0.2.0","downgrade":false}``, and for each file
``["lamp/app.mpy",3301,"…"]`` with its SHA-256. ``esp32/lamp/release.py`` reads it; a test holds the two together.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from espfleet.domain.names import shown
from espfleet.errors import InvalidError

#: All files of a release together, and its manifest: what a lamp takes.
RELEASE_BYTES = 262_144
MANIFEST_BYTES = 8_192
#: Largest piece that a lamp may ask for.
PIECE_BYTES = 2_048
NAME_CHARS = 64
ID_CHARS = 64
_TOLD_CHARS = 200
#: Where a piece begins, before its bytes in a frame.
_PLACE_BYTES = 4

_PURPOSE = b"espfleet update 1"
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}")
_NAME = re.compile(r"lamp(/[a-z0-9_][a-z0-9_.]*)+")
#: What becomes of an update: ``asked`` until the lamp tells; ``writing``; ``starting`` again with it; on ``trial``;
#: then ``running``, or ``returned`` to what ran before. Or ``failed`` before anything changed.
STATES = ("asked", "writing", "starting", "trial", "running", "returned", "failed")
#: The event by which lamps tell that.
EVENT = "update"


@dataclass(frozen=True, slots=True)
class Release:
    """A version of the lamp's program.

    Attributes:
        version: Such as ``0.2.0``.
        manifest: What lamps check, as bytes.
        data: All files, one after the other.
    """

    version: str
    manifest: bytes
    data: bytes

    @property
    def id(self) -> str:
        """Name by which lamps ask for it: the same content has the same."""
        return sha256(self.manifest).hexdigest()[:16]

    def piece(self, at: int, size: int) -> bytes:
        """Return up to ``size`` bytes of manifest and files, from ``at`` on."""
        border = len(self.manifest)
        return self.manifest[at : at + size] + self.data[max(at - border, 0) : max(at + size - border, 0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What became of a lamp's last update, as it says in its hello.

    Attributes:
        state: ``trial``, ``running`` or ``returned``.
        slot: ``a``, ``b``, or ``""`` for what was put there by cable.
        bad: Version that the lamp left again, or ``""``.
        why: Why it left it.
    """

    state: str
    slot: str = ""
    bad: str = ""
    why: str = ""


def new_release(version: str, files: Mapping[str, bytes], *, downgrade: bool = False) -> Release:
    """Return a release of files by their names on the lamp.

    Args:
        version: Such as ``0.2.0``.
        files: Content by name, such as ``lamp/app.mpy``.
        downgrade: Whether lamps with a newer version shall take it too.

    Raises:
        InvalidError: If a name or the version cannot be used, or there is too much of it.
    """
    check_version(version)
    if not files:
        raise InvalidError("a release without files would leave a lamp without a program", field="files")
    names = sorted(files)
    for name in names:
        if len(name) > NAME_CHARS or not _NAME.fullmatch(name):
            raise InvalidError(
                f"{shown(name)} is no place for a file of a release: use lamp/… with a-z, 0-9, _ and .", field="files"
            )
    data = b"".join(files[name] for name in names)
    if len(data) > RELEASE_BYTES:
        raise InvalidError(f"the release has {len(data)} bytes, more than the {RELEASE_BYTES} a lamp takes")
    lines: list[Any] = [{"version": version, "downgrade": downgrade}]
    lines += [[name, len(files[name]), sha256(files[name]).hexdigest()] for name in names]
    manifest = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
    if len(manifest) > MANIFEST_BYTES:
        raise InvalidError(f"the release has {len(names)} files, more than a lamp takes")
    return Release(version, manifest, data)


def check_version(version: str) -> str:
    """Return a version such as ``0.2.0``.

    Raises:
        InvalidError: If it is something else.
    """
    if not _VERSION.fullmatch(version):
        raise InvalidError(f"{shown(version)} is no version such as 0.2.0", field="version")
    return version


def update_key(token: str) -> bytes:
    """Return the key of a lamp's updates: it follows from the token, and the token does not follow from it."""
    return hmac.digest(token.encode(errors="surrogatepass"), _PURPOSE, "sha256")


def seal(key: bytes, manifest: bytes) -> str:
    """Return what proves to a lamp that a manifest comes from its fleet, 64 hex digits."""
    return hmac.digest(key, manifest, "sha256").hex()


def framed(at: int, piece: bytes) -> bytes:
    """Return what a lamp is sent: where a piece begins, in four bytes, and the piece."""
    return at.to_bytes(_PLACE_BYTES, "big") + piece


def told(fields: Mapping[str, Any]) -> dict[str, str | int]:
    """Return what a lamp's event tells of its update, or nothing if it makes no sense."""
    if fields.get("state") not in STATES:
        return {}
    known: dict[str, str | int] = {"error": ""}
    for name in ("state", "version", "error"):
        if isinstance(text := fields.get(name), str) and text.isprintable():
            known[name] = text[:_TOLD_CHARS]
    for name in ("done_bytes", "total_bytes"):
        number = fields.get(name)
        if isinstance(number, int) and 0 <= number <= RELEASE_BYTES:
            known[name] = int(number)
    return known
