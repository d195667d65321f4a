"""Draw ``watch.svg`` from a fleet that is running: PYTHONPATH=. .venv/bin/python docs/pictures/draw_watch.py."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from rich.console import Console, RenderableType

from espfleet.cli.opening import with_store
from espfleet.cli.watch import fleet_page
from espfleet.cli.words import now_ms
from espfleet.services import devices, rooms
from espfleet.store.client import Store

COLUMNS = 100


async def page(store: Store) -> RenderableType:
    at_ms = now_ms()
    room_views, device_views = await asyncio.gather(
        rooms.views(store, now_ms=at_ms), devices.views(store, now_ms=at_ms)
    )
    return fleet_page(room_views, device_views, at_ms)


if __name__ == "__main__":
    drawn = with_store(page)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, highlight=False)
        console.print(drawn)
        drawing = console.export_svg(title="./espcli watch")
    # The font would come from elsewhere; any monospaced one of the reader's does.
    drawing = re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL)
    Path(__file__).with_name("watch.svg").write_text(re.sub(r"\s+\n", "\n", drawing), encoding="utf-8")
