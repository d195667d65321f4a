"""Whether levels stay calm while a network is calm, and say soon what happens to it.

Targets of four kinds of network are simulated for 40 minutes, one sample a second, each judged by the preset of its
kind: 20 minutes calm, then 500 s in which a sixth of them is slower by half, a sixth slower three times, a sixth loses
one probe in ten, a sixth is not measured three times in ten, and a sixth is out for a minute; then calm again.

There are two such networks. ``drifting`` is the one presets may be tuned on: slow drift, spikes of single samples,
independent loss. ``queueing`` is held out: nothing is tuned on it, and its noise is of another kind: queues that fill
and drain, a busy minute now and then, clock ticks of 0.1 ms, radio scans, changes of route, and loss in bursts.

A calm target is one to which nothing happens. Three of five probes lost are something: it happens in the second network
now and then, and a lamp ought to show it, so the changes of colour in the minute after do not count as flaps.

The peer is the mean of the last ten answers against the same latency thresholds, at once; with no answer in ten it is
red.

    python -m bench.level_quality            the promises
    python -m bench.level_quality --table    before them every preset and event by itself
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.report import report
from espfleet.domain.groups import PRESETS, Group
from espfleet.domain.levels import LevelBook
from espfleet.domain.samples import NOT_MEASURED
from espfleet.domain.states import ORANGE_LEVEL, RED_LEVEL, State
from espfleet.domain.targets import Target

Floats = npt.NDArray[np.float64]
Bands = npt.NDArray[np.int8]

CAP_S = 300
TICKS, BEGIN, END, OUTAGE_TICKS = 2_400, 1_200, 1_700, 60
#: Losses are remembered for a minute, and what they did is cleared soon after.
MINUTE = 70
#: A link needs a while to be known, and its windows a while to forget what happened.
SETTLED, FORGOTTEN = 200, 260
EVENTS = ("calm", "x1.5", "x3", "loss", "unmeasured", "outage")
#: Median and spread (of the logarithm) of the RTT in ms of each kind of network, and how noisy it is.
NETWORKS = {
    "lan": (0.8, 0.5, 1.5),
    "broadband": (18.0, 0.4, 1.0),
    "mobile": (55.0, 0.3, 2.5),
    "satellite": (600.0, 0.05, 0.5),
}
EACH = 20
SEEDS = (1, 2, 3, 4, 5)
START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Traffic:
    """What was measured: RTTs in ms, NaN for lost, -1 for not measured, [ticks, targets]."""

    rtt_ms: Floats
    preset: npt.NDArray[np.str_]
    event: npt.NDArray[np.str_]


def traffic(noise: Callable[[np.random.Generator, Floats, Floats], tuple[Floats, Floats]], seed: int) -> Traffic:
    """Return a network: ``noise`` gives the RTTs and the share lost, both [ticks, targets], of a calm one."""
    rng = np.random.default_rng(seed)
    preset = np.repeat(list(NETWORKS), EACH * len(EVENTS))
    event = np.tile(np.repeat(EVENTS, EACH), len(NETWORKS))
    middle, spread, noisy = np.array([NETWORKS[name] for name in preset]).T
    base_ms = middle * np.exp(rng.normal(0, 1, len(preset)) * spread)
    rtt_ms, loss = noise(rng, base_ms, noisy)
    now = slice(BEGIN, END)
    rtt_ms[now, event == "x1.5"] *= 1.5
    rtt_ms[now, event == "x3"] *= 3
    loss[now, event == "loss"] = 0.1
    lost = rng.random(rtt_ms.shape) < loss
    lost[BEGIN : BEGIN + OUTAGE_TICKS, event == "outage"] = True
    rtt_ms[lost] = np.nan
    rtt_ms[(rng.random(rtt_ms.shape) < 0.3) & (event == "unmeasured")] = NOT_MEASURED
    return Traffic(rtt_ms, preset, event)


def drifting(rng: np.random.Generator, base_ms: Floats, noisy: Floats) -> tuple[Floats, Floats]:
    """Noise of the network to tune on."""
    shape = (TICKS, len(base_ms))
    drift = np.zeros(shape)
    steps = rng.normal(0, 0.03, shape) * noisy
    for tick in range(1, TICKS):
        drift[tick] = 0.9 * drift[tick - 1] + steps[tick]
    rtt_ms = base_ms * np.exp(drift + np.abs(rng.normal(0, 0.05, shape)) * noisy)
    spikes = rng.random(shape) < 0.01
    rtt_ms[spikes] *= rng.uniform(2, 10, int(spikes.sum()))
    return rtt_ms, np.full(shape, 0.005)


def queueing(rng: np.random.Generator, base_ms: Floats, noisy: Floats) -> tuple[Floats, Floats]:
    """Noise of the network that is held out."""
    ticks, targets = TICKS, len(base_ms)
    day = 1 + 0.3 * np.sin(np.arange(ticks) / 400)
    load = np.clip(rng.gamma(2, 0.05, targets), 0, 0.4)
    queue = np.zeros((ticks, targets))
    bad = np.zeros((ticks, targets), bool)
    for tick in range(1, ticks):
        # What waits drains by half each second; a heavy-tailed burst comes with the load.
        burst = rng.pareto(2.5, targets) * (rng.random(targets) < load * day[tick])
        queue[tick] = 0.5 * queue[tick - 1] + burst
        bad[tick] = np.where(bad[tick - 1], rng.random(targets) < 0.6, rng.random(targets) < 0.002)
    rtt_ms = base_ms * (1 + 0.05 * noisy * queue + 0.04 * noisy * rng.standard_exponential((ticks, targets)))
    # A radio looks for other stations every two minutes, and two answers in a row come late.
    scan = (np.arange(ticks)[:, None] + rng.integers(0, 120, targets)) % 120 < 2
    rtt_ms[scan & (noisy > 1)] *= 4
    # Now and then the route changes, by up to a tenth.
    route = np.cumsum(rng.random((ticks, targets)) < 1 / 900, axis=0)
    factor = 1 + rng.uniform(-0.1, 0.1, (int(route.max()) + 1, targets))
    rtt_ms *= np.take_along_axis(factor, route, axis=0)
    rtt_ms = np.maximum(np.round(rtt_ms, 1), 0.05)
    return rtt_ms, np.where(bad, 0.4, 0.001)


def our_bands(net: Traffic) -> Bands:
    """Return the band of each target after each tick: 0 green, 1 orange, 2 red; -1 unknown."""
    names = [f"t{number}" for number in range(len(net.preset))]
    book = LevelBook()
    book.configure(
        {name: Target(name=name, address="127.0.0.1") for name in names},
        {
            name: Group(name=name, targets=(name,), preset=str(preset))
            for name, preset in zip(names, net.preset, strict=True)
        },
    )
    rows = book.rows(names)
    numbers = {name: number for number, name in enumerate(names)}
    bands = np.full(net.rtt_ms.shape, -1, np.int8)
    rtt_us = np.where(net.rtt_ms == NOT_MEASURED, NOT_MEASURED, net.rtt_ms * 1_000).astype(np.float32)
    now = bands[0].copy()
    for tick in range(TICKS):
        at_ms = START_MS + 1_000 * tick
        book.add(rows, rtt_us[tick], np.full(len(rows), at_ms))
        for level in book.evaluate(at_ms):
            known = level.state is State.OK
            now[numbers[level.group]] = (level.level >= ORANGE_LEVEL) + (level.level >= RED_LEVEL) if known else -1
        bands[tick] = now
    return bands


def mean_bands(net: Traffic) -> Bands:
    """Return the same by the mean of the last ten answers."""
    answered = ~np.isnan(net.rtt_ms) & (net.rtt_ms != NOT_MEASURED)
    total = np.cumsum(np.where(answered, net.rtt_ms, 0), axis=0)
    count = np.cumsum(answered, axis=0)
    total[10:] -= total[:-10].copy()
    count[10:] -= count[:-10].copy()
    mean = np.where(count > 0, total / np.maximum(count, 1), np.inf)
    orange = np.array([PRESETS[str(name)].latency_orange_ms for name in net.preset])
    red = np.array([PRESETS[str(name)].latency_red_ms for name in net.preset])
    return ((mean >= orange).astype(np.int8) + (mean >= red)).astype(np.int8)


def calm(net: Traffic) -> npt.NDArray[np.bool_]:
    """Return when nothing happens to each target, nor did a short while ago, [ticks, targets]."""
    quiet = np.ones(net.rtt_ms.shape, bool)
    quiet[:SETTLED] = quiet[BEGIN : END + FORGOTTEN] = False
    return quiet


def dropouts(net: Traffic) -> npt.NDArray[np.bool_]:
    """Return when three of five probes were lost, or were a minute ago, [ticks, targets]: a lamp ought to show that."""
    lost = np.cumsum(np.isnan(net.rtt_ms), axis=0)
    lost[5:] -= lost[:-5].copy()
    out = np.cumsum(lost >= 3, axis=0)
    out[MINUTE:] -= out[:-MINUTE].copy()
    return out > 0


def flaps_per_hour(bands: Bands, when: npt.NDArray[np.bool_]) -> float:
    """Return how often the band of a target changes in an hour of the ticks given, [ticks, targets]."""
    changes = np.diff(bands, axis=0) != 0
    return float(changes[when[1:]].mean() * 3_600)


def ticks_to(band: int, bands: Bands, which: npt.NDArray[np.bool_]) -> Floats:
    """Return after how many ticks of the event each target was in this band or above, infinite if never."""
    there = bands[BEGIN:END, which] >= band
    return np.where(there.any(axis=0), there.argmax(axis=0) + 1.0, np.inf)


def whole(ticks: Floats) -> Floats:
    """Return the ticks with the length of the event for never, so that they can be compared."""
    return np.minimum(ticks, END - BEGIN)


def shown(ticks: Floats) -> str:
    """Return median and ninth decile of the ticks, and how many were found at all."""
    middle, late = (np.sort(whole(ticks))[int(part * (len(ticks) - 1))] for part in (0.5, 0.9))
    return f"{middle:4.0f} {late:4.0f} {100 * np.isfinite(ticks).mean():4.0f} %"


def print_table(net: Traffic) -> None:
    print(f"{'':21}  flaps an hour: calm, in x3, in loss; not measured     ticks: median, p90, found")
    for title, bands in (("ours", our_bands(net)), ("mean of 10", mean_bands(net))):
        for preset in NETWORKS:
            of = {event: (net.preset == preset) & (net.event == event) for event in EVENTS}
            still = calm(net) & (net.preset == preset)
            flaps = flaps_per_hour(bands, still & (net.event != "unmeasured"))
            during = [
                (np.diff(bands[BEGIN + OUTAGE_TICKS : END, of[event]], axis=0) != 0).mean() * 3_600
                for event in ("x3", "loss")
            ]
            after = bands[BEGIN + OUTAGE_TICKS : END, of["outage"]] == 0
            print(
                f"{title:10} {preset:9} {flaps:7.2f} {during[0]:6.1f} {during[1]:6.1f} "
                f"{flaps_per_hour(bands, still & (net.event == 'unmeasured')):6.1f}"
                f"   x1.5 {shown(ticks_to(1, bands, of['x1.5']))}   x3 {shown(ticks_to(1, bands, of['x3']))}"
                f"   loss {shown(ticks_to(1, bands, of['loss']))}   outage {shown(ticks_to(2, bands, of['outage']))}"
                f"   green again {np.median(after.argmax(axis=0)):.0f} ticks after it"
            )


def main() -> None:
    for name, noise in (("drifting", drifting), ("queueing, held out", queueing)):
        runs: dict[str, tuple[list[float], list[float]]] = {}
        found, with_dropouts = [], []
        for seed in SEEDS:
            net = traffic(noise, seed)
            if "--table" in sys.argv and seed == SEEDS[0]:
                print_table(net)
            still = calm(net) & (net.event != "unmeasured")
            for which, bands in enumerate((our_bands(net), mean_bands(net))):
                slower = ticks_to(1, bands, net.event == "x3")
                figures = {
                    "flaps": flaps_per_hour(bands, still & ~dropouts(net)),
                    "x3": float(np.median(whole(slower))),
                    "outage": float(whole(ticks_to(2, bands, net.event == "outage")).max()),
                    "loss": float(np.median(whole(ticks_to(1, bands, net.event == "loss")))),
                }
                for what, value in figures.items():
                    runs.setdefault(what, ([], []))[which].append(value)
                if which == 0:
                    with_dropouts.append(flaps_per_hour(bands, still))
                    found.append(100 * float(np.isfinite(slower).mean()))
        counted = f"{np.median(with_dropouts):.1f} where those count too that show three of five probes lost"
        for what, promise, bound, unit, note in (
            ("flaps", "changes of colour of a calm target", "ours <= 2", "1/h", counted),
            (
                "x3",
                "three times the latency: orange after (median)",
                "ours <= 10",
                "ticks",
                f"found: {min(found):.0f} %",
            ),
            ("outage", "outage: red after (latest)", "ours <= 5", "ticks", ""),
            ("loss", "10 % loss: orange after (median)", "ours <= 60", "ticks", f"{END - BEGIN} stands for never"),
        ):
            report(
                f"levels, {name} network: {promise}",
                *runs[what],
                bound=bound,
                unit=unit,
                peer_name="mean of the last 10, same thresholds",
                note=note,
            )


if __name__ == "__main__":
    main()
