"""The command that runs what exists only as a program on this machine."""

from __future__ import annotations


class SimulatedTree:
    """``simulate``."""

    def simulate(
        self,
        count: str = "",
        room: str = "",
        dialect: str = "v1",
        boards: str = "0",
        ca: str = "",
        cameras: str = "0",
        firmware: str = "0",
        lamps: str = "0",
        script: str = "",
        rooms: str = "0",
        seed: str = "1",
        first: str = "1",
        keep: str = "",
        processes: str = "0",
    ) -> None:
        """Run COUNT simulated lamps, --boards N boards without a link, or --cameras N cameras, until Ctrl-C.

        --firmware N runs the program of real lamps instead, in a MicroPython for this machine. --lamps N is a load
        test: tens of thousands of lamps that cost little, arriving, moving and dying by a script (docs/simulate.md).

        Without --room they wait to be registered: ./espcli register 127.0.0.1:PORT NAME. With it they register
        themselves, marked as simulated; './espcli demo remove' removes them.

        Args:
            count: How many lamps, 1 to 1000.
            room: Room to register them in; it is made when missing.
            dialect: v1, or pinglamp for lamps that speak as PING_LAMP clients do.
            boards: How many boards instead, 1 to 1000: pins, DHT22 at pin 4, ADC, as EspNet's firmware answers.
            ca: File with the authorities that lamps trust, PEM, for a gateway with TLS that has no certificate of this
                fleet.
            firmware: How many lamps with the real program instead, 1 to 32.
            cameras: How many cameras instead, 1 to 16; they register themselves, without --room in the room 'cameras'.
            lamps: How many lamps for a load test instead, 1 to 200000, called sim-00001 and so on; they are registered
                at its beginning and removed at its end.
            script: File that says when they arrive, move, die, leave, return, freeze and thaw; without, a thousand of
                them arrive in a second, and stay.
            rooms: How many rooms they stand in, sim-room-1 and so on, which watch the groups there are in turn.
            seed: Another number makes other hardware ids, and lets the script choose other lamps.
            first: Number of the first lamp, for a second process beside this one.
            keep: --keep leaves them registered at the end.
            processes: How many processes run them, 1 to 64; without, as few as the limit on open files lets.
        """
        from espfleet.cli.simulating import simulate_kind

        swarm = {
            "script": script,
            "rooms": rooms,
            "seed": seed,
            "first": first,
            "keep": keep,
            "processes": processes,
        }
        simulate_kind(count, room, dialect, ca, boards=boards, firmware=firmware, cameras=cameras, lamps=lamps, **swarm)
