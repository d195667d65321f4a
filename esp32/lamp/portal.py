"""Set-up without a cable: the lamp's own access point. Borrowed by the HTTP server, and kept while it is open.

It opens when a lamp starts and has no network, and closes after five minutes unless somebody uses it. What is entered
on its page is tried first, and kept only if it works; networks that were known stay known, behind the new one.
"""

import asyncio

from micropython import const

from lamp import RefusedError, board, borrow
from lamp.http import HttpError
from lamp.link import LinkError
from lamp.log import log
from lamp.supervisor import told

_OPEN_MS = const(300_000)
# A phone that was forgotten here looks at the page again and again by itself; the lamp's own network is worth more.
_MOST_MS = const(900_000)
# After all is well, time to read so.
_GOODBYE_MS = const(15_000)
_JOIN_MS = const(15_000)
_ASK_MS = const(10_000)
_REST_MS = const(1_000)
_STEP_MS = const(50)
_GUESTS_MS = const(1_000)
_NETWORKS = const(4)


class Portal:
    """The access point, and what is tried on it.

    Attributes:
        address: Of the lamp in its own network.
        paths: What its pages add to the lamp's own, with the methods of each.
    """

    def __init__(self, lamp, now_ms: int) -> None:
        self.paths = {"/setup": "GET, POST", "/setup/state": "GET", "/setup/networks": "GET"}
        self._lamp = lamp
        self._air = borrow("board.air")
        self._radio = self._air.open(lamp.hostname)
        self.address = self._radio.ifconfig()[0]
        self._stage = "waiting"
        self._why = ""
        self._now_ms = self._guests_ms = now_ms
        self._until_ms = now_ms + _OPEN_MS
        self._most_ms = now_ms + _MOST_MS
        self._task = self._names = None
        try:
            self._names = borrow("portal_names").Names(self.address)
        except OSError as exc:
            log("set-up", f"no names are answered ({exc})")
        log("set-up", f"join {lamp.hostname} and open http://{self.address}/setup")

    def look(self, now_ms: int) -> bool:
        """Answer who asks for names, and see whether it is time to close; return whether it is still open."""
        self._now_ms = now_ms
        if self._names:
            self._names.look()
        wifi = self._lamp.wifi
        if not self._task and now_ms >= self._guests_ms:
            self._guests_ms = now_ms + _GUESTS_MS
            # While somebody is here, the radio stays where it is.
            wifi.held = not wifi.up and self._stage != "saved" and self._air.guests(self._radio) > 0
        if self._task or (now_ms < self._until_ms and not (wifi.up and self._stage != "saved")):
            return True
        wifi.held = False
        self.close()
        log("set-up", "over")
        return False

    def close(self) -> None:
        """Be no access point any more."""
        if self._names:
            self._names.close()
        self._air.close(self._radio)

    def used(self) -> None:
        """Stay open for a while more, unless all is done."""
        if self._stage != "saved":
            self._until_ms = min(self._now_ms + _OPEN_MS, self._most_ms)

    async def look_at(self, name: str):
        """Return the page, what there is in the air, or how it goes."""
        self.used()
        if name == "setup":
            return 200, "text/html; charset=utf-8", self._lamp.http.lend("portal_page").PARTS
        if name == "setup/networks":
            return {"networks": self._air.names(self._lamp.wifi.station)}
        settings = self._lamp.settings
        return {
            "stage": self._stage,
            "why": self._why,
            "address": self._lamp.wifi.station.ifconfig()[0] if self._lamp.wifi.station.isconnected() else "",
            "registered": bool(settings["token"]),
            "name": settings["name"],
            "gateway": settings["gateway"],
            "ssids": [one["ssid"] for one in settings["networks"]],
            "id": board.device_id(),
        }

    async def begin(self, values: dict) -> dict:
        """Begin to try a network and a fleet.

        Args:
            values: ``ssid`` and ``password``, and perhaps ``gateway``, ``name``, ``token``, and ``anyway`` to keep them
                even if no gateway answers.

        Raises:
            HttpError: If something is being tried.
            RefusedError: If a value cannot be used.
        """
        if self._task:
            raise HttpError(409, "something is being tried already")
        known = self._lamp.settings["networks"]
        new = {"ssid": values.get("ssid"), "password": values.get("password", "")}
        others = [one for one in known if one["ssid"] != new["ssid"]]
        changes = {"networks": [new] + others[: _NETWORKS - 1]}
        for key in ("gateway", "name", "token"):
            # A token that a registered lamp comes with has been shown by now, and stays.
            if values.get(key) and (key != "token" or not self._lamp.settings["token"]):
                changes[key] = values[key]
        changed = borrow("settings").checked(self._lamp.settings, changes, board)
        self._most_ms = self._now_ms + _MOST_MS
        self._stage, self._why = "joining", ""
        self._task = asyncio.create_task(self._try(changes, changed, bool(values.get("anyway"))))
        return {"stage": self._stage}

    async def _try(self, changes: dict, changed: dict, anyway: bool) -> None:
        lamp, sockets = self._lamp, []
        wifi, station = lamp.wifi, lamp.wifi.station
        network = changed["networks"][0]
        wifi.held = True
        try:
            while not wifi.parked:
                await asyncio.sleep_ms(_STEP_MS)
            await self._join(network)
            if changed["gateway"] and not anyway:
                self._stage = "asking"
                await self._ask(changed["gateway"], changed["dns"] or station.ifconfig()[3], sockets)
            borrow("settings").change(lamp.settings, changes, borrow("board.vault").Vault(), board)
            self._stage = "saved"
            self._until_ms = self._now_ms + _GOODBYE_MS
            log("set-up", f"{network['ssid']} works")
        except (RefusedError, OSError) as exc:
            self._fail(str(exc))
        except Exception as exc:
            self._fail(told(exc))
        finally:
            for sock in sockets:
                sock.close()
            wifi.held = self._stage != "saved"
            self._task = None

    def _fail(self, why: str) -> None:
        self._stage, self._why = "failed", why
        log("set-up", why)
        _quit(self._lamp.wifi.station)
        self.used()

    async def _join(self, network: dict) -> None:
        wifi, station = self._lamp.wifi, self._lamp.wifi.station
        _quit(station)
        await asyncio.sleep_ms(_REST_MS)
        station.connect(network["ssid"], network["password"])
        until_ms = self._now_ms + _JOIN_MS
        while not station.isconnected():
            if self._now_ms >= until_ms:
                raise RefusedError(wifi.reason(network["ssid"]))
            await asyncio.sleep_ms(_STEP_MS)

    async def _ask(self, gateway: str, dns: str, sockets: list) -> None:
        try:
            await asyncio.wait_for_ms(borrow("dial").connect(gateway, dns, {}, sockets), _ASK_MS)
        except LinkError as exc:
            raise RefusedError(f"the Wi-Fi works, but {exc.args[0]}") from None
        except asyncio.TimeoutError:
            raise RefusedError("the Wi-Fi works, but no gateway answers there") from None


def _quit(station) -> None:
    try:
        station.disconnect()
    except OSError:
        # It had not begun to connect.
        pass
