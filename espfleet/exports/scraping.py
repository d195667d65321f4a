"""The HTTP server of ``/metrics``: a thread for each who fetches, and an end to all of it.

The one of ``prometheus_client`` waits for ever, in as many threads as somebody opens connections.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from espfleet.domain.attempts import source_of
from espfleet.domain.places import Places

logger = logging.getLogger(__name__)

#: So many are answered at once, in all and from one source; more are cut.
AT_ONCE = 32
AT_ONCE_PER_SOURCE = 8
#: From the connection to the end of the answer.
WITHIN_S = 10.0

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ScrapeServer(ThreadingMixIn, WSGIServer):
    """Serves one application to few, each for a short time.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        app: What is served.

    Raises:
        OSError: If the address cannot be listened on.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, app: App) -> None:
        self.address_family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        super().__init__(address, _Silent)  # type: ignore[arg-type]
        self.set_app(self._guarded(app))
        self._lock = threading.Lock()
        self._places = Places(AT_ONCE, AT_ONCE_PER_SOURCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give somebody a thread, if there is one left."""
        source = source_of(client_address[0])
        with self._lock:
            fits = self._places.fit(source)
            if fits:
                self._places.take(source)
        if fits:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and hang up on who is too slow."""
        cut = threading.Timer(WITHIN_S, _hang_up, (request,))
        cut.daemon = True
        cut.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            cut.cancel()
            with self._lock:
                self._places.free(source_of(client_address[0]))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note that somebody went away; the library would print it."""
        del request
        logger.debug("/metrics could not be told to %s", client_address[0], exc_info=True)

    def _guarded(self, app: App) -> App:
        """Return the application for those who mean this server: no name that somebody lets point here (rebinding)."""
        is_here = ipaddress.ip_address(str(self.server_address[0])).is_loopback

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            if is_here and not _is_address(str(environ.get("HTTP_HOST", "localhost"))):
                start("403 Forbidden", [("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff")])
                return [b"this server answers as localhost, or by its address\n"]
            return app(environ, start)

        return answer


class _Silent(WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def _is_address(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name.lower() == "localhost"
    return True


def _hang_up(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
