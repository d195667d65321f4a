"""How a lamp reads requests, on CPython: whatever comes, it is understood or refused."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamp import request
from lamp.http import HttpError


class Stream:
    """A connection on which this has come, in pieces."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._data = data
        self._piece = piece

    async def read(self, most: int) -> bytes:
        size = min(most, self._piece)
        data, self._data = self._data[:size], self._data[size:]
        return data


def read(data: bytes, piece: int = 100) -> request.Request | None:
    return asyncio.run(request.read(Stream(data, piece)))


FIELDS = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=6)


@given(FIELDS)
def test_a_form_is_read_as_browsers_write_it(fields: dict[str, str]) -> None:
    assert request.form(urlencode(fields)) == fields


@given(st.text(alphabet="ab%=&+0fF é", max_size=20))
def test_no_form_breaks_it(text: str) -> None:
    try:
        assert isinstance(request.form(text), dict)
    except ValueError:
        assert text


@given(st.integers(1, 300), st.binary(max_size=40))
def test_a_request_may_come_in_pieces(piece: int, body: bytes) -> None:
    head = b"POST /level?a=b HTTP/1.1\r\nhOsT:\t127.0.0.1 \r\nX: y\r\nContent-Length: %d\r\n\r\n" % len(body)
    asked = read(head + body + b"more", piece)
    assert asked is not None
    assert (asked.method, asked.path, asked.body) == ("POST", "/level", body)
    assert asked.headers == {"host": "127.0.0.1", "content-length": str(len(body))}


@given(st.binary(max_size=300), st.integers(1, 64))
def test_no_bytes_break_it(data: bytes, piece: int) -> None:
    for beginning in (b"", b"GET / HTTP/1.0\r\n", b"POST / HTTP/1.0\r\nContent-Length: 5\r\n"):
        refused = None
        try:
            assert read(beginning + data + b"\r\n\r\n12345", piece) is not None
        except HttpError as exc:
            refused = exc
        assert refused is None or 400 <= refused.args[0] < 600


def test_nothing_is_not_a_request() -> None:
    assert read(b"") is None


@pytest.mark.parametrize("length", ["٣", "²", "0x1", "+1", "1 ", "1,1"])
def test_only_digits_are_a_length(length: str) -> None:
    with pytest.raises(HttpError):
        read(b"POST / HTTP/1.0\r\nContent-Length: a" + length.encode() + b"\r\n\r\n1")


@given(st.text(alphabet="abc 1", max_size=6), st.text(alphabet="abc 1", min_size=1, max_size=6))
def test_only_the_token_itself_is_trusted(shown: str, token: str) -> None:
    asked = request.Request("POST", "/level", {"authorization": f"Bearer {shown}"})
    assert asked.shows(token) == (shown == token)
    assert asked.shows("")
    assert not request.Request("POST", "/level", {}).shows(token)


@given(st.text(max_size=20))
def test_no_name_of_a_stranger_is_the_lamp(host: str) -> None:
    name = host.lower().partition(":")[0]
    parts = name.split(".")
    address = len(parts) == 4 and all(part.isdigit() for part in parts)
    if request.Request("GET", "/", {"host": host}).names("porch"):
        assert address or name in ("", "localhost", "porch", "porch.local")
