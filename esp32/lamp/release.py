"""What an update must be: from someone who knows the lamp's token, not older, only files of the program. Borrowed.

A manifest is lines of JSON: ``{"version":"0.2.0","downgrade":false}``, and of each file ``["lamp/app.mpy",3301,"…"]``
with its SHA-256. The rules are those of ``espfleet/domain/releases.py``; a test holds the two together.
"""

import binascii
import hashlib
import json

from lamp import VERSION, RefusedError, borrow

checks, flash = borrow("checks"), borrow("flash")

MOST_BYTES = 262_144
_PURPOSE = b"espfleet update 1"
_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789_."


def check(path: str, token: str, told: str) -> tuple:
    """Return the version that a manifest promises, and how many bytes its files have together.

    Args:
        path: File with the manifest: beside the lamp's own program there is little memory for it.
        token: The lamp's.
        told: HMAC of the manifest, as it came.

    Raises:
        RefusedError: If the lamp must not run what it lists.
    """
    if not same(seal(token, path), told):
        raise RefusedError("the manifest is not sealed with the key of this lamp")
    with open(path, "rb") as file:
        version, total = checked_version(file.readline()), 0
        while line := file.readline():
            total += checked_file(line)
    if total > MOST_BYTES:
        raise RefusedError(f"the release has {total} bytes, more than {MOST_BYTES}")
    return version, total


def seal(token: str, path: str) -> str:
    """Return what proves that whoever made a manifest knows the lamp's token, 64 hex digits."""
    return binascii.hexlify(hmac(hmac(token.encode(), [_PURPOSE]), flash.pieces(path))).decode()


def hmac(key: bytes, pieces) -> bytes:
    """Return HMAC-SHA256 (RFC 2104)."""
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    key += bytes(64 - len(key))
    inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in key]))
    for piece in pieces:
        inner.update(piece)
    return hashlib.sha256(bytes([byte ^ 0x5C for byte in key]) + inner.digest()).digest()


def same(one: str, other: str) -> bool:
    """Compare, and take as long wherever they differ."""
    differ = len(one) ^ len(other)
    for mine, theirs in zip(one, other):
        differ |= ord(mine) ^ ord(theirs)
    return not differ


def numbers(version: str) -> list:
    """Return the numbers of a version such as ``0.10.2``, so that versions can be compared."""
    try:
        return [int(part) for part in version.split(".")]
    except (ValueError, AttributeError):
        raise RefusedError("the manifest has no version such as 0.2.0") from None


def checked_version(line: bytes) -> str:
    """Return the version that the first line of a manifest tells, unless it is older than what runs."""
    try:
        values = json.loads(line)
        version, downgrade = values["version"], values["downgrade"]
    except (ValueError, KeyError, TypeError):
        raise RefusedError("the manifest does not begin with a version") from None
    if numbers(version) < numbers(VERSION) and downgrade is not True:
        raise RefusedError(f"{version} is older than {VERSION}, which runs")
    return checks.text(version, "version", 32)


def checked_file(line: bytes) -> int:
    """Return the size of a file, if what a further line of a manifest lists may be one."""
    try:
        name, size, digest = json.loads(line)
        digest = binascii.unhexlify(digest)
        parts = name.split("/")
    except (ValueError, TypeError, AttributeError):
        raise RefusedError("the manifest lists something that is no file") from None
    plain = all(part and part[0] != "." and all(char in _CHARS for char in part) for part in parts)
    if len(name) > 64 or len(parts) < 2 or parts[0] != "lamp" or not plain:
        raise RefusedError(f"{name[:64]} is no place for a file of a release")
    if len(digest) != 32:
        raise RefusedError(f"{name} has no SHA-256")
    # A number in quotes is none here.
    return checks.whole(size if type(size) is int else None, "the size of " + name, 0, MOST_BYTES)
