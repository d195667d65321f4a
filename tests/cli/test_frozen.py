"""What is typed while Redis is frozen: it takes connections, and answers nothing."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from espfleet import logs
from espfleet.store.embedded import embedded_server
from tests.cli.conftest import Type
from tests.own_time import calm_s
from tests.servers import free_ports, serving

#: A command gives up after 4 s, besides its own start; a worker's patience, or a second try, would take 10 s or more.
WITHIN_S = 9.0


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Keep a process stopped."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("words", ["devices", "why hall", "register 192.0.2.7 porch --id 3c71bff93720"])
def test_a_command_says_soon_that_a_frozen_redis_does_not_answer(
    type_: Type, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    [port] = free_ports(1)
    with serving(port=port) as server:
        monkeypatch.setenv("REDIS_URL", f"{server.url}/0")
        assert type_("rooms").code == 0
        with frozen(server.process.pid):
            began_s = calm_s()
            answer = type_(*words.split())
            took_s = calm_s() - began_s
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"espfleet: Redis at {server.url}/0 does not answer: no answer in time\n"
    assert took_s < WITHIN_S


@pytest.mark.parametrize("word", ["devices", "up"])
def test_a_command_says_soon_that_the_frozen_server_of_its_data_folder_does_not_answer(
    type_: Type, home: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.delenv("REDIS_URL")
    # It would be for the whole run of the tests.
    monkeypatch.setattr(logs, "set_up", lambda *_: None)
    data = home / ".espfleet"
    with embedded_server(data):
        assert type_("rooms").code == 0
        pid = int((data / "redis.pid").read_text())
        with frozen(pid):
            began_s = calm_s()
            answer = type_(word)
            took_s = calm_s() - began_s
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        f"espfleet: the embedded Redis of {data} runs (process {pid}) but does not answer: "
        f"'kill -CONT {pid}' lets a stopped one go on, 'kill -9 {pid}' ends it\n"
    )
    assert took_s < WITHIN_S
