"""Takes new firmware from the gateway into the slot that does not run, checks it, and puts it in force. Borrowed.

The gateway offers a release: a manifest and, behind it, the files that it lists. The lamp asks for it piece by piece,
on whatever connection it has. Nothing that the lamp runs is touched before everything is written and checked.
"""

import asyncio
import gc

from micropython import const

import lamp as program
from lamp import VERSION, RefusedError, borrow, speech

flash = borrow("flash")

# Larger ones would want a hole in the heap that a lamp may not have: what runs leaves little of it, in small pieces.
_PIECE = const(512)
# MicroPython's errno does not name it.
_FULL = const(28)
_MANIFEST_BYTES = const(8192)
_ASK_MS = const(2_000)
_REST_MS = const(8)
_PATIENCE_MS = const(120_000)


def begin(lamp, command_id: str, arguments: dict) -> None:
    """Begin to take the release that the gateway offers; the command is answered once the manifest is known.

    Raises:
        RefusedError: If no release can be taken now.
    """
    if lamp.update:
        raise RefusedError("an update is under way")
    if "back" in lamp.slot:
        raise RefusedError(f"version {VERSION} is still on trial")
    checks = borrow("checks")
    offer = (
        command_id,
        checks.text(arguments.get("release"), "release", 64),
        checks.whole(arguments.get("manifest_bytes"), "manifest_bytes", 1, _MANIFEST_BYTES),
        checks.text(arguments.get("hmac"), "hmac", 64),
    )
    try:
        slots = borrow("slots", "")
    except ImportError:
        raise RefusedError("this lamp has no slots.py: put it beside main.py by cable first") from None
    here = slots.place(program.__file__)
    lamp.update = Update(lamp, here, slots.PLACES[here == slots.PLACES[0]], offer)
    lamp.situation.updating = True
    lamp.supervisor.start("update", lamp.update.run, 30_000)


class Update:
    """One update.

    Attributes:
        version: What it will be, or ``""`` while that is unknown.
    """

    def __init__(self, lamp, here: str, slot: str, offer: tuple) -> None:
        self.version = ""
        self._lamp = lamp
        self._here = here
        self._slot = slot
        self._command_id, self._release, self._manifest_bytes, self._hmac = offer
        self._at = self._data = None
        self._came = asyncio.Event()

    def take(self, data: bytes) -> None:
        """Take a piece that the gateway has sent: where it begins, in four bytes, and what is there."""
        if len(data) >= 4 and int.from_bytes(data[:4], "big") == self._at:
            self._at, self._data = None, data[4:]
            self._came.set()

    async def run(self, beat) -> bool:
        """Take the release; the task is done then."""
        lamp = self._lamp
        try:
            await self._install(self._slot, beat)
            # Whatever happens from here on, what runs next is whole.
            borrow("slots", "").flip(self._slot, self.version, self._here)
        except RefusedError as exc:
            why = str(exc)
        except OSError as exc:
            why = "the flash is full" if exc.errno == _FULL else f"the flash cannot be used ({exc})"
        except MemoryError:
            why = "the lamp has too little memory left for it: restart it first"
        else:
            await self._tell("starting")
            lamp.restart("update to " + self.version)
        lamp.update, lamp.situation.updating = None, False
        await self._tell("failed", error=why)
        if self._command_id:
            await self._answer(ok=False, error=why)
        return True

    async def _install(self, slot: str, beat) -> None:
        manifest = slot + "/manifest"
        await self._write(manifest, self._manifest_bytes, 0, beat)
        # None of its modules is held for longer than it is needed: memory is short now.
        self.version, total = borrow("release").check(manifest, self._lamp.settings["token"], self._hmac)
        flash.make_room(slot, manifest)
        await self._answer(ok=True, data={"version": self.version, "total_bytes": total})
        done, tenth = 0, -1
        for name, size, digest in flash.listed(manifest):
            path = slot + "/" + name
            if flash.digest_of(path) != digest:
                await self._write(path, size, self._manifest_bytes + done, beat)
                if flash.digest_of(path) != digest:
                    raise RefusedError(f"{name} is not what it must be (SHA-256)")
            done += size
            if done * 10 // max(total, 1) > tenth:
                tenth = done * 10 // max(total, 1)
                await self._tell("writing", done_bytes=done, total_bytes=total)

    async def _write(self, path: str, size: int, at: int, beat) -> None:
        gc.collect()
        with flash.created(path) as file:
            for done in range(0, size, _PIECE):
                file.write(await self._fetch(at + done, min(_PIECE, size - done), beat))
                # No gateway takes more than 200 messages in a second.
                await asyncio.sleep_ms(_REST_MS)

    async def _fetch(self, at: int, size: int, beat) -> bytes:
        """Return a piece of the release, asked for again and again until it comes."""
        clock = self._lamp.clock
        until_ms = clock() + _PATIENCE_MS
        self._at, self._data = at, None
        while self._data is None:
            beat()
            if clock() >= until_ms:
                raise RefusedError(f"nothing came for {_PATIENCE_MS // 1000} s")
            self._came.clear()
            await self._lamp.link.say(speech.write("fetch", release=self._release, at=at, bytes=size))
            try:
                await asyncio.wait_for_ms(self._came.wait(), _ASK_MS)
            except asyncio.TimeoutError:
                # It is asked for again, perhaps on another connection.
                pass
        if len(self._data) != size:
            raise RefusedError("the gateway does not have this release any more")
        return self._data

    async def _answer(self, **fields) -> None:
        await self._lamp.link.say(speech.write("result", id=self._command_id, **fields))
        self._command_id = ""

    async def _tell(self, state: str, **fields) -> None:
        await self._lamp.link.tell("update", state=state, version=self.version or None, **fields)
