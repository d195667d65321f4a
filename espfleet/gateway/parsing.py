"""The parser of what is not usual: that of ``websockets``, without a network; dropped when it holds nothing."""

from __future__ import annotations

import logging
from typing import Any

from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

# It logs each opening and closing; what matters of that is logged with the device's name elsewhere.
_quiet = logging.getLogger(f"{__name__}.frames")
_quiet.setLevel(logging.WARNING)


def new_parser(state: State, most_bytes: int | None = None) -> ServerProtocol:
    """Return a new parser of one connection.

    Args:
        state: Whether the handshake is done.
        most_bytes: Largest message.
    """
    return ServerProtocol(state=state, max_size=most_bytes, logger=_quiet)


def is_idle(parser: ServerProtocol) -> bool:
    """Tell whether nothing is half read: no byte, no header, no message in parts."""
    waiting: Any = parser.parser
    while (inner := getattr(waiting, "gi_yieldfrom", None)) is not None:
        waiting = inner
    at_boundary = getattr(waiting, "gi_code", None) is StreamReader.at_eof.__code__
    return at_boundary and parser.current_size is None and not parser.reader.buffer


def let_go(parser: ServerProtocol) -> None:
    """Free a parser: it is a generator that holds the protocol that holds it, and only gc would find that."""
    del parser.parser
