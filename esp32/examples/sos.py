"""A lamp that also blinks SOS on an LED and tells its fleet each time: how to give a lamp something more to do.

The LED is at the first pin of the setting ``gpio``. Put this file on the board in place of ``main.py``. The blinking
goes on whatever becomes of the network; viewers of the fleet see an event ``SOS`` in each round that has a connection.
"""

import asyncio

import slots

slots.enter()

from lamp import borrow  # noqa: E402
from lamp.app import main  # noqa: E402

DOT_MS, DASH_MS, GAP_MS, PAUSE_MS = 200, 400, 50, 400

pins = borrow("board.pins")


async def sos(lamp, beat):
    """Blink for ever; ``beat`` tells the lamp that this task lives."""
    pin = lamp.settings["gpio"][0]
    rounds = 0
    while True:
        for on_ms in (DOT_MS,) * 3 + (DASH_MS,) * 3 + (DOT_MS,) * 3:
            beat()
            pins.write(pin, 1)
            await asyncio.sleep_ms(on_ms)
            pins.write(pin, 0)
            await asyncio.sleep_ms(GAP_MS)
        rounds += 1
        await lamp.link.tell("SOS", round=rounds)
        await asyncio.sleep_ms(PAUSE_MS)


main(("sos", sos, 30_000))
