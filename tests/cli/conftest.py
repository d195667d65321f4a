"""A fleet for commands: each test has an empty one, and types words as a user does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from espfleet.cli.main import run


@dataclass(frozen=True)
class Typed:
    """What came of a command: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Type = Callable[..., Typed]


@pytest.fixture
def home(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of an empty fleet on the Redis of the tests."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    client.close()
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("ESPFLEET_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def type_(home: Path, capsys: pytest.CaptureFixture[str]) -> Type:
    """Run one command of the fleet in ``home``."""

    def typed(*words: str) -> Typed:
        capsys.readouterr()
        code = run(list(words))
        out, err = capsys.readouterr()
        return Typed(code, out, err)

    return typed
