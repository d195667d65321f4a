"""Reading a request: strict, and with a cap on everything. Borrowed by the exchange.

HTTP/1.0 or 1.1; a body comes with its length and is JSON or a form. Of the headers only those are looked at that decide
something, and each of them may stand once.
"""

import hashlib
import json

from micropython import const

from lamp import borrow
from lamp.http import HttpError

_HEAD_BYTES = const(2048)
_BODY_BYTES = const(2048)
_CHUNK = const(256)
_FIELDS = const(32)
# Brackets that a body may open: each takes memory while it is open.
_BRACKETS = const(64)

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_NAMES = ("host", "origin", "authorization", "content-type", "content-length", "transfer-encoding")


class Request:
    """What was asked.

    Attributes:
        method: Such as ``GET``.
        path: Without the query.
        headers: By name in lower case, those that are looked at.
        body: At most 2 KiB.
    """

    def __init__(self, method: str, path: str, headers: dict) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = b""

    def names(self, hostname: str) -> bool:
        """Tell whether the header Host is one that no stranger can make lead here: an address, or the lamp's name."""
        name, colon, port = self.headers.get("host", "").lower().partition(":")
        if colon and not (port.isdigit() and len(port) < 6):
            return False
        # HTTP/1.0 may have none, and is spoken by no browser.
        mine = ("", "localhost", hostname.lower(), hostname.lower() + ".local")
        return name in mine or borrow("urls").is_address(name)

    def shows(self, token: str) -> bool:
        """Tell whether the token came with it, if there is one; how long that takes says nothing about it."""
        if not token:
            return True
        shown = hashlib.sha256(self.headers.get("authorization", "").encode()).digest()
        wanted = hashlib.sha256(f"Bearer {token}".encode()).digest()
        return not int.from_bytes(shown, "big") ^ int.from_bytes(wanted, "big")

    def fields(self) -> dict:
        """Return the fields of the body, JSON or a form; those of a form are text.

        Raises:
            HttpError: If it is neither.
        """
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (_JSON, _FORM):
            raise HttpError(415, f"the body must be {_JSON} or {_FORM}")
        try:
            text = str(self.body, "utf-8")
            if text.count("[") + text.count("{") > _BRACKETS:
                raise ValueError
            values = json.loads(text) if kind == _JSON else form(text)
        except ValueError:
            # UnicodeError is one.
            raise HttpError(400, f"the body is not {kind}") from None
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise HttpError(400, "the body is not a JSON object")
        return values


async def read(stream):
    """Return the request, or ``None`` if the client went away without one.

    Raises:
        HttpError: If it is none that this server takes.
        OSError: If the connection breaks.
    """
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > _HEAD_BYTES:
            raise HttpError(431, f"the head of a request may have {_HEAD_BYTES} bytes")
        more = await stream.read(_CHUNK)
        if not more:
            if not data:
                return None
            raise HttpError(400, "the request ends in its head")
        data += more
        if not 65 <= data[0] <= 90:
            raise HttpError(400, "this is not HTTP")
    head, body = data[:end], data[end + 4 :]
    del data
    asked = parse(head)
    length = measure(asked)
    while len(body) < length:
        more = await stream.read(_CHUNK)
        if not more:
            raise HttpError(400, "the body is shorter than its Content-Length")
        body += more
    asked.body = body[:length]
    return asked


def parse(head: bytes) -> Request:
    """Return the request of a head, without its body.

    Raises:
        HttpError: If it is not one.
    """
    lines = head.split(b"\r\n")
    words = lines.pop(0).split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/"):
        raise HttpError(400, "the first line is not METHOD PATH HTTP/1.1")
    if words[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise HttpError(505, "this server speaks HTTP/1.0 and HTTP/1.1")
    method, path = printable(words[0]), printable(words[1])
    if not path.startswith("/"):
        raise HttpError(400, "the path must begin with /")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or b"\n" in line or b"\r" in line or b" " in name or b"\t" in name:
            raise HttpError(400, "a header is not NAME: VALUE")
        # Compared as bytes: what is turned into a name is kept for ever.
        name = name.lower()
        for known in _NAMES:
            if name == known.encode():
                if known in headers:
                    raise HttpError(400, f"the header {known} stands twice")
                headers[known] = printable(value.strip())
    if "host" not in headers and words[2] == b"HTTP/1.1":
        raise HttpError(400, "the header host is missing")
    return Request(method, path.partition("?")[0], headers)


def measure(asked: Request) -> int:
    """Return how many bytes the body has.

    Raises:
        HttpError: If that is not told, or too much.
    """
    if "transfer-encoding" in asked.headers:
        raise HttpError(411, "a body must come with its Content-Length, not in chunks")
    length = asked.headers.get("content-length")
    if length is None:
        if asked.method == "POST":
            raise HttpError(411, "a body must come with its Content-Length")
        return 0
    if not length.isdigit():
        raise HttpError(400, "Content-Length is not a number")
    if len(length) > 9 or int(length) > _BODY_BYTES:
        raise HttpError(413, f"a body may have {_BODY_BYTES} bytes")
    return int(length)


def printable(data: bytes) -> str:
    """Return ASCII as text.

    Raises:
        HttpError: If it is something else.
    """
    if not all(31 < byte < 127 or byte == 9 for byte in data):
        raise HttpError(400, "the head of the request is not ASCII")
    return data.decode()


def form(text: str) -> dict:
    """Return the fields of a form.

    Raises:
        ValueError: If it is not one.
    """
    values = {}
    pairs = text.split("&") if text else []
    if len(pairs) > _FIELDS:
        raise ValueError
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ValueError
        values[plain(name)] = plain(value)
    return values


def plain(text: str) -> str:
    """Return what ``%XX`` and ``+`` stand for.

    Raises:
        ValueError: If it is not encoded so.
    """
    first, *others = text.replace("+", " ").encode().split(b"%")
    data = bytearray(first)
    for other in others:
        digits = other[:2].lower()
        if len(digits) != 2 or not all(digit in b"0123456789abcdef" for digit in digits):
            raise ValueError
        data.append(int(digits, 16))
        data.extend(other[2:])
    return str(data, "utf-8")
