"""Lamps of a fleet, on its gateway."""

from __future__ import annotations

from collections.abc import Iterable

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
    return _looks(board.light(), (green, orange, red))


def has_shown(board: Board, since: int, green: float = 0.0, orange: float = 0.0, red: float = 0.0) -> bool:
    """Tell whether the light has looked like this at any moment from line ``since`` on."""
    fed = {18: 0, 19: 0, 4: 0}
    for number, line in enumerate(board.lines):
        if line.startswith("@pwm "):
            pin, duty = map(int, line.split()[1:3])
            fed[pin] = duty
            if number >= since and _looks(fed.values(), (green, orange, red)):
                return True
    return False


def _looks(fed: Iterable[int], wanted: tuple[float, float, float]) -> bool:
    looks = [(duty / 65_535) ** (1 / 2.2) for duty in fed]
    return all(abs(is_ - one) < 0.05 for is_, one in zip(looks, wanted, strict=True))
