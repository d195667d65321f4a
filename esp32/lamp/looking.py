"""What the lamp's HTTP server shows: one function for each path. Borrowed by the routes."""

from micropython import const

from lamp import VERSION, board, borrow, light, log, readings
from lamp.board.light import mixed

_LINKS = ("no settings", "no Wi-Fi", "no gateway", "connected")
_LINES = const(12)
_GAMMA = 2.2


async def root(lamp) -> dict:
    """Who it is, as EspNet's boards tell it, and what it is."""
    pins = borrow("board.pins")
    temperature_c = board.temperature_c()
    return {
        "f": None if temperature_c is None else round(temperature_c * 1.8 + 32, 1),
        "id": board.device_id(),
        "gpio": {str(pin): pins.read(pin) for pin in board.OUTPUTS + board.INPUTS},
        "name": lamp.session.name,
        "chip": board.CHIP,
        "firmware": VERSION,
        "kind": "lamp",
        "provision": lamp.link.wants_token(),
    }


async def ui(lamp) -> tuple:
    """Return the page for people."""
    return 200, "text/html; charset=utf-8", lamp.http.lend("page").PARTS


async def state(lamp) -> dict:
    """What it shows, and why."""
    situation, session, painter = lamp.situation, lamp.session, lamp.painter
    shares = painter.shares
    told = {
        "id": board.device_id(),
        "name": session.name,
        "room": session.room,
        "group": session.group,
        "level": painter.look[4],
        "state": None if situation.level is None else situation.state,
        "look": painter.look[0],
        "rgb": [round(255 * share ** (1 / _GAMMA)) for share in mixed("rgb", shares)],
        "channels": {name: round(share, 4) for name, share in zip(("green", "orange", "red"), shares)},
        "link": _LINKS[situation.link],
        "why": lamp.wifi.why if situation.link == light.NO_WIFI else lamp.link.why,
        "registered": bool(lamp.settings["token"]),
        "firmware": VERSION,
        "chip": board.CHIP,
        "boot": {"reason": lamp.boots.reason, "count": lamp.boots.count},
        "log": log.lines[-_LINES:],
    }
    told.update(readings.own(lamp.clock, lamp.wifi.station))
    told.update(readings.measured(None))
    return told


async def settings(lamp) -> dict:
    """Return all settings, of secrets only whether there is one."""
    return borrow("settings").shown(lamp.settings)
