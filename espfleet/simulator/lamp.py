"""One simulated lamp without its network: what it knows, what it says, what it shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from espfleet import __version__
from espfleet.domain.light import HeardLevel, Link, Look, Situation, look_of
from espfleet.domain.light_glow import Glow, output
from espfleet.domain.light_patterns import Colour, on_screen
from espfleet.domain.messages import KEEPALIVE_MS, Keepalive
from espfleet.domain.names import SIMULATED
from espfleet.errors import InvalidError
from espfleet.simulator import commands, speech
from espfleet.simulator.electronics import Electronics
from espfleet.simulator.specs import LampSpec

#: By this, registering knows that no hardware is behind it.
CHIP = SIMULATED


@dataclass(frozen=True, slots=True, kw_only=True)
class LampView:
    """What can be seen of a lamp at one moment.

    Attributes:
        id: Hardware id.
        name: Name that the gateway told, or its own.
        address: ``HOST:PORT`` of its HTTP server, or ``""``.
        room, group: As the gateway told, or ``None``.
        link: How far it has come on its way to the gateway.
        why: Why it is not connected, or ``""``.
        for_ms: How long that has been so.
        word: What it shows, a ``domain.light.Word``.
        level: Level it shows, or ``None``.
        state: State it was told last, or ``None``.
        channels: What green, orange and red are fed with, 0 to 1.
        rgb: The same for a screen, each 0 to 255.
    """

    id: str
    name: str
    address: str
    room: str | None
    group: str | None
    link: str
    why: str
    for_ms: int
    word: str
    level: int | None
    state: str | None
    channels: Colour
    rgb: tuple[int, int, int]


#: Called with who a lamp is now, before it becomes that; an ``OSError`` says that this cannot be kept.
Keep = Callable[[LampSpec], None]


class Lamp:
    """A lamp's mind. It has no clock: each method is told the time, in ms, on a clock that never jumps."""

    def __init__(self, spec: LampSpec, *, now_ms: float, random: Random, keep: Keep | None = None) -> None:
        self.spec = spec
        self._keep = keep
        self.address = ""
        self.name = spec.name
        self.room: str | None = None
        self.group: str | None = None
        self.brightness = 100
        self.keepalive_ms = KEEPALIVE_MS
        self.why = ""
        self.reboot_wanted = False
        self.token_refused = False
        self.electronics = Electronics(int(spec.id, 16))
        self._random = random
        self._boot_reason, self._boots = "power-on", 1
        self._seq: int | None = None
        self._epoch_ms: float | None = None
        self._longest_silence_ms = 0.0
        self._since_ms = now_ms
        self._glow = Glow(at_ms=now_ms)
        link = Link.NO_GATEWAY if spec.token else Link.NO_SETTINGS
        self.situation = Situation(started_ms=now_ms, link=link)

    # What happens to it

    def set_link(self, link: Link, now_ms: float, why: str = "") -> None:
        """Note how far the lamp has come on its way to the gateway, and why no farther."""
        if link is not self.situation.link:
            self._since_ms = now_ms
        self.why = why
        self.change(now_ms, link=link)

    def change(self, now_ms: float, **fields: Any) -> None:
        """Change the situation; the light first moves to where it is by now."""
        self._follow(now_ms)
        self.situation = replace(self.situation, **fields)

    def hear(self, text: str | bytes, now_ms: float) -> list[str]:
        """Take in what the gateway says and return the answers."""
        told = speech.understand(text)
        if isinstance(told, speech.Command):
            return [self._obey(told, now_ms)]
        if isinstance(told, speech.Welcome):
            self._settle(told, now_ms)
            told = told.level
        if told is not None:
            self._show(told, now_ms)
        return []

    def restart(self, reason: str, now_ms: float) -> None:
        """Start again, as after a reset: only what was stored is kept."""
        self._boot_reason, self._boots = reason, self._boots + 1
        self._seq = self._epoch_ms = None
        self.electronics.reset()
        self.reboot_wanted = False
        self._since_ms = now_ms
        self._glow = Glow(at_ms=now_ms)
        self.situation = Situation(started_ms=now_ms, link=Link.NO_GATEWAY if self.spec.token else Link.NO_SETTINGS)

    def provision(self, token: str, gateway_url: str | None) -> None:
        """Keep what a person, or its gateway, handed to the lamp; it holds from the next connection on.

        Raises:
            OSError: If it cannot be kept; then nothing has changed.
        """
        spec = replace(self.spec, token=token, gateway_url=gateway_url or self.spec.gateway_url)
        if self._keep is not None:
            self._keep(spec)
        self.spec = spec
        self.token_refused = False

    # What it says

    def hello(self) -> str:
        """Return its first message."""
        return speech.hello(
            device_id=self.spec.id,
            token=self.spec.token or "",
            firmware=__version__,
            chip=CHIP,
            capabilities=sorted(commands.ACTIONS),
            boot_reason=self._boot_reason,
            boot_count=self._boots,
            resume=self._seq,
        )

    def keepalive(self, now_ms: float) -> str:
        """Return the keepalive with everything in it."""
        late_ms, self._longest_silence_ms = self._longest_silence_ms, 0.0
        return speech.keepalive(
            Keepalive(
                shown=look_of(self.situation, now_ms).level,
                rssi_dbm=round(self._random.gauss(-58, 3)),
                heap_bytes=self._random.randrange(108_000, 116_000),
                uptime_ms=round(now_ms - self.situation.started_ms),
                late_ms=round(late_ms),
            )
        )

    def readings(self, now_ms: float) -> str:
        """Return what it measures."""
        at_ms = None if self._epoch_ms is None else round(self._epoch_ms + now_ms)
        return speech.readings({"temperature_c": round(self.temperature_c(now_ms), 1)}, at_ms)

    def temperature_c(self, now_ms: float) -> float:
        """Return how warm its chip is."""
        # Two slow waves of its own, so that no two lamps have the same curve and no value jumps.
        place = int(self.spec.id, 16) % 997
        return 45.0 + 4.0 * math.sin(now_ms / 900_000 + place) + 0.5 * math.sin(now_ms / 47_000 + 3 * place)

    # What it shows

    def view(self, now_ms: float) -> LampView:
        """Return what can be seen of it."""
        look = self._follow(now_ms)
        brightness = self.brightness if look.dimmable else 100
        heard = self.situation.heard
        return LampView(
            id=self.spec.id,
            name=self.name,
            address=self.address,
            room=self.room,
            group=self.group,
            link=self.situation.link.value,
            why=self.why,
            for_ms=round(now_ms - self._since_ms),
            word=look.word.value,
            level=look.level,
            state=heard.state.value if heard else None,
            channels=output(self._glow.colour, brightness),
            rgb=on_screen(self._glow.colour.dimmed(brightness / 100)),
        )

    def pins(self) -> dict[str, int]:
        """Return the value of each pin that can be read."""
        return {str(pin): value for pin, value in self.electronics.pins.items()}

    def _follow(self, now_ms: float) -> Look:
        look = look_of(self.situation, now_ms)
        self._glow = self._glow.toward(look.aims_at(now_ms), now_ms, afterglow=look.afterglow)
        return look

    def _obey(self, command: speech.Command, now_ms: float) -> str:
        outcome = commands.obey(command, now_ms)
        if outcome.brightness is not None:
            self.brightness = outcome.brightness
        self.reboot_wanted = self.reboot_wanted or outcome.reboot
        self.change(now_ms, **outcome.changes)
        data, error = dict(outcome.data), outcome.error
        if outcome.token is not None:
            try:
                self.provision(outcome.token, None)
            except OSError as exc:
                error = f"the token cannot be kept: {exc.strerror}"
        elif outcome.measure:
            data, error = self._measured(outcome, now_ms)
        elif outcome.pins:
            data, error = self._pins(outcome)
        return speech.result(command.id, data=data, error=error)

    def _pins(self, outcome: commands.Outcome) -> tuple[dict[str, Any], str]:
        """Read or switch pins and return the answer: as the lamp's own program does."""
        try:
            if outcome.value is not None:
                self.electronics.switch(list(outcome.pins), outcome.value)
            values = {pin: self.electronics.pins[pin] for pin in outcome.pins}
        except (InvalidError, KeyError) as exc:
            return {}, str(exc) if isinstance(exc, InvalidError) else f"there is no pin {exc}"
        if len(values) > 1:
            return {"values": {str(pin): value for pin, value in values.items()}}, ""
        pin, value = next(iter(values.items()))
        return {"pin": pin, "value": value}, ""

    def _measured(self, outcome: commands.Outcome, now_ms: float) -> tuple[dict[str, Any], str]:
        """Measure and return the answer: as the lamp's own program does."""
        [pin] = outcome.pins
        try:
            if outcome.measure == "adc":
                return {"pin": pin, "raw": self.electronics.voltage(pin, now_ms)}, ""
            temp_c, humidity = self.electronics.climate(pin, now_ms)
        except InvalidError as exc:
            return {}, str(exc)
        return {"temperature_c": temp_c, "humidity_percent": humidity}, ""

    def _settle(self, welcome: speech.Welcome, now_ms: float) -> None:
        self.name = welcome.name or self.name
        self.room, self.group = welcome.room, welcome.group
        self.brightness = welcome.brightness
        self.keepalive_ms = welcome.keepalive_ms
        self.token_refused = False
        if welcome.time_ms is not None:
            self._epoch_ms = welcome.time_ms - now_ms
        self.change(now_ms, period_ms=welcome.period_ms)
        self.set_link(Link.CONNECTED, now_ms)

    def _show(self, level: speech.Level, now_ms: float) -> None:
        heard = self.situation.heard
        if heard is not None:
            self._longest_silence_ms = max(self._longest_silence_ms, now_ms - heard.at_ms)
        self._seq = level.seq
        self.change(
            now_ms, heard=HeardLevel(level=level.level, state=level.state, at_ms=now_ms, lease_ms=level.lease_ms)
        )
