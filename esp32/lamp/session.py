"""One lamp and its gateway: what it says, and what becomes of what it hears. ``link`` keeps the connection."""

from lamp import VERSION, RefusedError, board, borrow, readings, speech

# What ``commands`` and ``update`` know.
CAPABILITIES = ("adc", "brightness", "gpio", "identify", "override", "reboot", "sensor", "settings", "trust", "update")


class Session:
    """What the lamp and its gateway have told each other.

    Attributes:
        name, room, group: As the gateway told, or ``None``.
        welcomed: Whether the gateway has taken the lamp in, on the present connection.
        keepalive_ms: How often it wants to hear of the lamp.
        heard_ms: When it was heard last.
    """

    def __init__(self, lamp) -> None:
        self.name = self.room = self.group = None
        self.welcomed = False
        self.keepalive_ms = 1_000
        self.heard_ms = 0
        self._lamp = lamp
        self._seq = None
        self._epoch_ms = None
        self._longest_silence_ms = 0

    def hello(self) -> str:
        """Return the first message of a connection."""
        lamp = self._lamp
        return speech.write(
            "hello",
            protocol=speech.PROTOCOL,
            id=board.device_id(),
            token=lamp.settings["token"],
            firmware=VERSION,
            chip=board.CHIP,
            capabilities=CAPABILITIES,
            boot={"reason": lamp.boots.reason, "count": lamp.boots.count},
            update=self._update(),
            resume=self._seq,
        )

    def keepalive(self) -> str:
        """Return the keepalive with everything in it."""
        lamp = self._lamp
        values = readings.own(lamp.clock, lamp.wifi.station)
        late_ms, self._longest_silence_ms = self._longest_silence_ms, 0
        return speech.write("keepalive", shown=lamp.painter.look[4], late_ms=late_ms, **values)

    def readings(self) -> str:
        """Return what the lamp measures; nothing if that is nothing."""
        lamp = self._lamp
        values = readings.measured(lamp.settings["sensor"])
        if not values:
            return ""
        at_ms = None if self._epoch_ms is None else self._epoch_ms + lamp.clock()
        return speech.write("readings", at_ms=at_ms, values=values)

    async def hear(self, text):
        """Take in what the gateway says; return the answer, or ``None``."""
        lamp, situation = self._lamp, self._lamp.situation
        if isinstance(text, bytes) and lamp.update:
            lamp.update.take(text)
        told = speech.understand(text)
        kind = told.get("type")
        if kind == "command":
            try:
                data = await borrow("commands").obey(lamp, told["action"], told["arguments"], told["id"])
                return None if data is None else speech.write("result", id=told["id"], ok=True, data=data)
            except (RefusedError, OSError) as exc:
                return speech.write("result", id=told["id"], ok=False, error=str(exc)[:200])
        now_ms = lamp.clock()
        if kind == "welcome":
            self.name = told["name"] or self.name
            self.room, self.group = told["room"], told["group"]
            self.keepalive_ms = told["keepalive_ms"]
            lamp.painter.percent = told["brightness"]
            situation.period_ms = told["period_ms"]
            if told["time_ms"]:
                self._epoch_ms = told["time_ms"] - now_ms
            self.welcomed = True
        if "level" in told:
            if situation.level is not None:
                self._longest_silence_ms = max(self._longest_silence_ms, now_ms - situation.heard_ms)
            self._seq = told["seq"]
            situation.level, situation.state = told["level"], told["state"]
            situation.heard_ms, situation.lease_ms = now_ms, told["lease_ms"]
        return None

    def _update(self):
        """Return what became of the last update, or ``None`` where there was none."""
        slot = self._lamp.slot
        if not slot:
            return None
        state = "trial" if "back" in slot else "running" if "version" in slot else "returned"
        state = "writing" if self._lamp.update else state
        return {"state": state, "slot": slot["slot"], "bad": slot.get("bad", ""), "why": slot.get("why", "")}
