"""The part of the tree of commands that looks at Redis: streams, metrics on their way out, keys, single commands.

Most have the names that EspNet gave them. Importing this is cheap, as ``cli.root`` says.
"""

from __future__ import annotations


class StreamTree:
    """Commands about what is in Redis."""

    def init_consumers(self) -> None:
        """Create the consumer groups of the streams; workers do so themselves, and doing it twice is harmless.

        Example: ./espcli init_consumers
        """
        from espfleet.cli.stream import init_consumers

        init_consumers()

    def metrics(self) -> None:
        """List the figures of this moment, as Datadog and Prometheus get them.

        Example: ./espcli metrics
        """
        from espfleet.cli.stream import metrics

        metrics()

    def upload_queued_metrics(self) -> None:
        """Send the metrics that wait, now; the steward does so by itself.

        Example: ./espcli upload_queued_metrics
        """
        from espfleet.cli.stream import upload_queued_metrics

        upload_queued_metrics()

    def process_backlog(self, ms: str) -> None:
        """Send metrics that somebody took and did not get rid of.

        Example: ./espcli process_backlog 60000

        Args:
            ms: Only those that were taken so many ms ago or longer.
        """
        from espfleet.cli.stream import process_backlog

        process_backlog(ms)

    def xinfo(self) -> None:
        """Show the outbox of metrics: how much waits, for how long, and what nobody takes.

        Example: ./espcli xinfo
        """
        from espfleet.cli.stream import xinfo

        xinfo()

    def xpending(self) -> None:
        """List the entries of the outbox that are being sent: by whom, since when, how often.

        Example: ./espcli xpending
        """
        from espfleet.cli.stream import xpending

        xpending()

    def xclaim(self, idle: str, id: str) -> None:
        """Take one entry of the outbox over and show its metrics.

        Example: ./espcli xclaim 60000 1700000000000-0

        Args:
            idle: Only if it was taken so many ms ago or longer.
            id: As xpending lists it.
        """
        from espfleet.cli.stream import xclaim

        xclaim(idle, id)

    def xack(self, ids: str) -> None:
        """Give entries of the outbox up: their metrics are not sent.

        Example: ./espcli xack 1700000000000-0

        Args:
            ids: As xpending lists them, with commas between.
        """
        from espfleet.cli.stream import xack

        xack(ids)

    def xdead(self) -> None:
        """List the latest metrics that were given up, each with the reason.

        Example: ./espcli xdead
        """
        from espfleet.cli.stream import xdead

        xdead()

    def keys(self, pattern: str = "") -> None:
        """List the keys of the fleet with their type, size and lifetime.

        Example: ./espcli keys 'lock:*'

        Args:
            pattern: Only those like it, * for anything; without the prefix that all have.
        """
        from espfleet.cli.raw import keys

        keys(pattern)

    def r(self, *words: str) -> None:
        """Send one command to Redis as it is and print the reply: what a job may read, or set, is any key.

        Example: ./espcli r set outside 12.5 ex 600

        Args:
            words: The command and its arguments.
        """
        from espfleet.cli.raw import raw

        raw(words)

    def xreadg(self) -> None:
        """Not here: it took metrics and never sent them. Use: xinfo, or upload_queued_metrics."""
        from espfleet.cli.stream import gone

        gone("xreadg", "./espcli xinfo to look, ./espcli upload_queued_metrics to send")

    def xreadgall(self) -> None:
        """Not here: it took metrics and never sent them. Use: xinfo, or upload_queued_metrics."""
        from espfleet.cli.stream import gone

        gone("xreadgall", "./espcli xpending to look, ./espcli process_backlog MS to send")

    def send_to_datadog(self, *_: str) -> None:
        """Not here: it sent metrics past the outbox. Use: upload_queued_metrics."""
        from espfleet.cli.stream import gone

        gone("send_to_datadog", "./espcli upload_queued_metrics")
