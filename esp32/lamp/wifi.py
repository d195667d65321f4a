"""Keeps the lamp in its Wi-Fi, or finds the way back.

The driver itself tries again and again after ``connect``; asked a second time meanwhile it fails with an error of its
own. So each attempt ends with ``disconnect`` and a moment of rest.
"""

import asyncio

from micropython import const

from lamp.log import log

_JOIN_MS = const(15_000)
# How long the driver may take to find a lost access point again by itself.
_RETURN_MS = const(10_000)
_REST_MS = const(1_000)
_MOST_REST_MS = const(30_000)
_LOOK_MS = const(100)
# After so many failures in a row, the driver is started anew.
_RENEW = const(4)

_REASONS = {
    200: "the access point is out of reach",
    201: "there is no such access point",
    202: "the password is wrong",
    203: "the access point takes no more guests",
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
        up: Whether there is a network.
        held: Set to stop trying, for as long as somebody uses the lamp's own access point.
        why: Why there is none, or ``""``.
    """

    def __init__(self, station, settings, clock, random) -> None:
        self.up = False
        self.held = False
        self.why = ""
        self._station = station
        self._settings = settings
        self._clock = clock
        self._random = random
        self._failures = 0

    def dns(self) -> str:
        """Return the DNS server of the network."""
        return self._station.ifconfig()[3]

    def rssi_dbm(self):
        """Return the strength of the signal, or ``None``."""
        return self._station.status("rssi") if self.up else None

    async def run(self, beat) -> None:
        """Stay in the network for ever."""
        self._begin()
        while True:
            beat()
            if self._station.isconnected():
                self._came()
                await asyncio.sleep_ms(_LOOK_MS)
            elif self.up:
                self.up = False
                log("wifi", "lost")
                if not await self._wait(_RETURN_MS, beat):
                    await self._quit(beat)
            else:
                await self._find(beat)

    async def _find(self, beat) -> None:
        networks = self._settings["networks"]
        if self.held or not networks:
            await asyncio.sleep_ms(_LOOK_MS)
            return
        for network in networks:
            if not self.held and await self._join(network, beat):
                return
        self._failures += 1
        if self._failures % _RENEW == 0:
            self._station.active(False)
            self._begin()
        await self._wait(self._random(min(_MOST_REST_MS, _REST_MS << min(self._failures, 5))), beat)

    async def _join(self, network: dict, beat) -> bool:
        try:
            self._station.connect(network["ssid"], network["password"])
        except OSError as exc:
            self.why = f"the driver does not work ({exc})"
        else:
            if await self._wait(_JOIN_MS, beat):
                return True
            status = self._station.status()
            self.why = f"{network['ssid']}: {_REASONS.get(status, f'no answer ({status})')}"
        log("wifi", self.why)
        await self._quit(beat)
        return False

    async def _quit(self, beat) -> None:
        try:
            self._station.disconnect()
        except OSError:
            # It had not begun to connect.
            pass
        await self._wait(_REST_MS, beat)

    async def _wait(self, for_ms: int, beat) -> bool:
        """Return at once and true when there is a network, else false after ``for_ms``."""
        until_ms = self._clock() + for_ms
        while self._clock() < until_ms:
            beat()
            if self._station.isconnected():
                return True
            await asyncio.sleep_ms(_LOOK_MS)
        return False

    def _begin(self) -> None:
        self._station.active(True)
        # Asleep between beacons, the radio would add up to 300 ms to what this lamp is there to show.
        self._station.config(pm=self._station.PM_NONE)

    def _came(self) -> None:
        if not self.up:
            self.up = True
            self.why = ""
            self._failures = 0
            log("wifi", f"joined as {self._station.ifconfig()[0]}")
