"""``simulate``: which kind of devices is wanted."""

from __future__ import annotations

from espfleet.errors import InvalidError

#: What options of ``--lamps`` are when nobody gives them.
SWARM = {"script": "", "rooms": "0", "seed": "1", "first": "1", "keep": "", "processes": "0"}


def simulate_kind(
    count: str, room: str, dialect: str, ca: str, *, boards: str, firmware: str, cameras: str, lamps: str, **swarm: str
) -> None:
    """Run simulated devices of the one kind that is wanted, until Ctrl-C; ``swarm`` are options of ``--lamps``."""
    if lamps != "0":
        from espfleet.cli.simulated_swarm import simulate_swarm

        simulate_swarm(lamps, room=room, ca=ca, **swarm)
    elif swarm != SWARM:
        wrong = ", ".join(f"--{name}" for name, value in swarm.items() if value != SWARM[name])
        raise InvalidError(f"{wrong}: that is for lamps by the thousand; say how many with --lamps N", field="lamps")
    elif firmware != "0":
        from espfleet.cli.simulated_firmware import simulate_firmware

        simulate_firmware(firmware, room)
    elif cameras != "0":
        from espfleet.cli.simulated_cameras import simulate_cameras

        simulate_cameras(cameras, room, ca)
    elif boards != "0":
        from espfleet.cli.simulated_boards import simulate_boards

        simulate_boards(boards, room)
    elif not count:
        raise InvalidError(
            "say how many: './espcli simulate 3' runs three lamps; --boards 3, --cameras 3 or --firmware 3 something "
            "else; './espcli simulate --help' tells more",
            field="count",
        )
    else:
        from espfleet.cli.simulate import simulate

        simulate(count, room, dialect, ca)
