"""The part of the tree of commands that needs no fleet. Importing this is cheap, as ``cli.root`` says."""

from __future__ import annotations


class AloneTree:
    """Commands that ask no Redis."""

    def capacity(
        self,
        lamps: str,
        targets: str,
        viewers: str = "",
        groups: str = "",
        changes: str = "",
        interval: str = "",
        shards: str = "",
        busy: str = "",
        tls: str = "",
    ) -> None:
        """Reckon how many processes and cores, how much memory and network a fleet needs, from what was measured.

        Example: ./espcli capacity --lamps 100000 --targets 5000 --viewers 50

        Args:
            lamps: How many lamps are connected.
            targets: How many targets are measured.
            viewers: How many look at the dashboard; usually 10.
            groups: How many groups of targets there are; usually one for each fifty targets.
            changes: How often the level of a group changes, 1/s; usually 1.
            interval: Time between two probes of a target, s; usually 1.
            shards: ESPFLEET_SHARDS; usually 4.
            busy: How busy a process may be, % of a core; usually 50, which leaves room for storms.
            tls: --tls if lamps connect with TLS.
        """
        from espfleet.cli.capacity import capacity

        capacity(
            tls == "True",
            lamps=lamps,
            targets=targets,
            viewers=viewers,
            groups=groups,
            changes=changes,
            interval=interval,
            shards=shards,
            busy=busy,
        )

    def flash(self, port: str, image: str = "", chip: str = "") -> None:
        """Put the lamp's program onto a board on a USB cable; with --image, MicroPython first.

        Nothing is downloaded: take the image for your board from micropython.org. What an image replaces is gone, all
        files of the board included. Example: ./espcli flash /dev/ttyUSB0 --image ESP32_GENERIC.bin

        Args:
            port: Of the board, such as /dev/ttyUSB0.
            image: File with MicroPython for this chip.
            chip: Refuse an image for any other chip: esp32, esp32s2, esp32s3, esp32c3 or esp32c6.
        """
        from espfleet.cli.flash import flash

        flash(port, image, chip)

    def settings(self) -> None:
        """List every setting with its value and where it comes from; secrets are masked."""
        from espfleet.cli.doctor import settings

        settings()

    def version(self) -> None:
        """Print the version."""
        from espfleet import __version__
        from espfleet.cli.output import say

        say(f"espfleet {__version__}", {"version": __version__})
