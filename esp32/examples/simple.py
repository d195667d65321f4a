"""Print whatever a WebSocket server says, and come back when it goes.

Put ``conversation.py`` and ``settings.json`` on the board, then ``mpremote run simple.py``.
"""

import asyncio

from conversation import Conversation


async def heard(_conversation, message):
    """Do something with a message; this is the place for your own code."""
    print("heard:", message)


asyncio.run(Conversation(heard).run())
