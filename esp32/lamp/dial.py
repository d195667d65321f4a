"""Opens connections to gateways: address, TCP, TLS, and the upgrade to WebSocket. Borrowed by the link."""

import asyncio
import binascii
import errno
import hashlib
import os
import socket
import ssl

from lamp import borrow
from lamp.link import LinkError
from lamp.ws import WebSocket

urls = borrow("urls")

#: The certificates that sign those of the fleet's gateways: one, or while they change two, DER.
CA_FILE = "ca.der"

_HEAD_BYTES = 2048
_CHUNK = 512
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def connect(url: str, dns: str, memory: dict, sockets: list):
    """Return a WebSocket.

    Args:
        url: Of the gateway.
        dns: ``ADDRESS[:PORT]`` of the DNS server.
        memory: Kept from one attempt to the next: by name the address it had last, and what checks certificates.
        sockets: Gets everything that the caller must close, in this order, also when this fails or is cancelled.

    Raises:
        LinkError: If no connection comes about.
    """
    secure, host, port, path = urls.split(url)
    if secure and "tls" not in memory:
        try:
            memory["tls"] = trust()
        except (OSError, ValueError):
            raise LinkError("there is no certificate of the fleet to know the gateway by") from None
    where = f"{host}:{port}"
    try:
        address = await find(host, dns, memory)
        stream = await dial(address, port, memory["tls"] if secure else None, host, sockets)
        return WebSocket(stream, stream, await upgrade(stream, stream, where, path))
    except OSError as exc:
        raise LinkError(f"{where} cannot be reached ({exc})") from None
    except EOFError:
        raise LinkError(f"{where} hangs up at once") from None
    except ValueError as exc:
        # So MicroPython tells of certificates.
        raise LinkError(f"{where} is not trusted ({str(exc).strip()})") from None


def trust(file: str = CA_FILE):
    """Return what checks a gateway's certificate against the fleet's own.

    Raises:
        OSError: If there is no certificate to check against; nobody is trusted without.
        ValueError: If there is something else.
    """
    with open(file, "rb") as stream:
        data = stream.read()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # MicroPython's default is to check nothing.
    context.verify_mode = ssl.CERT_REQUIRED
    # It reads one at a time; each begins with its length.
    while True:
        if data[:2] != b"\x30\x82":
            raise ValueError("not a certificate")
        end = 4 + (data[2] << 8 | data[3])
        context.load_verify_locations(cadata=data[:end])
        data = data[end:]
        if not data:
            return context


async def find(host: str, dns: str, memory: dict) -> str:
    """Return the IPv4 address of a host; where nobody answers, the last one known.

    Raises:
        OSError: If there is none.
    """
    if urls.is_address(host):
        return host
    server, _, port = dns.partition(":")
    try:
        memory[host] = await borrow("resolve").resolve(host, server, int(port or 53))
    except OSError:
        if host not in memory:
            raise
    return memory[host]


async def dial(address: str, port: int, context, host: str, sockets: list):
    """Return the stream of a new connection.

    Args:
        address: IPv4 address.
        port: TCP port.
        context: What checks the certificate, or ``None`` for no TLS.
        host: Name or address that the certificate must be for.
        sockets: Gets the sockets. A TLS socket whose handshake failed forgets to close the one below it.

    Raises:
        OSError: If it cannot be reached; a TLS socket tells that, and everything else, when it is first used.
    """
    sock = socket.socket()
    sockets.append(sock)
    sock.setblocking(False)
    try:
        sock.connect(socket.getaddrinfo(address, port)[0][-1])
    except OSError as exc:
        if exc.errno != errno.EINPROGRESS:
            raise
    if context:
        sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        sockets.insert(0, sock)
        sock.setblocking(False)
    await _writable(sock)
    return asyncio.StreamReader(sock)


def _writable(sock):
    # As asyncio.open_connection does it, which leaks the socket when it is cancelled.
    yield asyncio.core._io_queue.queue_write(sock)


async def upgrade(reader, writer, host: str, path: str) -> bytes:
    """Turn an HTTP connection into a WebSocket; return what the other side has sent beyond its answer.

    Raises:
        LinkError: If the other side does not want to, or does not speak WebSocket.
        EOFError, OSError: If the connection breaks.
    """
    key = binascii.b2a_base64(os.urandom(16)).strip()
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        more = await reader.read(_CHUNK)
        if not more:
            raise EOFError
        data += more
        if len(data) > _HEAD_BYTES:
            raise LinkError(f"{host} is no gateway: it answers with too much")
    status, *lines = data[:end].split(b"\r\n")
    words = status.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise LinkError(f"{host} is no gateway: it does not speak HTTP")
    fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    if words[1] != b"101":
        wait_s = fields.get(b"retry-after", b"")
        wait_ms = int(wait_s) * 1000 if wait_s.isdigit() and len(wait_s) < 7 else None
        raise LinkError(f"{host} answers HTTP {words[1].decode()}", wait_ms)
    accept = binascii.b2a_base64(hashlib.sha1(key + _GUID).digest()).strip()
    if fields.get(b"sec-websocket-accept") != accept or fields.get(b"upgrade", b"").lower() != b"websocket":
        raise LinkError(f"{host} is no gateway: it does not know WebSocket")
    return data[end + 4 :]
