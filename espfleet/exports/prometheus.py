"""``/metrics`` for Prometheus: shows what it was told last, for as long as that is true."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from espfleet.domain.points import Point
from espfleet.errors import StartError
from espfleet.exports.scraping import ScrapeServer

_NAME = re.compile(r"[^a-zA-Z0-9_]")


class Prometheus(Collector):
    """Serves points on a port of its own, in a thread.

    Raises:
        StartError: If the port is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        self._points: Sequence[Point] = ()
        self._until_s = 0.0
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server = ScrapeServer(host, port, make_wsgi_app(registry))
        except OSError as exc:
            raise StartError(f"/metrics cannot be served on {host}:{port}: {exc.strerror or exc}") from exc
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def show(self, points: Sequence[Point], for_s: float) -> None:
        """Show these points from now on, and no older ones; after ``for_s`` seconds they are old themselves."""
        self._points = points
        self._until_s = time.monotonic() + for_s

    def collect(self) -> Iterable[Metric]:
        """Return what is shown, as the library wants it: names with underscores, tags as labels.

        Of old points there is only ``espfleet_fresh``, which is 0 then: what was true when Redis went away may not be.
        """
        fresh = time.monotonic() < self._until_s
        told = GaugeMetricFamily("espfleet_fresh", "whether what is known of the fleet is known now")
        told.add_metric([], float(fresh))
        yield told
        if not fresh:
            return
        families: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for point in self._points:
            labels = tuple(_label(tag) for tag in point.tags)
            families.setdefault(_NAME.sub("_", point.name), {})[labels] = point.value
        for name, values in sorted(families.items()):
            names = list(dict.fromkeys(label for labels in values for label, _ in labels))
            family = GaugeMetricFamily(name, name.replace("_", " "), labels=names)
            for labels, value in values.items():
                known = dict(labels)
                family.add_metric([known.get(label, "") for label in names], value)
            yield family

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _label(tag: str) -> tuple[str, str]:
    name, _, value = tag.partition(":")
    return _NAME.sub("_", name), value
