"""Pictures are whole JPEGs; their size is read from whatever kind of frame they have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.messages import BINARY_BYTES, ProtocolError
from espfleet.domain.pictures import MAGIC, check_picture, size_of


def jpeg(marker: int, width: int = 320, height: int = 240) -> bytes:
    frame = bytes([0xFF, marker, 0, 11, 8, *height.to_bytes(2, "big"), *width.to_bytes(2, "big"), 1, 1, 0x22, 0])
    return b"\xff\xd8" + b"\xff\xe0\x00\x06JFIF" + b"\xff\xfe\x00\x04hi" + frame + b"\xff\xda\x00\x02\xff\xd9"


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2, 0xCF])
def test_the_size_is_read_from_baseline_and_progressive_pictures(marker: int) -> None:
    check_picture(jpeg(marker))
    assert size_of(jpeg(marker)) == (320, 240)


def test_a_picture_that_does_not_say_its_size_is_one_all_the_same() -> None:
    check_picture(MAGIC + b"\xda\x00\x02")
    assert size_of(MAGIC + b"\xda\x00\x02") is None


@pytest.mark.parametrize("data", [b"", MAGIC, b"\x89PNG\r\n\x1a\n", b"GIF89a", b"<svg>", b"\xff\xd8\x00\x00\x00"])
def test_what_is_no_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="JPEG"):
        check_picture(data)


def test_a_picture_has_at_most_a_mebibyte() -> None:
    check_picture(MAGIC.ljust(BINARY_BYTES, b"\0"))
    with pytest.raises(ProtocolError, match="1048576") as caught:
        check_picture(MAGIC.ljust(BINARY_BYTES + 1, b"\0"))
    assert caught.value.close_code == 4008


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(rest: bytes) -> None:
    found = size_of(MAGIC + rest)
    assert found is None or len(found) == 2
