"""By which names and addresses this machine is reached, as far as it knows itself."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable, Iterator

#: Belong to nobody (RFC 5737, RFC 3849): asked only from which own address this machine would reach the world.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_ANY = ("", "0.0.0.0", "::")
#: What a name in a certificate is made of; ``*.`` may stand before it. One that ends in a number would be an address.
_NAME = re.compile(
    r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.I
)


def own_names(given: Iterable[str] = ()) -> list[str]:
    """Return names and addresses of this machine, loopback included, each once.

    Args:
        given: Others that are known, such as the hosts to listen on; those that stand for any address are left out.
    """
    return list(dict.fromkeys([*(name for name in given if name not in _ANY), *_found()]))


def _found() -> Iterator[str]:
    yield from ("localhost", "127.0.0.1", "::1")
    name = socket.gethostname()
    if is_name(name):
        yield name
        if "." not in name:
            # By which others in the same network find it (RFC 6762).
            yield f"{name}.local"
        with contextlib.suppress(OSError):
            for *_, address in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
                yield str(address[0]).partition("%")[0]
    for family, elsewhere in _ELSEWHERE:
        # Sends nothing: it only chooses a way.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((elsewhere, 9))
            yield str(asked.getsockname()[0])


def is_name(text: str) -> bool:
    """Return whether a certificate can be for this host name, by which others then know the server."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None and not text.rpartition(".")[2].isdecimal()
