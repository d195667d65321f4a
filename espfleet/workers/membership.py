"""Who else does the same work: heartbeats in Redis, and the share of each worker."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from typing import Any

from espfleet.store import workers
from espfleet.store.client import Store

BEAT_S = 1.0
#: A worker that has not beaten for so long has lost its share; one whose work must move sooner beats more often.
LIFE_MS = 3_000


def worker_name() -> str:
    """Return a name for this process that no other has: host, process id and four random digits."""
    host = "".join(char for char in socket.gethostname() if char.isalnum() or char == "-")[:32]
    return f"{host or 'host'}-{os.getpid()}-{secrets.token_hex(2)}"


class Membership:
    """This worker among those of its role.

    Args:
        store: Where the heartbeats are.
        role: What the worker does.
        name: Its name.
        life_ms: How long it counts as alive after a beat.

    Attributes:
        members: What each living worker tells of itself, by name; includes this one after the first beat.
    """

    def __init__(self, store: Store, role: str, name: str, life_ms: int = LIFE_MS) -> None:
        self.members: Mapping[str, Mapping[str, Any]] = {}
        self._store = store
        self._role = role
        self._name = name
        self._life_ms = life_ms

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the living workers, in order."""
        return tuple(sorted(self.members))

    async def beat(self, info: Mapping[str, Any]) -> bool:
        """Tell that this worker lives, and read who else does; return whether the workers changed."""
        before = self.names
        await workers.beat(self._store, self._role, self._name, dict(info), self._life_ms)
        self.members = await workers.alive(self._store, self._role, self._life_ms)
        return self.names != before

    async def leave(self) -> None:
        """Give up the share at once."""
        await workers.leave(self._store, self._role, self._name)
