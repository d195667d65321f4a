"""The tree of commands.

Importing this module is cheap, so that ``--help`` is quick and needs no Redis: each command imports what it needs.
All values arrive as text, also those that look like numbers (see ``cli.main``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from espfleet.cli.alone import AloneTree
from espfleet.cli.simulated_tree import SimulatedTree
from espfleet.cli.tree import StreamTree

if TYPE_CHECKING:
    from espfleet.cli.certs import CertsCommands
    from espfleet.cli.devices import DeviceCommands
    from espfleet.cli.groups import GroupCommands
    from espfleet.cli.rooms import RoomCommands
    from espfleet.cli.targets import TargetCommands
    from espfleet.cli.tokens import TokenCommands


class Cli(StreamTree, AloneTree, SimulatedTree):
    """Lamps that glow with the latency of your network.

    Begin with './espcli up'; then './espcli watch' in a second terminal. Every command prints JSON with --json or into
    a pipe. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
    """

    def up(self, demo: str = "") -> None:
        """Run a whole fleet here: Redis, prober, leveler, gateway, steward and the web with its dashboard.

        Ctrl-C stops it. An empty fleet gets the demo by itself: simulated lamps and targets, nothing real.

        Args:
            demo: --demo adds the demo also to a fleet that is not empty, --nodemo never.
        """
        from espfleet.cli.up import up

        up({"True": True, "False": False}.get(demo))

    def demo(self, action: str = "add") -> None:
        """Add the demo, which './espcli up' then runs, or remove everything simulated.

        Args:
            action: add or remove.
        """
        from espfleet.cli.simulate import demo

        demo(action)

    def run(self, worker: str, processes: str = "1", drain: str = "0", share_port: str = "0") -> None:
        """Run one worker until Ctrl-C; any number of each may run, on any machine with the same REDIS_URL.

        Example: ./espcli run gateway --processes 2 --drain 10

        Args:
            worker: prober, leveler, gateway, web, steward or lamps (the simulated lamps of this fleet).
            processes: How many gateways (on one port), probers or levelers; SIGHUP replaces them one by one.
            drain: Seconds that a gateway may take, when it is told to stop, to hand its lamps over to others.
            share_port: Port that this gateway shares with others of the same user; 0 for SERVER_PORT alone.
        """
        from espfleet.cli.run import run

        run(worker, processes, drain, share_port)

    def register(
        self, ip: str, name: str, room: str = "", id: str = "", dialect: str = "", new_token: str = ""
    ) -> None:
        """Add a device to the fleet: ask it who it is, store its name, give it a token.

        Doing it again changes nothing. Example: ./espcli register 192.0.2.7 porch

        Args:
            ip: Its address: IP or IP:PORT.
            name: Name for it, such as porch.
            room: Room to put it into; without, a new device goes to the room 'default'.
            id: Hardware id of a device that cannot be reached yet; it is then not asked.
            dialect: What a device speaks that cannot be asked who it is: pinglamp, boards or relay, known by its IP;
                hub for a camera, known by its token (docs/hub.md).
            new_token: --new_token gives it another token; the old one ends at once.
        """
        from espfleet.cli.devices import register

        register(ip, name, room, id, dialect, new_token == "True")

    def provision(
        self,
        port: str,
        name: str = "",
        room: str = "",
        wifi: str = "",
        wifi_password_file: str = "",
        gateway: str = "",
        output: str = "",
        pins: str = "",
        inverted: str = "",
    ) -> None:
        """Make a board on a USB cable a lamp of the fleet: Wi-Fi, gateway, token, name.

        The password of the Wi-Fi is asked for, or read from a pipe; it is never shown or stored here. Doing it again
        changes nothing. Example: ./espcli provision /dev/ttyUSB0 --name porch --wifi home

        Args:
            port: Of the board, such as /dev/ttyUSB0.
            name: Name for it, such as porch.
            room: Room to put it into; without, a new lamp goes to the room 'default'.
            wifi: Name of the Wi-Fi it shall join; without, it keeps those that it knows.
            wifi_password_file: File that holds the password of the Wi-Fi, instead of asking.
            gateway: Where it shall connect to, ws://HOST:PORT; without, to the gateway of these settings.
            output: What its light is made of: leds, rgb, led or strip.
            pins: Pins of its light, such as 18,19,4; without, the usual ones of the chip.
            inverted: --inverted for LEDs with a common anode, --noinverted for others.
        """
        from espfleet.cli.provision import provision

        provision(
            port,
            name=name,
            room=room,
            wifi=wifi,
            password_file=wifi_password_file,
            gateway=gateway,
            output_kind=output,
            pins=pins,
            inverted=inverted,
        )

    def unregister(self, name: str) -> None:
        """Remove a device from the fleet.

        Args:
            name: Its name or hardware id.
        """
        from espfleet.cli.devices import unregister

        unregister(name)

    def devices(self) -> None:
        """List the devices: room, level, whether they are there, when they were heard last."""
        from espfleet.cli.devices import devices

        devices()

    def ids(self) -> None:
        """List the hardware id of each device."""
        from espfleet.cli.devices import ids

        ids()

    def is_online(self, name: str) -> None:
        """Say whether a device is there; the exit code is 0 if it is, else 1.

        Args:
            name: Its name or hardware id.
        """
        from espfleet.cli.devices import is_online

        is_online(name)

    def device(self, name: str) -> DeviceCommands:
        """Show one device, or do something with it (./espcli device porch identify).

        Args:
            name: Its name or hardware id.
        """
        from espfleet.cli.devices import DeviceCommands

        return DeviceCommands(name)

    def jobs(self) -> None:
        """List the jobs of all devices: what each wishes, and why."""
        from espfleet.cli.jobs import list_jobs

        list_jobs()

    def rooms(self) -> None:
        """List the rooms: the group each watches, its level, its devices."""
        from espfleet.cli.rooms import rooms

        rooms()

    def room(self, name: str) -> RoomCommands:
        """Show one room, or do something with it (./espcli room office add).

        Args:
            name: Its name.
        """
        from espfleet.cli.rooms import RoomCommands

        return RoomCommands(name)

    def groups(self) -> None:
        """List the groups: level, targets, how they are judged."""
        from espfleet.cli.groups import groups

        groups()

    def group(self, name: str) -> GroupCommands:
        """Show one group, or do something with it (./espcli group internet add).

        Args:
            name: Its name.
        """
        from espfleet.cli.groups import GroupCommands

        return GroupCommands(name)

    def targets(self) -> None:
        """List the targets: latency, loss, level."""
        from espfleet.cli.targets import targets

        targets()

    def target(self, name: str) -> TargetCommands:
        """Show one target, or do something with it (./espcli target router add 192.0.2.1).

        Args:
            name: Its name.
        """
        from espfleet.cli.targets import TargetCommands

        return TargetCommands(name)

    def levels(self) -> None:
        """List the present level of every group, with what decided it."""
        from espfleet.cli.groups import levels

        levels()

    def watch(self, seconds: str = "0") -> None:
        """Show rooms, lamps and levels live until Ctrl-C; into a pipe, each change as a line of JSON.

        Args:
            seconds: Stop by itself after so long; 0 for never.
        """
        from espfleet.cli.watch import watch

        watch(seconds)

    def events(self, count: str = "50", each: str = "") -> None:
        """List what happened, newest first; what many devices share, such as a room without power, is one event.

        Args:
            count: How many, 1 to 10000.
            each: --each lists every device of such an event too.
        """
        from espfleet.cli.events import events

        events(count, each == "True")

    def audit(self, count: str = "50") -> None:
        """List who changed what in the fleet, or told devices to do what, newest first: when, and from where.

        Args:
            count: How many, 1 to 10000.
        """
        from espfleet.cli.audit import audit

        audit(count)

    def why(self, name: str) -> None:
        """Explain a level: every target, every contribution, its inputs and thresholds.

        Args:
            name: A device, room, group or target.
        """
        from espfleet.cli.why import why

        why(name)

    def tokens(self) -> None:
        """List who has a token for the web and for watching, and what it lets them do."""
        from espfleet.cli.tokens import tokens

        tokens()

    def token(self, name: str) -> TokenCommands:
        """Make or end a token (./espcli token laptop add --role admin).

        Args:
            name: Name for it, such as laptop.
        """
        from espfleet.cli.tokens import TokenCommands

        return TokenCommands(name)

    def backup(self, file: str) -> None:
        """Write everything that people have set up to a file: devices, rooms, groups, targets, jobs, hashes of tokens.

        The file is whole or not there, and only you may read it. Measured data is not in it.

        Args:
            file: Path of the file; one that is there is replaced.
        """
        from espfleet.cli.backups import backup

        backup(file)

    def restore(self, file: str, force: str = "") -> None:
        """Set the fleet up from a backup: all of it, or nothing.

        Args:
            file: Path of the file that 'backup' wrote; it may be from an older espfleet.
            force: --force replaces what is set up already; without it, a fleet that is not empty is left alone.
        """
        from espfleet.cli.backups import restore

        restore(file, force == "True")

    def certs(self) -> CertsCommands:
        """Make, show, renew or replace the certificates for TLS (./espcli certs show)."""
        from espfleet.cli.certs import CertsCommands

        return CertsCommands()

    def doctor(self) -> None:
        """Check Redis, ICMP permission, clock, ports and disk, and say how to mend what is wrong."""
        from espfleet.cli.doctor import doctor

        doctor()


class ImportCommands:
    """Take over the set-up of another system."""

    def env(self, file: str) -> None:
        """Make targets and a group of a PING_LAMP .env file.

        Args:
            file: Path of the file; it is only read.
        """
        from espfleet.cli.imports import import_env

        import_env(file)


# A word of Python, and so not to be written as a name in the class.
setattr(Cli, "import", ImportCommands())
