"""Lamps of a fleet, on its gateway."""

from __future__ import annotations

from tests.firmware.boards import Board
from tests.firmware.together import Boards
from tests.gateway.conftest import Fleet


async def lamp_of(fleet: Fleet, boards: Boards, url: str, number: int = 1, room: str = "hall") -> Board:
    """Register ``lamp-NUMBER`` and switch it on."""
    device, token = await fleet.add(f"lamp-{number}", number, room)
    board = boards(gateway=url, token=token)
    board.world("id", device.id)
    board.power_on()
    return board


def shows(board: Board, green: float = 0.0, orange: float = 0.0, red: float = 0.0) -> bool:
    """Tell whether the light looks like this, each channel 0 to 1, give or take a little."""
    looks = [(fed / 65_535) ** (1 / 2.2) for fed in board.light()]
    return all(abs(is_ - wanted) < 0.05 for is_, wanted in zip(looks, (green, orange, red), strict=True))
