"""``simulate``: which kind of devices is wanted."""

from __future__ import annotations


def simulate_kind(count: str, room: str, dialect: str, ca: str, *, boards: str, firmware: str, cameras: str) -> None:
    """Run simulated devices of the one kind that is wanted, until Ctrl-C."""
    if firmware != "0":
        from espfleet.cli.simulated_firmware import simulate_firmware

        simulate_firmware(firmware, room)
    elif cameras != "0":
        from espfleet.cli.simulated_cameras import simulate_cameras

        simulate_cameras(cameras, room, ca)
    elif boards != "0":
        from espfleet.cli.simulated_boards import simulate_boards

        simulate_boards(boards, room)
    else:
        from espfleet.cli.simulate import simulate

        simulate(count, room, dialect, ca)
