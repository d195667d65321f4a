"""Plans: what a fleet of some size needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from espfleet.domain.capacity import LEAST_MASTERS, MOST_DEVICES, MOST_LAMPS, MOST_TARGETS, Need, Plan, plan
from espfleet.domain.loads import Load
from espfleet.domain.unit_costs import COSTS
from espfleet.errors import InvalidError

SMALL = Load(lamps=100, targets=50)


def need(found: Plan, role: str) -> Need:
    return next(one for one in found.needs if one.role == role)


def cost(key: str) -> float:
    return COSTS[key].value


def test_a_small_fleet_is_one_process_of_each() -> None:
    found = plan(SMALL)
    assert {one.role: one.count for one in found.needs} == dict.fromkeys(
        ("gateway", "prober", "leveler", "steward", "web", "redis"), 1
    )
    assert found.warnings == ()
    assert found.fleets == 1


def test_a_lamp_costs_its_gateway_what_the_formula_says() -> None:
    lamp = cost("gateway_lamp") + cost("gateway_keepalive") + 2 * cost("gateway_level")
    lamp += SMALL.reports_per_s * (cost("gateway_report") + cost("gateway_heard_report"))
    more = need(plan(replace(SMALL, lamps=1_100)), "gateway").cores - need(plan(SMALL), "gateway").cores
    assert more == pytest.approx(1_000 * lamp / 1e6)


def test_no_process_is_given_more_than_was_measured_or_is_busier_than_it_may_be() -> None:
    for lamps in (9_000, 30_000, 95_000):
        for targets in (1_000, 60_000, 150_000):
            load = Load(lamps=lamps, targets=targets, groups=20, viewers=900, shards=16)
            found = plan(load)
            assert need(found, "gateway").count * MOST_LAMPS >= lamps
            assert need(found, "prober").count * MOST_TARGETS >= targets
            for one in found.needs:
                assert one.cores / one.count <= load.busy_percent / 100 + 1e-9, one


def test_a_busier_plan_takes_fewer_processes() -> None:
    calm, busy = (plan(Load(lamps=9_000, targets=90_000, groups=9, busy_percent=percent)) for percent in (15, 80))
    assert need(calm, "prober").count > need(busy, "prober").count
    assert need(calm, "prober").by == "CPU"


def test_every_gateway_pays_for_what_the_whole_fleet_tells() -> None:
    quiet, loud = (plan(Load(lamps=90_000, targets=500, groups=groups)) for groups in (10, 4_000))
    assert need(loud, "gateway").cores > 1.05 * need(quiet, "gateway").cores


def test_what_no_number_of_processes_can_do_is_refused() -> None:
    with pytest.raises(InvalidError, match=r"each gateway would spend \d+% of a core on what all of them hear"):
        plan(Load(lamps=100, targets=100, groups=500_000))


def test_more_devices_than_one_fleet_holds_are_several_fleets() -> None:
    found = plan(Load(lamps=10 * MOST_DEVICES, targets=1_000, viewers=5, groups=20))
    assert found.fleets == 10
    assert (found.load.lamps, found.load.targets, found.load.viewers, found.load.groups) == (MOST_DEVICES, 100, 1, 2)
    assert "make 10 fleets" in found.warnings[0]


def test_a_change_of_the_registry_stops_processes_for_less_than_levels_last() -> None:
    assert plan(Load(lamps=MOST_DEVICES, targets=1)).stall_ms < 500


def test_redis_becomes_a_cluster_when_one_server_would_be_too_busy() -> None:
    found = plan(Load(lamps=100_000, targets=5_000))
    assert need(found, "redis").count > 1
    assert any("each message is told by one server, that of its shard" in warning for warning in found.warnings)


def test_a_cluster_has_masters_that_can_agree_and_a_replica_of_each() -> None:
    found = plan(Load(lamps=100_000, targets=5_000))
    masters, replicas = need(found, "redis"), need(found, "replicas")
    assert masters.count == replicas.count == LEAST_MASTERS
    # The data is there twice.
    assert replicas.mib == masters.mib
    assert found.total.mib > 2 * masters.mib
    larger = need(plan(Load(lamps=100_000, targets=5_000, busy_percent=10)), "redis")
    assert larger.count > LEAST_MASTERS
    assert larger.by == "CPU: masters of a Cluster"


@pytest.mark.parametrize(("shards", "measured"), [(1, 0.75), (4, 1.0), (16, 1.72)])
def test_shards_cost_a_leveler_about_what_was_measured(shards: int, measured: float) -> None:
    """Measured: 43, 57 and 98 thousand µs a second, with 1,000 targets in 20 groups."""
    base, samples = cost("leveler_base"), 1_000 * cost("leveler_sample")
    reckoned = need(plan(Load(lamps=0, targets=1_000, shards=shards)), "leveler").cores * 1e6 - samples
    assert reckoned / base == pytest.approx(measured, rel=0.25)


def test_shards_that_get_no_samples_cost_nothing() -> None:
    few, many = (need(plan(Load(lamps=0, targets=20, shards=shards)), "leveler").cores for shards in (4, 64))
    assert many == pytest.approx(few, rel=0.05)


def test_what_lamps_tell_of_themselves_is_most_of_the_memory_of_redis() -> None:
    told, bare = (plan(Load(lamps=10_000, targets=100, reports_per_s=reports)) for reports in (0.1, 0))
    assert need(told, "redis").mib > 10 * need(bare, "redis").mib


def test_streams_keep_six_minutes_of_samples_whatever_the_number_of_shards() -> None:
    few, many, fast = (
        need(plan(Load(lamps=0, targets=50_000, shards=shards, interval_s=interval_s)), "redis").mib * 2**20
        for shards, interval_s in ((4, 1), (16, 1), (4, 0.5))
    )
    assert few == many
    assert fast - few == pytest.approx(50_000 * 360 * cost("redis_sample_bytes"))


def test_levelers_ask_for_shards() -> None:
    found = plan(Load(lamps=0, targets=400_000, shards=4))
    assert any("need as many shards" in warning for warning in found.warnings)


def test_tls_takes_memory() -> None:
    plain, tls = (plan(Load(lamps=10_000, targets=10, tls=tls)) for tls in (False, True))
    more_kib = (need(tls, "gateway").mib - need(plain, "gateway").mib) * 1_024
    assert more_kib == pytest.approx(10_000 * (cost("gateway_tls_lamp_kib") - cost("gateway_lamp_kib")))


def test_more_gateways_bring_lamps_back_sooner_until_redis_is_the_limit() -> None:
    one, ten = plan(Load(lamps=10_000, targets=10)), plan(Load(lamps=100_000, targets=10))
    assert one.back_s == pytest.approx(5, abs=1)
    assert ten.back_s < 2 * one.back_s


@pytest.mark.parametrize(
    ("field", "value"), [("lamps", -1), ("targets", 1e9), ("shards", 0), ("busy_percent", 100), ("interval_s", 0)]
)
def test_a_load_that_cannot_be_is_refused(field: str, value: Any) -> None:
    values: dict[str, Any] = {"lamps": 1, "targets": 1, field: value}
    with pytest.raises(InvalidError, match=f"{field} must be"):
        Load(**values)
