"""What one more of everything costs, as it was measured: ``make bench BENCH=capacity`` measures it again.

The figures are those of ``bench/results/capacity.json``, rounded; a test compares them. CPU is that of one core of the
machine named there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: How far the figures here may be from those that were measured last: CPU depends on the machine and what else it
#: does, memory and bytes hardly do.
CPU_FACTOR = 2.5
SIZE_FACTOR = 1.3


@dataclass(frozen=True, slots=True)
class UnitCost:
    """What one of something costs.

    Attributes:
        key: Its name in formulas.
        what: What it is, in words.
        unit: ``µs`` of CPU (``µs/s`` for what costs all the time), ``KiB`` or ``B``.
        value: The figure.
    """

    key: str
    what: str
    unit: str
    value: float

    @property
    def factor(self) -> float:
        """How far it may be from what was measured."""
        return CPU_FACTOR if self.unit.startswith("µs") else SIZE_FACTOR


def _by_key(*costs: UnitCost) -> Mapping[str, UnitCost]:
    return {one.key: one for one in costs}


COSTS: Mapping[str, UnitCost] = _by_key(
    # A gateway.
    UnitCost("gateway_base", "a gateway at work, however many lamps", "µs/s", 25_000),
    UnitCost("gateway_lamp", "a lamp that is there: the clock is looked at, Redis is told", "µs/s", 8.1),
    UnitCost("gateway_keepalive", "a keepalive taken by the gateway", "µs", 4.0),
    UnitCost("gateway_level", "a level sent to a lamp by the gateway", "µs", 7.2),
    UnitCost("gateway_report", "a keepalive with numbers in it, read by the gateway and told to Redis", "µs", 38),
    UnitCost("gateway_come", "a lamp that comes: handshake, token, welcome, Redis told", "µs", 300),
    UnitCost("gateway_heard_message", "a message about levels, heard by a gateway", "µs", 116),
    UnitCost("gateway_heard_level", "each level in it, which none of its lamps watches", "µs", 3.2),
    UnitCost("gateway_heard_report", "numbers of a lamp at another gateway, heard by a gateway", "µs", 1.5),
    UnitCost("gateway_heard_arrival", "a lamp that came to another gateway, heard by a gateway", "µs", 33),
    UnitCost("gateway_lamp_kib", "memory of a lamp in its gateway", "KiB", 3.6),
    UnitCost("gateway_tls_lamp_kib", "memory of a lamp in its gateway, with TLS", "KiB", 30),
    # The registry, in every process.
    UnitCost("device_first", "a registered device, read when a process starts", "µs", 12),
    UnitCost("device_again", "a registered device, read again by a process after a change of any", "µs", 2.1),
    UnitCost("device_stall", "of that, while the process does nothing else", "µs", 0.9),
    UnitCost("device_kib", "memory of a registered device in every process", "KiB", 1.1),
    UnitCost("redis_device_read", "a registered device, read once by one process: CPU of Redis", "µs", 0.62),
    # Redis.
    UnitCost("redis_base", "Redis with a fleet that does nothing", "µs/s", 2_300),
    UnitCost("redis_lamp", "a lamp that is there: CPU of Redis", "µs/s", 4.6),
    UnitCost("redis_report", "a keepalive with numbers in it: CPU of Redis", "µs", 17),
    UnitCost("redis_come", "a lamp that comes: CPU of Redis", "µs", 60),
    UnitCost("redis_message", "a message about levels: CPU of Redis", "µs", 67),
    UnitCost("redis_level", "each level in it: CPU of Redis", "µs", 2.7),
    UnitCost("redis_listener", "each process that hears a message: CPU of Redis", "µs", 4.1),
    UnitCost("redis_probing", "Redis with one prober and one leveler at work, over 4 shards", "µs/s", 12_000),
    UnitCost("redis_sample", "a sample written and read: CPU of Redis", "µs", 0.25),
    UnitCost("redis_device_bytes", "memory of a registered device in Redis", "B", 350),
    UnitCost("redis_session_bytes", "memory of a lamp that is there in Redis", "B", 690),
    UnitCost("redis_minute_bytes", "memory of a minute of a lamp's numbers in Redis", "B", 35),
    UnitCost("redis_target_bytes", "memory of a target in its group in Redis", "B", 170),
    UnitCost("redis_sample_bytes", "memory of a sample in its stream in Redis", "B", 4.4),
    UnitCost("redis_lamp_traffic", "bytes between gateway and Redis for a lamp that is there, a second", "B", 95),
    UnitCost("redis_report_traffic", "bytes between gateway and Redis for a keepalive with numbers in it", "B", 430),
    UnitCost("redis_sample_traffic", "bytes to and from Redis for a sample", "B", 44),
    # Probing.
    UnitCost("prober_base", "a prober at work, however many targets", "µs/s", 65_000),
    UnitCost("prober_probe", "a probe by ICMP, to loopback: CPU of the prober", "µs", 8),
    UnitCost("prober_target_kib", "memory of a target in its prober", "KiB", 1.5),
    UnitCost("leveler_base", "a leveler at work, however many targets, over 4 shards", "µs/s", 80_000),
    UnitCost("leveler_sample", "a sample taken in and judged: CPU of the leveler", "µs", 1.4),
    UnitCost("leveler_target_kib", "memory of a target in its leveler", "KiB", 1.7),
    UnitCost("steward_base", "the steward at work, however many targets", "µs/s", 18_500),
    UnitCost("steward_target_kib", "memory of a target in the steward", "KiB", 1.3),
    # The web.
    UnitCost("web_base", "the web at work, whoever looks", "µs/s", 8_500),
    UnitCost("web_level", "a level that changes: CPU of the web", "µs", 27),
    UnitCost("web_report", "numbers of a lamp: CPU of the web", "µs", 6.5),
    UnitCost("web_message", "a message to one who looks: CPU of the web", "µs", 35),
    UnitCost("web_viewer_kib", "memory of one who looks in the web", "KiB", 60),
    UnitCost("web_level_bytes", "a level that changes, told to one who looks", "B", 93),
    UnitCost("web_report_bytes", "numbers of a lamp, told to one who looks", "B", 128),
    # The wire.
    UnitCost("wire_keepalive_bytes", "a keepalive on the wire, with its acknowledgement and all headers", "B", 125),
    UnitCost("wire_level_bytes", "a level on the wire, with its acknowledgement and all headers", "B", 264),
    UnitCost("wire_report_bytes", "a keepalive with numbers in it on the wire", "B", 205),
)
