"""Updates of firmware: offers sealed for one lamp, pieces of releases, and what becomes of it.

Lamps ask for one piece at a time and are answered from memory, so that nobody waits for anybody. Whatever has to be
read from Redis, or told to it, ``run`` does one after the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from espfleet.domain import releases as rules
from espfleet.domain.messages import Fetch, LampEvent
from espfleet.domain.releases import Release
from espfleet.errors import StoreError
from espfleet.gateway.commands import Commands
from espfleet.gateway.frames import binary_frame
from espfleet.gateway.sessions import Session
from espfleet.store import releases
from espfleet.store.client import Store

logger = logging.getLogger(__name__)

ACTION = "update"
#: Releases kept in memory, each of up to 270 KB.
KEPT = 4
RETRY_S = 0.5


class Updates:
    """Everything about updates at one gateway."""

    def __init__(self, store: Store, commands: Commands, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._commands = commands
        self._now_ms = now_ms
        self._known: OrderedDict[str, Release] = OrderedDict()
        self._offers: dict[Session, Mapping[str, Any]] = {}
        self._asked: dict[Session, Fetch] = {}
        self._told: dict[str, dict[str, str | int]] = {}
        self._wake = asyncio.Event()
        commands.detours[ACTION] = self.offer

    def offer(self, session: Session, command: Mapping[str, Any]) -> None:
        """Offer a lamp the release that a command names, as soon as it is read."""
        self._offers[session] = command
        self._wake.set()

    def asked(self, session: Session, fetch: Fetch) -> None:
        """Send a lamp the piece it asks for; a lamp that takes nothing now will ask again."""
        release = self._known.get(fetch.release)
        if release is None:
            self._asked[session] = fetch
            self._wake.set()
        else:
            self._known.move_to_end(fetch.release)
            self._send(session, fetch, release.piece(fetch.at, fetch.size))

    def came(self, session: Session) -> None:
        """Note what a lamp said in its hello about its last update."""
        standing = session.standing
        if standing is not None:
            fields = {"state": standing.state, "slot": standing.slot, "bad": standing.bad, "why": standing.why}
            if standing.state in ("trial", "running"):
                fields["version"] = session.firmware
            self._tell(session, fields)

    def happened(self, session: Session, event: LampEvent) -> None:
        """Note what a lamp tells while it is updated."""
        if event.name == rules.EVENT and (fields := rules.told(event.fields)):
            self._tell(session, fields)

    async def run(self) -> None:
        """Read and tell Redis what waits, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                # What comes meanwhile waits for the next round: who asks again and again holds up nobody.
                await self._answer_all()
                for device_id in [*self._told]:
                    await self._tell_one(device_id)
            except StoreError as exc:
                logger.debug("updates wait for Redis: %s", exc)
                # Lamps ask again by themselves; whoever ordered an update has been told that it did not begin.
                self._offers.clear()
                self._asked.clear()
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _answer_all(self) -> None:
        offers, self._offers = self._offers, {}
        for session, command in offers.items():
            await self._offer(session, command)
        asked, self._asked = self._asked, {}
        for session, fetch in asked.items():
            release = await self._load(fetch.release)
            # Nothing, where something must be, tells the lamp that the release is gone.
            self._send(session, fetch, b"" if release is None else release.piece(fetch.at, fetch.size))

    async def _offer(self, session: Session, command: Mapping[str, Any]) -> None:
        arguments = command.get("arguments")
        name = arguments.get("release") if isinstance(arguments, Mapping) else None
        release = await self._load(name) if isinstance(name, str) else None
        if release is None:
            self._commands.refuse(session, str(command.get("id", "")), "there is no such release (any more)")
        elif not session.update_key:
            self._commands.refuse(
                session, str(command.get("id", "")), f"{session.device.name} has no token to seal an update with"
            )
        else:
            offer = {
                "release": release.id,
                "manifest_bytes": len(release.manifest),
                "hmac": rules.seal(session.update_key, release.manifest),
            }
            self._commands.pass_on(session, {**command, "arguments": offer})

    async def _load(self, release_id: str) -> Release | None:
        release = self._known.get(release_id) or await releases.get(self._store, release_id[: rules.ID_CHARS])
        if release is not None:
            self._known[release_id] = release
            self._known.move_to_end(release_id)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return release

    def _send(self, session: Session, fetch: Fetch, piece: bytes) -> None:
        if not session.connection.blocked_s:
            session.connection.send(binary_frame(rules.framed(fetch.at, piece)))

    def _tell(self, session: Session, fields: Mapping[str, str | int]) -> None:
        known = self._told.get(session.device.id, {})
        self._told[session.device.id] = {**known, **fields, "at_ms": self._now_ms()}
        self._wake.set()

    async def _tell_one(self, device_id: str) -> None:
        fields = self._told.pop(device_id)
        try:
            await releases.put_progress(self._store, device_id, fields)
        except StoreError:
            self._told[device_id] = {**fields, **self._told.get(device_id, {})}
            raise
