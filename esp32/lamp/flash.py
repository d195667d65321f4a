"""Files of a slot: room for them, folders, and what they hold. Borrowed by updates."""

import binascii
import errno
import hashlib
import json
import os

from lamp import RefusedError

# Room for folders, the pointer, settings and what the file system needs for itself.
_SPARE_BYTES = 24_576


def listed(manifest: str):
    """Yield name, size and SHA-256 of each file that a manifest lists, which has been checked."""
    with open(manifest, "rb") as file:
        file.readline()
        while line := file.readline():
            name, size, digest = json.loads(line)
            yield name, size, binascii.unhexlify(digest)


def make_room(slot: str, manifest: str) -> None:
    """Remove from a slot what a release does not have, or has in another size; refuse the release if it will not fit.

    Raises:
        RefusedError: If there is too little room.
    """
    # Their paths would take much of a lamp's memory. Should two have the same number, something needless stays.
    wanted = {hash((slot + "/" + name, size)) for name, size, _ in listed(manifest)}
    make_folders(slot + "/lamp/")
    for path, size in walk(slot + "/lamp"):
        if hash((path, size)) not in wanted:
            os.remove(path)
    found = os.statvfs(".")
    block, free = found[0], found[0] * found[4]
    need = _SPARE_BYTES
    for name, size, _ in listed(manifest):
        if size_of(slot + "/" + name) != size:
            need += (size + block - 1) // block * block
    if need > free:
        raise RefusedError(f"the release needs {need} bytes of flash and {free} are free")


def walk(folder: str):
    """Yield path and size of all files in a folder and below."""
    for name, kind, *_ in os.ilistdir(folder):
        path = folder + "/" + name
        if kind & 0x4000:
            yield from walk(path)
        else:
            yield path, os.stat(path)[6]


def created(path: str):
    """Return a new file to write to, in folders that are made for it."""
    make_folders(path)
    return open(path, "wb")


def make_folders(path: str) -> None:
    """Make the folders that a file lies in."""
    at = path.find("/")
    while at >= 0:
        try:
            os.mkdir(path[:at])
        except OSError as exc:
            if exc.errno != errno.EEXIST:
                raise
        at = path.find("/", at + 1)


def size_of(path: str) -> int:
    """Return the size of a file, or -1 if there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return -1


def pieces(path: str):
    """Yield what is in a file, as it is read back from the flash."""
    piece = bytearray(512)
    with open(path, "rb") as file:
        while size := file.readinto(piece):
            yield memoryview(piece)[:size]


def digest_of(path: str) -> bytes:
    """Return the SHA-256 of a file, or ``b""`` if there is none."""
    digest = hashlib.sha256()
    try:
        for piece in pieces(path):
            digest.update(piece)
    except OSError:
        return b""
    return digest.digest()
