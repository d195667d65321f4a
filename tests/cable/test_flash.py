"""Images of MicroPython, and esptool, which is never let near a port that may be somebody's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from espfleet.cable.flash import write_image
from espfleet.cable.images import CHIPS, Image, read_image
from espfleet.errors import CableError, InvalidError
from tests.cable.plugged import Cable
from tests.cli.conftest import Type
from tests.cli.conftest import home as home
from tests.cli.conftest import type_ as type_

#: Numbers of chips in the header of an image, as esptool has them.
NUMBERS = {"esp32": 0, "esp32s2": 2, "esp32c3": 5, "esp32s3": 9, "esp32c6": 13}


def image_file(folder: Path, chip: str, size: int = 1_700_000) -> str:
    path = folder / f"{chip}.bin"
    path.write_bytes((b"\xe9" + bytes(11) + NUMBERS[chip].to_bytes(2, "little")).ljust(size, b"\xff"))
    return str(path)


@pytest.mark.parametrize("chip", CHIPS)
def test_an_image_says_for_which_chip_it_is(tmp_path: Path, chip: str) -> None:
    found = read_image(image_file(tmp_path, chip), chip)
    assert (found.chip, found.offset) == (chip, 0x1000 if chip in ("esp32", "esp32s2") else 0)


@pytest.mark.parametrize("chip", CHIPS)
def test_esptool_knows_chips_by_the_same_numbers_and_places(chip: str) -> None:
    from esptool.targets import CHIP_DEFS

    assert NUMBERS[chip] == CHIP_DEFS[chip].IMAGE_CHIP_ID
    assert (0x1000 if chip in ("esp32", "esp32s2") else 0) == CHIP_DEFS[chip].BOOTLOADER_FLASH_OFFSET


def test_what_is_no_image_or_for_another_chip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="is for the esp32s3, not for the esp32c3"):
        read_image(image_file(tmp_path, "esp32s3"), "ESP32-C3")
    with pytest.raises(InvalidError, match="'esp8266' is not a chip of lamps: use one of esp32, "):
        read_image(image_file(tmp_path, "esp32"), "esp8266")
    with pytest.raises(InvalidError, match="cannot be read: No such file"):
        read_image(str(tmp_path / "nothing.bin"))
    with pytest.raises(InvalidError, match="is no MicroPython for a chip of lamps"):
        read_image(image_file(tmp_path, "esp32", size=4_000))
    (tmp_path / "page.bin").write_text("<!doctype html>" * 20_000)
    with pytest.raises(InvalidError, match="is no MicroPython for a chip of lamps"):
        read_image(str(tmp_path / "page.bin"))


def told(said: str, code: int = 2) -> str:
    """Return the sentence for what esptool says."""
    with pytest.raises(CableError) as failure:
        write_image("/dev/tty", Image(path=Path("x.bin"), chip="esp32", offset=0x1000), lambda *_: (code, said))
    return str(failure.value)


def test_esptool_gets_the_chip_and_the_place_of_the_image(cable: Cable, tmp_path: Path) -> None:
    calls: list[Sequence[str]] = []
    found = read_image(image_file(tmp_path, "esp32s2"))
    write_image(cable.port, found, lambda command, _: (calls.append(command) or 0, ""))
    assert calls[0][1:5] == ["-m", "esptool", "--chip", "esp32s2"]
    assert calls[0][-4:] == ["write-flash", "--erase-all", "0x1000", str(found.path)]
    # Each word is one that esptool knows.
    helped = subprocess.run(
        [sys.executable, "-m", "esptool", "write-flash", "--help"], capture_output=True, text=True, timeout=50
    )
    assert helped.returncode == 0
    assert "--erase-all" in helped.stdout


def test_what_esptool_says_becomes_one_sentence(cable: Cable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espfleet.cable.flash.check_port", lambda _: None)
    assert "hold its BOOT button" in told(
        "A fatal error occurred: Failed to connect to ESP32: No serial data received."
    )
    assert "for another chip" in told("A fatal error occurred: This chip is ESP32-S3, not ESP32. Wrong chip argument?")
    assert "esptool says 'A fatal error occurred: MD5 of file does not match'" in told(
        "Writing...\nA fatal error occurred: MD5 of file does not match\n\n"
    )
    assert "esptool ended without a word" in told("")


def test_a_chip_that_does_not_answer_the_real_esptool_is_one_sentence(
    type_: Type, cable: Cable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would try for half a minute.
    monkeypatch.setattr("espfleet.cable.flash.ATTEMPTS", 1)
    done = type_("flash", cable.port, "--image", image_file(tmp_path, "esp32"))
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert "the chip does not answer: hold its BOOT button" in done.err


def test_a_chip_without_an_image_is_refused(type_: Type) -> None:
    assert "add --image FILE" in type_("flash", "/dev/nothing", "--chip", "esp32").err
