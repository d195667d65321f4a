"""Releases for tests, and gateways that hand them out as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esp32 import build
from espfleet.domain.releases import Release, framed, new_release, seal, update_key
from tests.firmware.boards import Firmware
from tests.firmware.servers import BINARY, CLOSE, TEXT, Peer, frame

#: Token of the boards of tests, as ``Board.set`` gives it to them.
TOKEN = "secret"


def files_of(firmware: Firmware, version: str, folder: Path, **sources: str) -> dict[str, bytes]:
    """Return the files of the program that was built, with another version.

    Args:
        firmware: What was built.
        version: What the lamp shall say that it is.
        folder: Where to compile what is different.
        sources: Other source by module, such as ``app``.
    """
    lamp = firmware.folder / "lamp"
    files = {path.relative_to(firmware.folder).as_posix(): path.read_bytes() for path in lamp.rglob("*.mpy")}
    first = (build.SOURCE / "lamp" / "__init__.py").read_text()
    sources["__init__"] = first.replace(f'VERSION = "{build.version()}"', f'VERSION = "{version}"')
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        source = folder / f"{name}.py"
        source.write_text(text)
        files[f"lamp/{name}.mpy"] = build.compiled(source, folder / f"{name}.mpy").read_bytes()
    return files


def release_of(firmware: Firmware, version: str, folder: Path, **sources: str) -> Release:
    """Return a release of that."""
    return new_release(version, files_of(firmware, version, folder, **sources))


def with_lines(*lines: Any, data: bytes = b"") -> Release:
    """Return a release with a manifest that nobody has checked."""
    manifest = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
    return Release("", manifest, data)


class Depot:
    """A gateway's side of one connection after another, with something to offer.

    Attributes:
        hellos: What the lamp said first, on each connection.
        fetched: Where each piece began that it asked for.
        results, events: What it said about commands and updates.
        spoil: Changes pieces on their way: takes where one begins and what is there.
        cut_after: Ends the connection after so many pieces, once.
    """

    def __init__(self, release: Release | None = None) -> None:
        self.release = release
        self.hellos: list[dict[str, Any]] = []
        self.fetched: list[int] = []
        self.results: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.spoil: Callable[[int, bytes], bytes] = lambda _at, piece: piece
        self.cut_after = 0
        self._peer: Peer | None = None

    async def __call__(self, peer: Peer) -> None:
        """Serve one connection."""
        self.hellos.append(await peer.welcome())
        self._peer = peer
        levels = asyncio.create_task(peer.levels(0))
        try:
            while True:
                opcode, data = await peer.frame()
                if opcode == CLOSE or (opcode == TEXT and not await self._hear(peer, json.loads(data))):
                    return
        finally:
            self._peer = None
            levels.cancel()

    async def offer(self, release: Release | None = None, command_id: str = "c-1", **other: Any) -> None:
        """Tell the lamp to take a release, with arguments as they should be or other ones."""
        self.release = release = release or self.release
        assert release is not None
        assert self._peer is not None
        arguments = {
            "release": release.id,
            "manifest_bytes": len(release.manifest),
            "hmac": seal(update_key(TOKEN), release.manifest),
        }
        command = {"type": "command", "id": command_id, "action": "update", "arguments": arguments | other}
        await self._peer.say(command, expires_ms=30_000)

    async def _hear(self, peer: Peer, message: dict[str, Any]) -> bool:
        if message["type"] == "result":
            self.results.append(message)
        elif message["type"] == "event":
            self.events.append(message)
        elif message["type"] == "fetch":
            if self.cut_after and len(self.fetched) >= self.cut_after:
                self.cut_after = 0
                return False
            at = message["at"]
            self.fetched.append(at)
            assert self.release is not None
            piece = self.spoil(at, self.release.piece(at, message["bytes"]))
            await peer.send(frame(BINARY, framed(at, piece)))
        return True
