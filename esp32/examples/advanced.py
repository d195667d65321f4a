"""Talk both ways with any server: an LED and a relay to switch, a sensor to read, a report every ten seconds, an alert.

The first pin of the setting ``gpio`` is the LED, the second the relay; the setting ``sensor`` is the sensor. The words
are those of the ESP32 WebSocket Client:

    server                                             board
    {"type":"led_control","action":"on|off|toggle"}    {"type":"led_status","state":true}
    {"device":"relay","state":1}                       {"type":"relay_status","state":true}
    {"action":"lights_on"}, {"led":"on"}               {"type":"led_status","state":true}
    READ_SENSOR                                        {"sensor":21.5}
    {"type":"ping"}                                    {"type":"pong","uptime_ms":12345}
                                                       {"type":"status","uptime_ms":12345,"heap_bytes":65536} each 10 s
                                                       {"type":"alert","sensor":31.0} when it gets hot
"""

import asyncio
import gc
import json

from conversation import Conversation

from lamp import borrow

REPORT_MS = 10_000
HOT_C = 30

pins = borrow("board.pins")


def switch(conversation, which, to):
    """Switch the LED (0) or the relay (1) ``on`` or ``off``, or ``toggle`` it; return whether it is on."""
    pin = conversation.settings["gpio"][which]
    value = 1 - pins.read(pin) if to == "toggle" else 1 if to in ("on", 1, True) else 0
    pins.write(pin, value)
    return value == 1


def warmth(conversation):
    """Return the temperature of the sensor in °C, or ``None`` if there is no sensor or it does not answer."""
    sensor = conversation.settings["sensor"]
    try:
        return pins.climate(sensor["kind"], sensor["pin"])["temperature_c"] if sensor else None
    except OSError:
        return None


def answer(conversation, message):
    """Return what is answered to a message, or ``None``."""
    if message == "READ_SENSOR":
        return {"sensor": warmth(conversation)}
    try:
        asked = json.loads(message)
    except (ValueError, TypeError):
        return None
    if not isinstance(asked, dict):
        return None
    if asked.get("type") == "ping":
        return {"type": "pong", "uptime_ms": conversation.clock()}
    if asked.get("type") == "led_control":
        return {"type": "led_status", "state": switch(conversation, 0, asked.get("action"))}
    if asked.get("action") in ("lights_on", "lights_off"):
        return {"type": "led_status", "state": switch(conversation, 0, asked["action"].split("_")[1])}
    if "led" in asked:
        return {"type": "led_status", "state": switch(conversation, 0, asked["led"])}
    if asked.get("device") == "relay":
        return {"type": "relay_status", "state": switch(conversation, 1, asked.get("state"))}
    return None


async def heard(conversation, message):
    """Answer."""
    said = answer(conversation, message)
    if said is not None:
        await conversation.send(json.dumps(said))


async def report(conversation):
    """Tell how the board is, and cry out when its sensor gets hot."""
    while True:
        await asyncio.sleep_ms(REPORT_MS)
        status = {"type": "status", "uptime_ms": conversation.clock(), "heap_bytes": gc.mem_free()}
        await conversation.send(json.dumps(status))
        celsius = warmth(conversation)
        if celsius is not None and celsius > HOT_C:
            await conversation.send(json.dumps({"type": "alert", "sensor": celsius}))


async def main():
    """Converse and report, independently of each other."""
    conversation = Conversation(heard)
    await asyncio.gather(conversation.run(), report(conversation))


asyncio.run(main())
