"""One WebSocket connection: an asyncio protocol that holds next to nothing while its client only says it lives.

``websockets``' sans-I/O ``ServerProtocol`` takes every unusual handshake and frame, and is dropped as soon as nothing
is half read. What is usual never wakes it, and levels are written as frames that were made once for all.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from sys import intern
from typing import cast

from websockets.exceptions import InvalidMessage
from websockets.frames import CloseCode as StandardCode
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from espfleet.domain.closing import CloseCode
from espfleet.domain.devices import Reason
from espfleet.domain.messages import TEXT_BYTES, ProtocolError
from espfleet.gateway.accepting import NOWHERE, SocketOf, no_socket
from espfleet.gateway.frames import PING, after_keepalive, close_frame, is_keepalive, whole_text
from espfleet.gateway.handshakes import handshake_of, usual_handshake
from espfleet.gateway.parsing import is_idle, let_go, new_parser
from espfleet.gateway.peers import Peer, Reception, Refusal

#: A request with all its headers; what browsers send is far below.
REQUEST_BYTES = 16_384
#: What is read at once. asyncio asks for 256 KiB, for which the system maps memory anew each time: 9 µs instead of 2.
READ_BYTES = 65_536

#: First byte of a close frame.
_CLOSE = 0x88

logger = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One WebSocket connection.

    Attributes:
        host: Address of the client, without port.
        peer: Who is at the other end, or ``None`` before the handshake is done and after the end.
        taken: Messages that came since the reception set it to 0.
        taken_bytes: Bytes of those that were no usual keepalives.
        blocked_s: Since when the client takes nothing, on the reception's clock; 0 while it does.
        socket: Where frames may be sent at once: nothing waits in the transport, and it is plain and open; else
            ``NOWHERE``.
    """

    __slots__ = (
        "_ended",
        "_own_socket",
        "_parts",
        "_rare",
        "_reception",
        "_requested",
        "_settled",
        "_socket_of",
        "_transport",
        "_waiting",
        "blocked_s",
        "host",
        "peer",
        "socket",
        "taken",
        "taken_bytes",
    )

    def __init__(self, reception: Reception, socket_of: SocketOf = no_socket) -> None:
        self._reception = reception
        self._socket_of = socket_of
        self._rare: ServerProtocol | None = None
        self._parts: tuple[Opcode, list[bytes]] | None = None
        self._waiting: bytes | None = None
        self._requested = 0
        self._ended = self._settled = False
        self.socket = NOWHERE
        self.peer: Peer | None = None
        self.taken = 0
        self.taken_bytes = 0
        self.blocked_s = 0.0

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        # Whatever does not go to the kernel at once counts as blocked: only the newest level is to wait. (TLS
        # transports take a limit of 0 to mean that they are always blocked.)
        self._transport.set_write_buffer_limits(high=0 if self._transport.can_write_eof() else 1, low=0)
        self.socket = self._own_socket = self._socket_of(self._transport)
        peername = transport.get_extra_info("peername")
        # One text for all that come from the same place.
        self.host = intern(str(peername[0]).removeprefix("::ffff:") if peername else "")
        self._reception.arrived(self)

    def data_received(self, data: bytes) -> None:
        """Take what came: what is usual at once, everything else by the way of the RFC."""
        rare = self._rare
        if rare is not None:
            if self._is_too_long(data) if self.peer is None else self._is_too_much(data, self.peer):
                return
        elif self._ended:
            if data[0] == _CLOSE and not self._transport.can_write_eof():
                self._transport.close()
            return
        elif self.peer is None:
            if self._is_too_long(data) or self._begin(data):
                return
            rare = self._rare = new_parser(State.CONNECTING, TEXT_BYTES)
        else:
            data = self._take_usual(data)
            if not data or self.peer is None:
                return
            rare = self._rare = new_parser(State.OPEN, self.peer.most_bytes)
        rare.receive_data(data)
        while rare.events and not self._ended:
            event = rare.events.pop(0)
            if isinstance(event, Request):
                self._answer(rare, event)
            else:
                self._take(cast(Frame, event))
        if isinstance(rare.handshake_exc, InvalidMessage):
            self.refuse(HTTPStatus.BAD_REQUEST, "this is not an HTTP request")
        self._settle(rare)

    def _take_usual(self, data: bytes) -> bytes:
        """Take whole messages, or refuse what is too much; return what is left for the way of the RFC."""
        peer = self.peer
        if peer is not None and is_keepalive(data):
            self.taken += 1
            if not self._settled:
                self._settled = True
                self._reception.hearing.add(self._own_socket, self._transport, self)
            peer.heard()
            return b""
        # Lamps tell numbers in two messages at once, and a gateway that is behind finds several of any kind.
        counted = False
        while data and peer is not None and not self._ended:
            if (rest := after_keepalive(data)) is not None:
                self.taken += 1
                if not self._reception.messages_left(self.taken):
                    self.close(CloseCode.TOO_MUCH, "too many messages", Reason.REFUSED)
                    break
                peer.heard()
            elif not counted and self._is_too_much(data, peer):
                break
            elif (text := whole_text(data, peer.most_bytes)) is not None:
                counted = True
                content, rest = text
                self.taken += 1
                self._hear(peer, content)
            else:
                return data
            data, peer = rest, self.peer
        return b""

    def _is_too_long(self, data: bytes) -> bool:
        self._requested += len(data)
        if self._requested <= REQUEST_BYTES:
            return False
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long")
        return True

    def _is_too_much(self, data: bytes, peer: Peer) -> bool:
        self.taken_bytes += len(data)
        if self._reception.bytes_left(self.taken_bytes, peer.most_bytes):
            return False
        self.close(CloseCode.TOO_MUCH, "too many bytes", Reason.REFUSED)
        return True

    def eof_received(self) -> bool:
        """Let the transport close: the client will send nothing more."""
        return False

    def pause_writing(self) -> None:
        """The client takes nothing for now."""
        self.blocked_s = self._reception.clock()
        self.socket = NOWHERE
        self._reception.blocked(self)
        if self.peer is not None:
            self.peer.turned()

    def resume_writing(self) -> None:
        """The client takes again: it gets the newest level, not those it missed."""
        self.blocked_s = 0.0
        self.socket = NOWHERE if self._ended else self._own_socket
        self._reception.flows(self)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._transport.write(waiting)
        if self.peer is not None:
            self.peer.turned()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody that it is over."""
        logger.debug("the connection is gone: %s", exc or "it was closed")
        self._end(Reason.CLOSED)
        self._reception.hearing.forget(self._own_socket)
        self._reception.left(self)

    # What the rest of the gateway calls.

    def send(self, frame: bytes, *, shows: bool = False) -> None:
        """Write a frame; it waits behind what waits already.

        Args:
            frame: What to write.
            shows: Whether it also tells what ``show`` does: then a frame that waits there is out of date.
        """
        if self._ended:
            return
        if shows:
            self._waiting = None
        if self._transport.get_write_buffer_size() > self._reception.waiting_bytes:
            self.close(CloseCode.TOO_MUCH, "too slow", Reason.SLOW)
        else:
            self._transport.write(frame)

    def show(self, frame: bytes) -> None:
        """Write a frame that makes those shown before worthless; of frames that have to wait only the newest stays."""
        if self.blocked_s:
            self._waiting = frame
        else:
            self._transport.write(frame)

    def finish(self, rest: bytes) -> None:
        """Write what the socket did not take of a frame."""
        self._transport.write(rest)

    def ping(self) -> None:
        """Ask whether the client lives; ``peer.stirred`` tells when it answers."""
        self.send(PING)

    def close(self, code: int, reason: str, why: Reason) -> None:
        """Close with a code and a sentence; ``why`` is what the fleet remembers."""
        if self._ended:
            return
        self._transport.write(close_frame(code, reason))
        self._finish(why)

    def refuse(self, status: HTTPStatus, text: str, retry_after_s: int = 0) -> None:
        """Answer the request, or what should have been one, with an HTTP error."""
        if not self._ended and self.peer is None:
            answer = new_parser(State.CONNECTING).reject(status, f"{text}\n")
            if retry_after_s:
                answer.headers["Retry-After"] = str(retry_after_s)
            self._transport.write(answer.serialize())
            self._finish(Reason.REFUSED)

    def abort(self) -> None:
        """Cut the connection; what waits is lost."""
        self._transport.abort()

    # The unusual.

    def _begin(self, data: bytes) -> bool:
        """Answer the usual request; return whether it was one."""
        usual = usual_handshake(data)
        if usual is None:
            return False
        handshake, answer = usual
        refusal = self._reception.refusal(self, handshake)
        if refusal is None:
            self._transport.write(answer)
            self._reception.opened(self, handshake)
        else:
            self.refuse(*refusal)
        return True

    def _answer(self, rare: ServerProtocol, request: Request) -> None:
        """Accept or refuse the handshake."""
        handshake = handshake_of(request)
        refusal = self._reception.refusal(self, handshake)
        # What was answered to frames in the same packet would come before the answer to the request.
        if refusal is None and (rare.writes or rare.events or rare.reader.buffer):
            refusal = Refusal(HTTPStatus.BAD_REQUEST, "wait for the answer to the handshake")
        if refusal is not None:
            self.refuse(*refusal)
            return
        rare.send_response(rare.accept(request))
        self._write_all(rare)
        if rare.state is State.OPEN:
            self._reception.opened(self, handshake)

    def _take(self, frame: Frame) -> None:
        """Take a frame that the protocol has checked; messages in parts are put together."""
        self.taken += 1
        peer = self.peer
        if peer is None:
            return
        if not self._reception.messages_left(self.taken):
            self.close(CloseCode.TOO_MUCH, "too many messages", Reason.REFUSED)
        elif frame.opcode in (Opcode.PING, Opcode.PONG):
            peer.stirred()
        elif frame.opcode is not Opcode.CLOSE:
            whole = self._join(frame)
            if whole is not None:
                self._deliver(peer, *whole)

    def _hear(self, peer: Peer, text: bytes) -> None:
        """Take a whole text message, unless there were too many."""
        if self._reception.messages_left(self.taken):
            self._deliver(peer, Opcode.TEXT, text)
        else:
            self.close(CloseCode.TOO_MUCH, "too many messages", Reason.REFUSED)

    def _join(self, frame: Frame) -> tuple[Opcode, bytes] | None:
        """Return kind and content of a message that ``frame`` completes."""
        data = bytes(frame.data)
        if frame.opcode is not Opcode.CONT:
            if frame.fin:
                return frame.opcode, data
            self._parts = (frame.opcode, [])
        assert self._parts is not None
        opcode, parts = self._parts
        # Parts that hold nothing may come for ever.
        if data:
            parts.append(data)
        if not frame.fin:
            return None
        self._parts = None
        return opcode, b"".join(parts)

    def _deliver(self, peer: Peer, opcode: Opcode, data: bytes) -> None:
        try:
            if opcode is Opcode.TEXT:
                peer.text(data.decode())
            else:
                peer.binary(data)
        except UnicodeDecodeError:
            self.close(StandardCode.INVALID_DATA, "a text message must be UTF-8", Reason.REFUSED)
        except ProtocolError as exc:
            self.close(exc.close_code, str(exc), Reason.REFUSED)

    def _settle(self, rare: ServerProtocol) -> None:
        """Write what the protocol has to say, and drop it when nothing is half read."""
        self._write_all(rare)
        if not self._ended and rare.state is State.OPEN and is_idle(rare):
            self._drop_rare()

    def _write_all(self, rare: ServerProtocol) -> None:
        if self._ended:
            return
        for data in rare.data_to_send():
            if not data:  # websockets' sign for the end of the stream
                self._finish(Reason.CLOSED if rare.parser_exc is None else Reason.REFUSED)
                return
            self._transport.write(data)

    def _finish(self, why: Reason) -> None:
        """Send nothing more, and let the client read what was sent: closing at once could make it lose that."""
        self._end(why)
        if self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError as exc:
                # The client has just gone, and the loop has not looked yet: that comes with its next turn.
                logger.debug("there is nobody to close for: %s", exc)
        elif why is Reason.CLOSED:
            # TLS cannot be closed by halves; but this client has said goodbye, and sends nothing more.
            self._transport.close()
        self._reception.closing(self)

    def _end(self, why: Reason) -> None:
        if self._ended:
            return
        self._ended = True
        self.socket = NOWHERE
        self._waiting = self._parts = None
        self._drop_rare()
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.lost(why)

    def _drop_rare(self) -> None:
        rare, self._rare = self._rare, None
        if rare is not None:
            let_go(rare)
