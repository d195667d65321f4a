"""The lamp's program as a whole: small, in its layers, and complete wherever it is listed."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from lamp import settings
from tests.firmware.boards import Firmware
from tests.firmware.conftest import ROOT
from tests.rules import for_each

ESP32 = ROOT / "esp32"
LAMP = ESP32 / "lamp"
MODULES = sorted(LAMP.rglob("*.py"))
#: Modules that only a chip has.
HARDWARE = {"machine", "network", "esp32", "neopixel", "dht", "bluetooth", "espnow"}
#: Needed now and then: nobody may keep them.
BORROWED = {
    "board.air", "board.chips", "board.pins", "board.vault", "checks", "commands", "dial", "exchange", "flash",
    "looking", "page", "portal", "portal_names", "portal_page", "release", "request", "resolve", "routes", "settings",
    "telling", "trial", "update", "urls",
}  # fmt: skip
MPY_BYTES = 60_000
MOST_LINES = 300


def shown(path: Path) -> str:
    return str(path.relative_to(LAMP))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@for_each(MODULES, shown)
def test_only_the_board_knows_hardware(path: Path) -> None:
    if "board" not in path.relative_to(LAMP).parts:
        assert not {name.split(".")[0] for name in imports(path)} & HARDWARE


@for_each(MODULES, shown)
def test_what_is_borrowed_is_not_kept_by_an_import(path: Path) -> None:
    assert not {name.removeprefix("lamp.") for name in imports(path)} & BORROWED


def test_what_is_borrowed_exists_and_is_listed_here() -> None:
    asked = {name for path in MODULES for name in re.findall(r'(?:borrow|lend)\("([\w.]+)"\)', path.read_text())}
    assert asked == BORROWED


@for_each(MODULES, shown)
def test_no_module_holds_two_things(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@for_each([*MODULES, *(ESP32 / "examples").glob("*.py")], lambda path: path.name)
def test_nothing_is_asked_of_the_clock_that_jumps(path: Path) -> None:
    assert not re.search(r"\btime\.(time|localtime|gmtime)\(", path.read_text())


def test_the_program_is_small(firmware: Firmware) -> None:
    sizes = {str(path): path.stat().st_size for path in (firmware.folder / "lamp").rglob("*.mpy")}
    assert len(sizes) == len(MODULES)
    assert sum(sizes.values()) <= MPY_BYTES, sizes


def test_the_package_for_mip_lists_every_file() -> None:
    package = json.loads((ESP32 / "package.json").read_text())
    files = {str(path.relative_to(ESP32)) for path in MODULES} | {"boot.py", "main.py", "slots.py"}
    assert {target for target, _ in package["urls"]} == files
    assert {source for _, source in package["urls"]} == files
    assert package["version"] == re.search(r'VERSION = "(.*)"', (LAMP / "__init__.py").read_text())[1]  # type: ignore[index]


def test_the_manifest_freezes_what_exists() -> None:
    frozen: list[str] = []

    def include(path: str) -> None:
        assert path.startswith("$(PORT_DIR)/")

    def package(name: str, opt: int) -> None:
        assert (ESP32 / name / "__init__.py").exists()
        frozen.append(name)

    def module(name: str, opt: int) -> None:
        assert (ESP32 / name).exists()
        frozen.append(name)

    exec((ESP32 / "manifest.py").read_text(), {"include": include, "package": package, "module": module})
    assert frozen == ["lamp", "slots.py", "main.py"]


def test_every_setting_is_documented_with_its_default() -> None:
    section = (ROOT / "docs" / "firmware.md").read_text().partition("| key | default |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", section, re.MULTILINE)
    documented = {key: json.loads(default) for key, default in rows}
    assert documented == {key: row[0] for key, row in settings.TABLE.items()}
