"""Keeps the lamp in its Wi-Fi, or finds the way back.

The driver itself tries again and again after ``connect``; asked a second time meanwhile it fails with an error of its
own. So each attempt ends with ``disconnect`` and a moment of rest.
"""

import asyncio

from micropython import const

from lamp import borrow
from lamp.log import log

_JOIN_MS = const(15_000)
# How long the driver may take to find a lost access point again by itself.
_RETURN_MS = const(10_000)
_REST_MS = const(1_000)
_MOST_REST_MS = const(30_000)
_LOOK_MS = const(100)
# After so many rounds in vain, the driver is started anew.
_RENEW = const(4)

_REASONS = {
    200: "the access point is out of reach",
    201: "there is no such access point",
    202: "the password is wrong",
    204: "the password is wrong, or the signal too weak",
    210: "the access point is not as safe as it must be",
    211: "the access point is not as safe as it must be",
    212: "the signal is too weak",
}


class Wifi:
    """Joins the first of the known networks that can be joined.

    Args:
        station: The board's ``WLAN``.
        settings: Where ``networks`` are.
        clock: Now, in ms.
        random: Returns a whole number from 0 to below its argument.

    Attributes:
        station: The same.
        up: Whether there is a network.
        held: Set to stop trying, for as long as somebody uses the lamp's own access point.
        parked: Whether it has stopped; the station is free for somebody else then.
        why: Why there is none, or ``""``.
    """

    def __init__(self, station, settings: dict, clock, random) -> None:
        self.station = station
        self.up = False
        self.held = False
        self.parked = False
        self.why = ""
        self._settings = settings
        self._clock = clock
        self._random = random

    async def run(self, beat) -> None:
        """Stay in the network for ever."""
        station, rounds = self.station, 0
        self._begin()
        while True:
            beat()
            if self.held:
                if not self.parked:
                    self.parked, self.up = True, False
                    self._disconnect()
                await asyncio.sleep_ms(_LOOK_MS)
                continue
            self.parked = False
            if station.isconnected():
                rounds = 0
                if not self.up:
                    self.up, self.why = True, ""
                    log("wifi", f"joined as {station.ifconfig()[0]}")
                await asyncio.sleep_ms(_LOOK_MS)
            elif self.up:
                self.up = False
                log("wifi", "lost")
                await self._wait(_RETURN_MS, beat)
                if not station.isconnected():
                    await self._quit(beat)
            elif not self._settings["networks"]:
                await asyncio.sleep_ms(_LOOK_MS)
            else:
                rounds += 1
                await self._find(rounds, beat)

    def reason(self, ssid: str) -> str:
        """Return why the station does not join the network that it tries to join."""
        status = self.station.status()
        return f"{ssid}: {_REASONS.get(status, f'no answer ({status})')}"

    async def _find(self, rounds: int, beat) -> None:
        for network in self._settings["networks"]:
            try:
                self.station.connect(network["ssid"], network["password"])
                await self._wait(_JOIN_MS, beat)
                if self.station.isconnected() or self.held:
                    return
                self.why = self.reason(network["ssid"])
            except OSError as exc:
                self.why = f"the driver does not work ({exc})"
            log("wifi", self.why)
            await self._quit(beat)
        if rounds % _RENEW == 0:
            self.station.active(False)
            self._begin()
        await self._wait(self._random(min(_MOST_REST_MS, _REST_MS << min(rounds, 5))), beat)

    async def _quit(self, beat) -> None:
        self._disconnect()
        await self._wait(_REST_MS, beat)

    async def _wait(self, for_ms: int, beat) -> None:
        """Wait, but not when there is a network, or nothing to wait for."""
        until_ms = self._clock() + for_ms
        while self._clock() < until_ms and not self.station.isconnected() and not self.held:
            beat()
            await asyncio.sleep_ms(_LOOK_MS)

    def _disconnect(self) -> None:
        try:
            self.station.disconnect()
        except OSError:
            # It had not begun to connect.
            pass

    def _begin(self) -> None:
        self.station.active(True)
        # Asleep between beacons, the radio would add up to 300 ms to what this lamp is there to show.
        self.station.config(pm=self.station.PM_NONE)
        settings = self._settings
        if settings["address"]:
            host, mask, router = borrow("urls").fixed(settings["address"])
            self.station.ifconfig((host, mask, router, settings["dns"].partition(":")[0] or router))
