"""One lamp of a swarm: it does on its connection what a real one does, in a few hundred bytes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.frames import Close, Opcode
from websockets.frames import CloseCode as StandardCode
from websockets.http11 import Response

from espfleet.domain.light import LATE_POINTS, late_by
from espfleet.domain.states import State, band_of
from espfleet.simulator import speech
from espfleet.simulator.backoff import Backoff, Ending, closed
from espfleet.simulator.session import FULL_KEEPALIVE_EVERY, OPEN_S, SILENT_LEAST_MS, SILENT_PERIODS, refused
from espfleet.simulator.swarm import speaking
from espfleet.simulator.swarm.frames import masked, split
from espfleet.simulator.swarm.states import Glow, Part, Stage
from espfleet.simulator.swarm.wires import Wire

if TYPE_CHECKING:
    from espfleet.simulator.swarm.swarm import Swarm

#: How long it waits for the gateway's goodbye after its own.
_GOODBYE_MS = 500
_BOOT_MS = 300
#: A program that hangs does not connect; so often somebody looks whether it still does.
_HANGS_MS = 1_000
#: When it is next due while it has nothing to do but wait for the gateway.
_PATIENCE_MS = OPEN_S * 1_000


class SmallLamp:
    """A lamp. Times in ms on the swarm's clock.

    Attributes:
        number: Which one of the swarm, from 0.
        part: What the script has made of it.
        stage: How far it has come.
        due: Of ``wheel.Sleeper``.
    """

    __slots__ = (
        "_backoff",
        "_began_ms",
        "_boots",
        "_frozen",
        "_handshake",
        "_heard_ms",
        "_keepalive_ms",
        "_known",
        "_late_ms",
        "_level",
        "_old",
        "_period_ms",
        "_readings_ms",
        "_rest",
        "_sent",
        "_shown_ms",
        "_swarm",
        "_wire",
        "due",
        "number",
        "part",
        "stage",
    )

    def __init__(self, swarm: Swarm, number: int, random: Random) -> None:
        self.number = number
        self.part = Part.AWAITED
        self.stage = Stage.AWAY
        self.due = 0
        self._swarm = swarm
        self._backoff = Backoff(random)
        self._wire: Wire | None = None
        #: The connection of a former life; the gateway may still believe in it.
        self._old: Wire | None = None
        self._handshake: ClientProtocol | None = None
        self._rest = b""
        self._level: speech.Level | None = None
        self._shown_ms = self._heard_ms = self._began_ms = self._readings_ms = self._late_ms = 0.0
        self._keepalive_ms = self._period_ms = 0
        self._sent = self._boots = 0
        self._frozen = self._known = False

    # What the script does to it.

    def arrive(self) -> None:
        """Get power, and connect."""
        self.part = Part.THERE
        if self._wire is not None:
            self._wire.close()
        self._drop_handshake()
        self._level, self._frozen, self._rest = None, False, b""
        self._boots += 1
        self._backoff.reset()
        self._attempt(self._swarm.now_ms())

    def die(self) -> None:
        """Lose power: without a word, and without the gateway's machine being told."""
        if self._wire is not None:
            self._wire.abandon()
            self._drop_old()
            self._old, self._wire = self._wire, None
        self.part = Part.DEAD
        self._rest_now()

    def leave(self) -> None:
        """Say goodbye and go."""
        self.part = Part.LEFT
        self._drop_old()
        if self._wire is not None and self.stage in (Stage.GREETING, Stage.LIVE):
            self._say(Opcode.CLOSE, Close(StandardCode.GOING_AWAY, "").serialize())
            self.stage = Stage.LEAVING
            self._swarm.wheel.put(self, self._swarm.now_ms() + _GOODBYE_MS)
        else:
            self._rest_now()

    def freeze(self) -> None:
        """Say nothing more, as a program that hangs; the connection stays, and it still hears."""
        self.part, self._frozen = Part.FROZEN, True

    def thaw(self) -> None:
        """Say again that it lives."""
        self.part, self._frozen = Part.THERE, False
        if self.stage is Stage.LIVE:
            self.ring(self._swarm.now_ms())

    def end(self) -> None:
        """Close everything: the test is over."""
        self._drop_old()
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._drop_handshake()
        self.stage, self.due = Stage.AWAY, 0

    # What can be seen of it.

    def glow(self, now_ms: float) -> Glow:
        """Return what it shows: as ``domain.light.look_of`` has it, without the colours."""
        if self.stage is Stage.AWAY or self.stage is Stage.LEAVING:
            return Glow.DARK
        level, is_live = self._level, self.stage is Stage.LIVE
        if level is None:
            return Glow.UNKNOWN if is_live else Glow.NO_GATEWAY
        silence_ms = now_ms - self._shown_ms
        if silence_ms >= level.lease_ms:
            return Glow.STALE if is_live else Glow.NO_GATEWAY
        if level.state is not State.OK:
            return Glow.UNKNOWN
        shown = min(100, level.level + LATE_POINTS * late_by(silence_ms, self._period_ms))
        return Glow(band_of(shown).value)

    # What its clock tells it.

    def ring(self, now_ms: float) -> None:
        """Do what is due."""
        if self.stage is Stage.LIVE:
            self._live(now_ms)
        elif self.stage is Stage.WAITING and self._frozen:
            self._swarm.wheel.put(self, now_ms + _HANGS_MS)
        elif self.stage is Stage.WAITING:
            self._attempt(now_ms)
        elif self.stage is Stage.LEAVING:
            self._rest_now()
        elif self.stage is not Stage.AWAY:
            self._lose(Ending(why=f"the gateway did not answer within {OPEN_S:g} s"))

    def _live(self, now_ms: float) -> None:
        swarm = self._swarm
        swarm.wheel.put(self, now_ms + self._keepalive_ms)
        silence_ms = now_ms - self._heard_ms
        if self._frozen or self._wire is None:
            return
        if silence_ms >= max(SILENT_LEAST_MS, SILENT_PERIODS * self._period_ms):
            self._wire.cut()
            self._lose(Ending(why="the gateway fell silent"))
            return
        if self._sent % FULL_KEEPALIVE_EVERY == 0:
            self._tell(now_ms)
        else:
            self._wire.write(swarm.keepalive())
        self._sent += 1
        swarm.figures.keepalives += 1

    def _tell(self, now_ms: float) -> None:
        """Say how the lamp is, and now and then what it measures."""
        swarm = self._swarm
        late_ms, self._late_ms = self._late_ms, 0.0
        values = speaking.own(swarm.random, now_ms - swarm.started_ms)
        self._say(Opcode.TEXT, speaking.keepalive(values, self._level, late_ms).encode())
        if now_ms >= self._readings_ms:
            self._readings_ms = now_ms + swarm.readings_ms
            self._say(Opcode.TEXT, speech.readings(speaking.measured(swarm.random), None).encode())

    # What its connection tells it.

    def up(self) -> None:
        """Ask for WebSocket."""
        self._handshake = ClientProtocol(self._swarm.uri, max_size=None, logger=self._swarm.quiet)
        self._handshake.send_request(self._handshake.connect())
        self._pass_on(self._handshake)

    def hear(self, data: bytes) -> None:
        """Take what has come; the usual level, which is the same for many lamps, at once."""
        swarm = self._swarm
        known = swarm.levels.get(data)
        if known is not None and not self._rest and self.stage is Stage.LIVE:
            self._show(known[0], known[1], swarm.now_ms())
        elif self._handshake is not None:
            self._shake(self._handshake, data)
        else:
            try:
                frames, self._rest = split(self._rest + data)
            except ValueError as exc:
                self._lose(Ending(why=f"the gateway sent {exc}"))
                return
            wire = self._wire
            for opcode, content in frames:
                if self._wire is not wire:
                    break
                self._take(opcode, content, data)

    def lost(self, why: str) -> None:
        """Note that the connection has ended by itself."""
        self._wire = None
        if self.stage is Stage.LEAVING:
            self._rest_now()
        elif self.stage in (Stage.GREETING, Stage.LIVE):
            self._lose(closed(None, ""))
        else:
            self._lose(Ending(why=f"the gateway cannot be reached ({why or 'closed at once'})"))

    def _attempt(self, now_ms: float) -> None:
        self.stage = Stage.OPENING
        self._began_ms = now_ms
        self._swarm.wheel.put(self, now_ms + _PATIENCE_MS)
        try:
            self._wire = self._swarm.wires.connect(self, self.number)
        except OSError as exc:
            self._lose(Ending(why=f"no connection can be made here ({exc.strerror or exc})"))

    def _shake(self, handshake: ClientProtocol, data: bytes) -> None:
        """Go on with the handshake, and say hello when it is done."""
        handshake.receive_data(data)
        if not any(isinstance(event, Response) for event in handshake.events_received()):
            if isinstance(handshake.handshake_exc, InvalidMessage | EOFError):
                self._lose(Ending(why="the gateway does not speak WebSocket"))
            return
        failure = handshake.handshake_exc
        self._drop_handshake()
        if isinstance(failure, InvalidStatus):
            self._lose(refused(failure.response))
        elif isinstance(failure, InvalidHandshake):
            self._lose(Ending(why="the gateway does not speak WebSocket"))
        else:
            self.stage = Stage.GREETING
            swarm = self._swarm
            self._heard_ms = swarm.now_ms()
            hello = speaking.hello(swarm.id_of(self.number), swarm.token_of(self.number), self._boots, self._level)
            self._say(Opcode.TEXT, hello.encode())

    def _take(self, opcode: int, content: bytes, data: bytes) -> None:
        now_ms = self._swarm.now_ms()
        self._heard_ms = now_ms
        if opcode == Opcode.TEXT:
            known = self._swarm.levels.get(content)
            told = known[0] if known else speech.understand(content.decode(errors="replace"))
            if isinstance(told, speech.Level):
                sent_ms = known[1] if known else speaking.sent_ms(content)
                self._swarm.remember(content, data, (told, sent_ms))
                self._show(told, sent_ms, now_ms)
            elif isinstance(told, speech.Welcome):
                self._settle(told, now_ms)
            elif isinstance(told, speech.Command):
                self._obey(told, now_ms)
        elif opcode == Opcode.PING:
            if not self._frozen:
                self._say(Opcode.PONG, content)
        elif self.stage is Stage.LEAVING:
            if opcode == Opcode.CLOSE:
                self._rest_now()
        elif opcode == Opcode.CLOSE:
            self._say(Opcode.CLOSE, content[:2])
            self._lose(closed(int.from_bytes(content[:2], "big") or None, content[2:].decode(errors="replace")))

    def _show(self, level: speech.Level, sent_ms: float, now_ms: float) -> None:
        figures, before = self._swarm.figures, self._level
        figures.levels += 1
        if before is None or before.level != level.level or before.state is not level.state:
            figures.changed(now_ms - sent_ms if sent_ms else None)
        self._late_ms = max(self._late_ms, now_ms - self._shown_ms)
        self._level, self._shown_ms, self._heard_ms = level, now_ms, now_ms

    def _settle(self, welcome: speech.Welcome, now_ms: float) -> None:
        self._period_ms, self._keepalive_ms = welcome.period_ms, welcome.keepalive_ms
        if welcome.level is not None:
            self._level, self._shown_ms = welcome.level, now_ms
        if self.stage is not Stage.GREETING:
            return
        swarm = self._swarm
        self.stage, self._late_ms = Stage.LIVE, 0.0
        self._backoff.reset()
        self._drop_old()
        swarm.figures.welcomed(now_ms - self._began_ms, again=self._known)
        self._known = True
        # Spread anew, for a whole fleet may have been welcomed in the same moment.
        swarm.wheel.put(self, now_ms + swarm.random.random() * self._keepalive_ms)

    def _obey(self, command: speech.Command, now_ms: float) -> None:
        if self._frozen:
            return
        outcome = speaking.obey(command, now_ms)
        if outcome.token is not None:
            self._swarm.who.hand(self.number, outcome.token)
        self._say(Opcode.TEXT, speech.result(command.id, data=outcome.data, error=outcome.error).encode())
        if outcome.reboot and self._wire is not None:
            self._say(Opcode.CLOSE, Close(StandardCode.GOING_AWAY, "").serialize())
            self._boots += 1
            self._level = None
            self._away(_BOOT_MS)

    def _lose(self, ending: Ending) -> None:
        """Let go of the connection, and wait as long as that asks for."""
        self._swarm.figures.lost(ending)
        self._away(self._backoff.next_ms(ending))

    def _away(self, wait_ms: float) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._drop_handshake()
        self._rest = b""
        self.stage = Stage.WAITING
        self._swarm.wheel.put(self, self._swarm.now_ms() + wait_ms)

    def _rest_now(self) -> None:
        """Do nothing more until the script says so."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._drop_handshake()
        self.stage, self.due, self._rest = Stage.AWAY, 0, b""

    def _drop_old(self) -> None:
        old, self._old = self._old, None
        if old is not None:
            old.close()

    def _drop_handshake(self) -> None:
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            # The parser is a generator that holds the protocol that holds it: without this only gc would free them.
            del handshake.parser

    # What it says.

    def _say(self, opcode: Opcode, data: bytes) -> None:
        if self._wire is not None:
            self._wire.write(masked(opcode, data))

    def _pass_on(self, handshake: ClientProtocol) -> None:
        for data in handshake.data_to_send():
            if data and self._wire is not None:
                self._wire.write(data)
