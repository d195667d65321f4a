"""What all tests stand on: a Redis of their own, marks, and waiting for things to become true."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import inspect
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.keys import Keys
from espfleet.store.urls import parse_url
from tests.janitor import processes_of

# A busy machine makes no test wrong.
settings.register_profile("fleet", deadline=None)
settings.load_profile("fleet")

# --- nothing of the developer's own may reach the tests, nor the tests it

for _name in [name for name in os.environ if name == "REDIS_URL" or name.startswith("ESPFLEET_")]:
    del os.environ[_name]

#: On which Redis the tests run: ``single``, ``sentinel``, or ``cluster`` (six servers).
TESTS_ON = os.environ.get("TESTS_ON", "single")
#: Everything that tests put on disk, and the sockets of their servers; short, for socket paths are limited.
TEST_FOLDER = Path(tempfile.mkdtemp(prefix="ef"))
os.environ["TMPDIR"] = tempfile.tempdir = str(TEST_FOLDER)
#: Cleans up after a run that is killed; it learns by the end of its standard input.
JANITOR = subprocess.Popen(
    [sys.executable, "-I", str(Path(__file__).with_name("janitor.py")), str(TEST_FOLDER)],
    stdin=subprocess.PIPE,
    start_new_session=True,
)


@atexit.register
def _dismiss_janitor() -> None:
    if JANITOR.stdin is not None:
        JANITOR.stdin.close()
    JANITOR.wait()


#: Where a developer's own Redis listens.
USUAL_REDIS_PORT = 6379


def _refuse_usual_redis(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple) and args[1][1] == USUAL_REDIS_PORT:
        raise RuntimeError("a test wanted to connect to the usual port of Redis, where somebody's own may be")


sys.addaudithook(_refuse_usual_redis)


#: Files that take long, the longest first: begun last, one of them would keep all other workers waiting.
LONG = (
    "tests/test_fresh_clone.py",
    "tests/chaos/test_chaos.py",
    "tests/web/test_fuzz.py",
    "tests/web/test_browser.py",
    "tests/web/test_browser_people.py",
    "tests/whole/test_up.py",
    "tests/whole/test_honesty.py",
    "tests/whole/test_sharing.py",
    "tests/store/test_listening.py",
    "tests/firmware/test_updates.py",
    "tests/firmware/test_page.py",
    "tests/firmware/test_with_gateway.py",
    "tests/deploy/test_rights.py",
    "tests/firmware/test_ws.py",
    "tests/firmware/test_endurance.py",
    "tests/test_setup.py",
    "tests/whole/test_firmware.py",
    "tests/whole/test_outages.py",
    "tests/workers/test_many_boards.py",
    "tests/whole/test_processes.py",
    "tests/cable/test_provision.py",
    "tests/web/test_hub.py",
    "tests/gateway/test_rfc6455.py",
    "tests/whole/",
    "tests/gateway/test_outages.py",
    "tests/simulator/test_swarm.py",
    "tests/machines/",
    "tests/gateway/test_viewers.py",
    "tests/deploy/",
    "tests/workers/",
    "tests/domain/test_levels.py",
    "tests/store/test_arrangements.py",
    "tests/gateway/",
    "tests/web/",
    "tests/attack/",
    "tests/firmware/",
    "tests/simulator/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long; with ``--no-loadscope-reorder`` the workers take files in this order."""
    items.sort(key=lambda item: next((place for place, name in enumerate(LONG) if item.nodeid.startswith(name)), 99))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while modules are imported: there is hardly any, and it takes a sixth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Keep the collector from walking over all modules and tests again and again."""
    gc.collect()
    gc.freeze()
    # Each gateway asks, and each time all of a million would be counted.
    gc.get_freeze_count = functools.cache(gc.get_freeze_count)


# --- marks


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here, and say why; on a build server it must run."""
    reasons = []
    if item.get_closest_marker("root") and os.geteuid() != 0:
        reasons.append("needs root")
    for mark in item.iter_markers("package"):
        if not _installed(mark.args[0]):
            reasons.append(f"needs the Debian package {mark.args[0]}")
    if TESTS_ON != "single" and item.get_closest_marker("single"):
        reasons.append("speaks to one server alone")
    if reasons:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("; ".join(reasons))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test that skips itself fail on a build server: there, nothing may be missing."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome, report.longrepr = "failed", f"skipped on a build server: {report.longrepr}"
    return report


def _installed(package: str) -> bool:
    if shutil.which(package):
        return True
    if not shutil.which("dpkg-query"):
        return False
    told = subprocess.run(
        ["dpkg-query", "-W", "-f=${Status}", package], capture_output=True, text=True, timeout=30, check=False
    )
    return told.stdout == "install ok installed"


# --- Redis


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of the Redis that belongs to this run of the tests: one server, or what TESTS_ON names."""
    # They stand on this module.
    from tests.servers import clustered, watched

    if TESTS_ON == "cluster":
        with clustered(3, 3) as url:
            yield url
    elif TESTS_ON == "sentinel":
        with watched() as (url, _):
            yield url
    else:
        with embedded_server(TEST_FOLDER / "r") as url:
            yield url


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """Return an empty fleet; afterwards, every key it has must expire, be cut, or be meant to stay."""
    async with emptied_store(redis_url) as opened:
        yield opened
        await check_lifetimes(opened)


@contextlib.asynccontextmanager
async def emptied_store(url: str) -> AsyncIterator[Store]:
    """Open a fleet on a server of the tests, and only there, with nothing in it."""
    if not url.startswith((f"unix://{TEST_FOLDER}/", "redis+cluster://127.0.0.1:", "redis+sentinel://127.0.0.1:")):
        raise RuntimeError(f"{url} is not a server of these tests: it is not emptied")
    if (path := parse_url(url).path) is not None:
        _flush(path)
    else:
        # Under another prefix, for a test may have left a fleet that cannot be opened.
        async with open_store(url, name="emptier", keys=Keys("emptier:")) as first:
            await first.redis.flushall()
    async with open_store(url, name="test") as opened:
        yield opened


def _flush(path: str) -> None:
    """Empty the server behind a socket, at a twentieth of what opening a store on it costs."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(60)
        line.connect(path)
        line.sendall(b"FLUSHALL\r\n")
        assert line.recv(64) == b"+OK\r\n"


async def check_lifetimes(store: Store) -> None:
    """Fail if a key neither expires nor is listed in ``store/keys.py`` as one that may stay."""
    for_ever = []
    async for key in store.redis.scan_iter(count=1_000):
        if await store.redis.pttl(key) == -1 and not store.keys.may_stay(key.decode()):
            for_ever.append(key.decode())
    assert not for_ever, f"these keys stay for ever: {for_ever}"


# --- waiting


async def wait_until(
    predicate: Callable[[], object | Awaitable[object]], timeout_s: float = 30.0, what: str = ""
) -> object:
    """Return the first true value of ``predicate``, plain or async; fail after ``timeout_s``."""
    end = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what or inspect.getsource(predicate).strip()}"
        await asyncio.sleep(0.01)


# --- leaving nothing behind


@pytest.fixture(scope="session", autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail if a process of the tests is still there at the end; remove their files."""
    yield
    end = time.monotonic() + 5.0
    while (left := _processes_of_tests()) and time.monotonic() < end:
        time.sleep(0.05)
    _dismiss_janitor()
    assert not left, f"these processes are still there: {left}"


def _processes_of_tests() -> list[str]:
    """Return children of this process, and whatever works in the folder of the tests or names it."""
    found = processes_of(TEST_FOLDER)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if words and parent == os.getpid():
                found[int(process.name)] = words
    return [f"{pid} {words}" for pid, words in found.items() if pid not in (os.getpid(), JANITOR.pid)]
