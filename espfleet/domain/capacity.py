"""How many processes, cores and how much memory a fleet needs, reckoned from what one of everything costs.

``docs/capacity.md`` has the formulas in words. Nothing here is measured: ``unit_costs`` is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from espfleet.domain.loads import Load
from espfleet.domain.unit_costs import COSTS
from espfleet.errors import InvalidError

#: The most that one process was measured with; a plan gives none more.
MOST_LAMPS, MOST_TARGETS, MOST_VIEWERS = 10_000, 20_000, 200
#: A Cluster has at least so many masters: fewer cannot agree that one of them is gone.
LEAST_MASTERS = 3
#: The most devices in one fleet: each change of the registry stops every process for as long as ``device_stall`` says.
MOST_DEVICES = 100_000
#: Levels of a shard are told at most so often for each prober: it writes samples every 50 ms.
MESSAGES_PER_S = 20
#: What streams keep: 240 s and half as much again.
KEPT_S = 360
#: Minutes of a lamp's numbers that Redis keeps: a day, and the hour in which it ends.
KEPT_MINUTES = 1_500
#: A point of history takes so much of Redis, and all of it together at most so much.
HISTORY_TARGET_BYTES, HISTORY_BYTES = 67_000, 256 * 2**20
#: Lamps that one gateway lets in a second.
CONNECTS_PER_S = 2_000
#: What a process of Python takes before it does anything.
PROCESS_KIB = 40_000
#: What all who look are told beside levels: a beat and numbers, each second; and levels at most so often.
VIEWER_MESSAGES_PER_S, LEVEL_TICKS_PER_S = 2, 12.5
EMPTY_REDIS_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one kind of process needs.

    Attributes:
        role: What it is.
        count: How many of them.
        cores: CPU of all of them together, in cores.
        mib: Memory of all of them together.
        by: What decides how many.
    """

    role: str
    count: int
    cores: float
    mib: float
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fleet needs.

    Attributes:
        fleets: How many fleets, each with a Redis of its own; what follows is for each of them.
        load: What each of them carries.
        needs: Processes.
        lamp_mbit_s, viewer_mbit_s, redis_mbit_s: Network to lamps, to those who look, and to and from Redis.
        files: Open files of the busiest gateway.
        back_s: How soon all lamps are back after a power cut, at the earliest.
        stall_ms: For how long each process stops at each change of the registry.
        warnings: What is beyond what was measured, or will break first.
    """

    fleets: int
    load: Load
    needs: tuple[Need, ...]
    lamp_mbit_s: float
    viewer_mbit_s: float
    redis_mbit_s: float
    files: int
    back_s: float
    stall_ms: float
    warnings: tuple[str, ...]

    @property
    def total(self) -> Need:
        """All processes of one fleet together."""
        count, cores = sum(need.count for need in self.needs), sum(need.cores for need in self.needs)
        return Need(role="together", count=count, cores=cores, mib=sum(need.mib for need in self.needs), by="")


def plan(load: Load) -> Plan:
    """Return what a fleet needs.

    Raises:
        InvalidError: If no number of processes is enough.
    """
    fleets = max(1, math.ceil(load.lamps / MOST_DEVICES))
    if fleets > 1:
        load = replace(
            load,
            lamps=math.ceil(load.lamps / fleets),
            targets=math.ceil(load.targets / fleets),
            viewers=math.ceil(load.viewers / fleets),
            groups=math.ceil(load.groups / fleets),
        )
    gateways = _gateways(load)
    probers, levelers = _probers(load), _levelers(load)
    webs = _webs(load)
    redis = _redis(load, gateways.count, webs.count)
    steward = _steward(load)
    report_bytes = load.reports_per_s * _of("wire_report_bytes")
    lamp_bytes = load.keepalives_per_s * _of("wire_keepalive_bytes") + load.levels_per_s * _of("wire_level_bytes")
    looked_bytes = load.changes * _of("web_level_bytes") + load.reports * _of("web_report_bytes")
    return Plan(
        fleets=fleets,
        load=load,
        needs=(gateways, probers, levelers, steward, webs, redis, *_replicas(redis)),
        lamp_mbit_s=_mbit(load.lamps * (lamp_bytes + report_bytes)),
        viewer_mbit_s=_mbit(load.viewers * looked_bytes),
        redis_mbit_s=_mbit(_redis_bytes(load, gateways.count + webs.count)),
        files=math.ceil(load.lamps / gateways.count) + 100,
        back_s=_back_s(load.lamps, gateways.count),
        stall_ms=load.lamps * _of("device_stall") / 1_000,
        warnings=tuple(_warnings(load, fleets, gateways.count, probers.count, levelers.count, redis)),
    )


def _gateways(load: Load) -> Need:
    """A gateway bears its own lamps, and hears the levels and the numbers of the whole fleet."""
    each = (
        _of("gateway_lamp")
        + load.keepalives_per_s * _of("gateway_keepalive")
        + load.levels_per_s * _of("gateway_level")
        + load.reports_per_s * _of("gateway_report")
    )
    fixed = _of("gateway_base") + _heard(load)
    count, by = _shared(load.lamps, each, fixed, MOST_LAMPS, load.busy_percent, "gateway")
    lamp_kib = _of("gateway_tls_lamp_kib") if load.tls else _of("gateway_lamp_kib")
    kib = load.lamps * lamp_kib + count * (PROCESS_KIB + _registry_kib(load))
    return Need(role="gateway", count=count, cores=(load.lamps * each + count * fixed) / 1e6, mib=kib / 1_024, by=by)


def _heard(load: Load) -> float:
    """Return what each gateway spends on hearing the whole fleet, µs in a second."""
    return (
        load.changes * _of("gateway_heard_level")
        + _messages(load) * _of("gateway_heard_message")
        + load.reports * _of("gateway_heard_report")
    )


def _messages(load: Load) -> float:
    """Return how many messages about levels there are in a second."""
    return min(load.changes, MESSAGES_PER_S * load.shards * _probers(load).count)


def _probers(load: Load) -> Need:
    each, fixed = _of("prober_probe") / load.interval_s, _of("prober_base")
    count, by = _shared(load.targets, each, fixed, MOST_TARGETS, load.busy_percent, "prober")
    kib = load.targets * _of("prober_target_kib") + count * (PROCESS_KIB + _registry_kib(load))
    return Need(role="prober", count=count, cores=(load.targets * each + count * fixed) / 1e6, mib=kib / 1_024, by=by)


def _levelers(load: Load) -> Need:
    fixed = _of("leveler_base") * _probing(load)
    each = _of("leveler_sample") / load.interval_s
    total = load.targets * each + fixed
    by_cpu, by_size = math.ceil(total / (load.busy_percent * 1e4)), math.ceil(load.targets / MOST_TARGETS)
    count = max(1, by_cpu, by_size)
    kib = load.targets * _of("leveler_target_kib") + count * (PROCESS_KIB + _registry_kib(load))
    by = "CPU" if by_cpu > by_size else "what was measured"
    return Need(
        role="leveler", count=count, cores=total / 1e6, mib=kib / 1_024, by=by if count > 1 else "one is enough"
    )


def _probing(load: Load) -> float:
    """Return how much there is of the work that does not grow with targets; one prober on four shards is 1.

    It is for entries: each prober writes one each 50 ms to each shard that has samples then. Measured with 1, 4 and 16
    shards, 5/8 of it do not depend on them.
    """
    probers = _probers(load).count
    used = load.shards * (1 - (1 - 1 / load.shards) ** load.all_groups)
    most = MESSAGES_PER_S * used
    entries = most * (1 - math.exp(-load.samples / probers / most))
    return probers * (5 + 3 * entries / (MESSAGES_PER_S * 4)) / 8


def _steward(load: Load) -> Need:
    kib = PROCESS_KIB + _registry_kib(load) + load.targets * _of("steward_target_kib")
    return Need(role="steward", count=1, cores=_of("steward_base") / 1e6, mib=kib / 1_024, by="one leads")


def _webs(load: Load) -> Need:
    messages = VIEWER_MESSAGES_PER_S + min(load.changes, LEVEL_TICKS_PER_S)
    each = messages * _of("web_message")
    fixed = _of("web_base") + load.changes * _of("web_level") + load.reports * _of("web_report")
    count, by = _shared(load.viewers, each, fixed, MOST_VIEWERS, load.busy_percent, "web")
    kib = load.viewers * _of("web_viewer_kib") + count * (PROCESS_KIB + _registry_kib(load))
    return Need(role="web", count=count, cores=(load.viewers * each + count * fixed) / 1e6, mib=kib / 1_024, by=by)


def _redis(load: Load, gateways: int, webs: int) -> Need:
    total = (
        _of("redis_base")
        + load.lamps * (_of("redis_lamp") + load.reports_per_s * _of("redis_report"))
        + load.changes * _of("redis_level")
        + _messages(load) * (_of("redis_message") + (gateways + webs) * _of("redis_listener"))
        + load.samples * _of("redis_sample")
        + (_of("redis_probing") * _probing(load) if load.targets else 0)
    )
    size = (
        EMPTY_REDIS_BYTES
        + load.lamps * (_of("redis_device_bytes") + _of("redis_session_bytes"))
        + (load.lamps * KEPT_MINUTES * _of("redis_minute_bytes") if load.reports_per_s else 0)
        + load.targets * (_of("redis_target_bytes") + kept_samples(load) * _of("redis_sample_bytes"))
        + min(load.targets * HISTORY_TARGET_BYTES, HISTORY_BYTES)
    )
    count = max(1, math.ceil(total / (load.busy_percent * 1e4)))
    by = "one server is enough"
    if count > 1:
        by = "CPU: masters of a Cluster" if count > LEAST_MASTERS else "CPU: a Cluster has three masters at least"
        count = max(count, LEAST_MASTERS)
    return Need(role="redis", count=count, cores=total / 1e6, mib=size / 2**20, by=by)


def _replicas(redis: Need) -> tuple[Need, ...]:
    """Return the replicas of a Cluster; one server alone has none, unless somebody wants one."""
    if redis.count == 1:
        return ()
    by = "one for each master: the same data, and no more CPU than that"
    return (replace(redis, role="replicas", by=by),)


def kept_samples(load: Load) -> float:
    """Return how many samples of a target the streams keep."""
    return KEPT_S / load.interval_s


def _redis_bytes(load: Load, listeners: int) -> float:
    """Return what goes to and from Redis in a second; what is told is heard by each who listens."""
    return (
        load.lamps * _of("redis_lamp_traffic")
        + load.reports * _of("redis_report_traffic")
        + load.samples * _of("redis_sample_traffic")
        + listeners * (load.changes * _of("web_level_bytes") + load.reports * _of("web_report_bytes"))
    )


def _back_s(lamps: int, gateways: int) -> float:
    """Return how long all lamps take to be let in when all come at once and each gateway hears of all of them."""
    each_us = _of("gateway_come") / gateways + _of("gateway_heard_arrival")
    return lamps / min(gateways * CONNECTS_PER_S, 1e6 / each_us, 1e6 / _of("redis_come"))


def _warnings(load: Load, fleets: int, gateways: int, probers: int, levelers: int, redis: Need) -> list[str]:
    """Return what is to be known before this is built."""
    said = []
    if fleets > 1:
        said.append(
            f"one fleet holds {MOST_DEVICES:,} devices: every process holds and reads the whole registry; "
            f"make {fleets} fleets, each with a Redis of its own"
        )
    if gateways > 1 or probers > 1:
        said.append("two processes of a kind on two cores were measured; more, and several machines, are reckoned")
    if levelers > load.shards:
        said.append(
            f"{levelers} levelers need as many shards, not {load.shards}: set ESPFLEET_SHARDS before the fleet is made"
        )
    if redis.count > 1:
        said.append(
            "on a Cluster each message is told by one server, that of its shard, but the registry, events and numbers "
            "of lamps are each told by a single one for all: it was tested, not measured"
        )
    if redis.mib > 8 * 1_024 and load.reports_per_s:
        said.append(
            f"nearly all of the memory of Redis is what lamps told of themselves, {KEPT_MINUTES:,} minutes of it"
        )
    if load.tls:
        said.append("with TLS the memory of a lamp was measured, not its CPU: reckon with half as much again")
    return said


def _shared(things: int, each: float, fixed: float, most: int, busy_percent: float, role: str) -> tuple[int, str]:
    """Return how many processes share things, and what decides it.

    Args:
        things: How many there are.
        each: What one of them costs, µs in a second.
        fixed: What each process spends anyway, µs in a second.
        most: How many of them a process may have.
        busy_percent: How much of a core a process may take.
        role: What the processes are.
    """
    room = busy_percent * 1e4 - fixed
    if room <= 0:
        raise InvalidError(
            f"no number of processes is enough: each {role} would spend {fixed / 1e6:.0%} of a core on what all of "
            "them hear; make several fleets, or let levels change less often",
            field="lamps",
        )
    by_cpu, by_size = math.ceil(things * each / room), math.ceil(things / most)
    return max(1, by_cpu, by_size), _by(by_cpu, by_size, most)


def _by(by_cpu: int, by_size: int, most: int) -> str:
    """Return what decides how many processes there are, in words."""
    if max(by_cpu, by_size) <= 1:
        return "one is enough"
    return "CPU" if by_cpu > by_size else f"{most:,} were measured in one"


def _registry_kib(load: Load) -> float:
    return load.lamps * _of("device_kib")


def _mbit(bytes_per_s: float) -> float:
    return bytes_per_s * 8 / 1e6


def _of(key: str) -> float:
    return COSTS[key].value
