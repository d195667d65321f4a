"""Opens connections: TCP, and TLS on it. Nothing is left open when that fails or is given up."""

import asyncio
import errno
import socket
import ssl

#: The certificate that signs those of the fleet's gateways, DER.
CA_FILE = "ca.der"


def trust(file: str = CA_FILE):
    """Return what checks a gateway's certificate against the fleet's own.

    Raises:
        OSError: If there is no certificate to check against; nobody is trusted without.
        ValueError: If it is not one.
    """
    with open(file, "rb") as stream:
        data = stream.read()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # MicroPython's default is to check nothing.
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=data)
    return context


async def dial(address: str, port: int, context=None, host: str = "") -> tuple:
    """Return an open socket and its stream.

    Args:
        address: IPv4 address.
        port: TCP port.
        context: What checks the certificate, for TLS.
        host: Name or address that the certificate must be for.

    Raises:
        OSError: If it cannot be reached; a TLS socket tells that, and everything else, when it is first used.
    """
    sock = socket.socket()
    try:
        sock.setblocking(False)
        try:
            sock.connect(socket.getaddrinfo(address, port)[0][-1])
        except OSError as exc:
            if exc.errno != errno.EINPROGRESS:
                raise
        if context:
            sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            sock.setblocking(False)
        await _writable(sock)
        return sock, asyncio.StreamReader(sock)
    except BaseException:
        sock.close()
        raise


def _writable(sock):
    # As asyncio.open_connection does it, which leaks the socket when it is cancelled.
    yield asyncio.core._io_queue.queue_write(sock)
