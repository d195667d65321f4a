"""What the documentation says exists."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.run import discover
from espfleet.cli import root
from tests.rules import for_each

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
BOARD_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "esp32" / "Makefile").read_text(), re.MULTILINE))
BENCHES = discover(ROOT / "bench")
# Understood by every command, or by ./espcli itself.
EVERYWHERE = {"json", "help"}
SET_UP = {"setup": {"dev"}}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(text: str) -> Iterator[str]:
    """Yield every line of the code blocks, and every piece of code in the text around them."""
    blocks = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
    for block in blocks.findall(text):
        yield from block.splitlines()[1:-1]
    yield from re.findall(r"`([^`\n]+)`", blocks.sub("", text))


def commands(program: str) -> list[tuple[str, str]]:
    """Return every command of the documentation that starts this program, with its page."""
    found = []
    for page in PAGES:
        for line in code(page.read_text()):
            for part in re.split(r"&&|\|\||[;|]", line.partition(" #")[0]):
                words = part.strip().removeprefix("$ ")
                if words == program or words.startswith(program + " "):
                    found.append((shown(page), words))
    return sorted(set(found))


def is_placeholder(word: str) -> bool:
    """Say whether a word stands for another, as ``NAME`` and ``…`` do."""
    return not re.search("[a-z]", word)


def class_returned(function: Any) -> type | None:
    """Return the class of commands that a function says it returns; ``cli/root.py`` imports it for its type only."""
    annotation = inspect.signature(function).return_annotation
    beside = getattr(inspect.getmodule(function), str(annotation), None)
    if inspect.isclass(beside):
        return beside
    for node in ast.walk(ast.parse(inspect.getsource(root))):
        if isinstance(node, ast.ImportFrom) and annotation in [alias.name for alias in node.names]:
            found = getattr(importlib.import_module(str(node.module)), str(annotation))
            return found if inspect.isclass(found) else None
    return None


def parameters(function: Any) -> dict[str, inspect.Parameter]:
    return {name: what for name, what in inspect.signature(function).parameters.items() if name != "self"}


def check_command(words: list[str]) -> None:
    """Follow the words of a command down the tree of commands, and look at its options."""
    if words and words[0] in SET_UP:
        assert {word[2:] for word in words[1:]} <= SET_UP[words[0]] | EVERYWHERE
        return
    here: Any = root.Cli
    plain = [word for word in words if not word.startswith("--")]
    allowed = set(EVERYWHERE)
    while plain and not is_placeholder(plain[0]):
        word = plain.pop(0)
        assert hasattr(here, word), f"there is no {word!r}"
        here = inspect.getattr_static(here, word)
        if isinstance(here, property):
            here = here.fget
        if inspect.isfunction(here):
            takes = parameters(here)
            allowed |= {name.replace("_", "-") for name in takes} | set(takes) | {f"no{name}" for name in takes}
            below = class_returned(here)
            if below is None:
                break
            # The name of the thing; what comes next is done to it.
            plain = plain[len(takes) :]
            here = below
        elif not inspect.isclass(here):
            here = type(here)
    options = {re.split("[= ]", word[2:])[0] for word in words if word.startswith("--")}
    assert options <= allowed, f"there is no option {options - allowed}"


@for_each(commands("./espcli"))
def test_every_command_of_the_documentation_exists(found: tuple[str, str]) -> None:
    _, command = found
    check_command(shlex.split(command)[1:])


@pytest.mark.parametrize("command", ["levitate", "device porch levitate", "devices --levitate", "setup --levitate"])
def test_a_command_that_does_not_exist_would_be_found(command: str) -> None:
    with pytest.raises(AssertionError):
        check_command(command.split())


@for_each(commands("make"))
def test_every_make_target_of_the_documentation_exists(found: tuple[str, str]) -> None:
    _, command = found
    words = shlex.split(command)[1:]
    targets = TARGETS
    if words[:2] == ["-C", "esp32"]:
        words, targets = words[2:], BOARD_TARGETS
    assert {word for word in words if "=" not in word and not is_placeholder(word)} <= targets
    for names in [word.removeprefix("BENCH=") for word in words if word.startswith("BENCH=")]:
        assert set(names.split()) <= BENCHES.keys()


def test_make_says_what_each_target_does() -> None:
    said = set(re.findall(r"^([a-z-]+):.*## \w", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert said == TARGETS


def slug(heading: str) -> str:
    """Return the anchor that a heading gets on the usual hosts of repositories."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def links() -> list[tuple[str, str]]:
    found = [(shown(page), link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    return sorted({(page, link) for page, link in found if "://" not in link and not link.startswith("mailto:")})


@for_each(links())
def test_every_link_leads_somewhere(found: tuple[str, str]) -> None:
    page, link = found
    path, _, anchor = link.partition("#")
    there = (ROOT / page).parent / path if path else ROOT / page
    assert there.exists(), f"{path} does not exist"
    if anchor:
        headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
        assert anchor in map(slug, headings), f"{path or page} has no heading {anchor!r}"


@pytest.mark.parametrize("page", [shown(page) for page in PAGES if page.parent != ROOT])
def test_every_page_can_be_found_from_another(page: str) -> None:
    linked = {((ROOT / other).parent / link.partition("#")[0]).resolve() for other, link in links() if other != page}
    assert (ROOT / page).resolve() in linked


PIPFILE = tomllib.loads((ROOT / "Pipfile").read_text())


@pytest.mark.parametrize("package", [*PIPFILE["packages"], *PIPFILE["dev-packages"]])
def test_every_dependency_has_a_line_that_says_why(package: str) -> None:
    assert re.search(rf"^\| \[?`{re.escape(package)}`", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE)
