"""Files of a slot: room for them, folders, and what they hold. Borrowed by updates."""

import errno
import hashlib
import os

from lamp import RefusedError

# Room for folders, the pointer, settings and what the file system needs for itself.
_SPARE_BYTES = 24_576


def make_room(slot: str, files: list) -> None:
    """Remove from a slot what the release does not have, or has in another size; refuse it if it will not fit.

    Raises:
        RefusedError: If there is too little room.
    """
    wanted = {slot + "/" + name: size for name, size, _ in files}
    make_folders(slot + "/lamp/")
    for path, size in walk(slot):
        if wanted.get(path) == size:
            del wanted[path]
        else:
            os.remove(path)
    found = os.statvfs(".")
    block, free = found[0], found[0] * found[4]
    need = _SPARE_BYTES + sum([(size + block - 1) // block * block for size in wanted.values()])
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


def digest_of(path: str) -> bytes:
    """Return the SHA-256 of a file as it is read back from the flash, or ``b""`` if there is none."""
    digest, piece = hashlib.sha256(), bytearray(512)
    try:
        with open(path, "rb") as file:
            while size := file.readinto(piece):
                digest.update(memoryview(piece)[:size])
    except OSError:
        return b""
    return digest.digest()
