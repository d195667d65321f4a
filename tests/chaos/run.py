"""Break a whole fleet at random for a while, and see that nothing gets lost and nothing lies.

``python -m tests.chaos.run --duration-s 300 --lamps 300``; the same seed breaks the same things in the same order.
Leaves with 0 when every invariant held.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from random import Random, SystemRandom

from espfleet.errors import StoreError
from espfleet.store import workers
from espfleet.store.levels import BEAT_TTL_MS
from tests.chaos import slopes
from tests.chaos.clocks import library
from tests.chaos.faults import Deck
from tests.chaos.watch import Watch
from tests.chaos.world import PIN, World

#: After a fault every shard has a beat again within this time, and every lamp its level within the other: a lamp that
#: was refused for a while waits longer before it tries again.
LEVELS_BACK_S = 5.0
LAMPS_BACK_S = 20.0
CALM_S = (1.0, 4.0)
START_S = 60.0
#: However busy the machine is, a lamp may not lie for longer than this beyond its time.
LIES_SLACK_S = 6.0
DOOR_S = (12.0, 25.0)
#: Allowed growth of a process that lived through the run: memory in MB an hour, and files and threads in all.
MEMORY_MB_H = 1.0
FILES_H = 12.0
#: A worker that is busy opens more of its connections to Redis, up to so many, and keeps them.
FILES = 100
#: Slopes of shorter runs say nothing about hours.
LEAST_SLOPE_S = 1_800.0
GROWTH_MB = 30.0
#: What a run leaves where it failed.
BUILD = Path("build")


def _keep(log: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(log, kept)


def _draw(curves: Mapping[str, slopes.Curve], kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(slopes.svg(curves))


def say(text: str) -> None:
    """Tell whoever watches the run."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Run:
    """One run: faults one after the other, recovery after each, and an account at the end."""

    def __init__(self, world: World, watch: Watch, seed: int, slack_s: float) -> None:
        self.slowest_levels_s = 0.0
        self.slowest_lamps_s = 0.0
        self.faults = 0
        self._world = world
        self._watch = watch
        self._random = Random(seed)
        self._deck = Deck(world, self._random)
        self._door_random = Random(seed + 2)
        self._slack_s = slack_s
        self._began_s = time.monotonic()

    def say(self, text: str) -> None:
        say(f"{time.monotonic() - self._began_s:7.1f} s  {text}")

    async def begin(self) -> None:
        """Wait until everything runs."""
        await self._until(self._levels_flow, START_S + self._slack_s, "levels at the start")
        await self._until(self._lamps_lit, START_S + self._slack_s, "lamps at the start")
        self.say(f"{self._world.lamps} lamps show their levels")

    async def break_things(self, duration_s: float) -> None:
        """Break one thing after the other."""
        until_s = time.monotonic() + duration_s
        door = asyncio.create_task(self._move_door())
        try:
            while time.monotonic() < until_s:
                await self._break_one()
                await asyncio.sleep(self._random.uniform(*CALM_S))
        finally:
            door.cancel()
        if self._world.door.closed_s is not None:
            self._world.door.open()

    async def _break_one(self) -> None:
        fault = self._deck.deal()
        self.faults += 1
        await fault.begin()
        await asyncio.sleep(fault.hold_s)
        await fault.end()
        levels_s = await self._until(self._levels_flow, LEVELS_BACK_S + self._slack_s, f"levels after: {fault.name}")
        patience_s = LAMPS_BACK_S + fault.patience_s + self._slack_s
        # One that was sent away still shows its last level for a while.
        back = self._lamps_there if fault.patience_s else self._lamps_lit
        lamps_s = await self._until(back, patience_s, f"lamps after: {fault.name}")
        self.slowest_levels_s = max(self.slowest_levels_s, levels_s)
        if not fault.patience_s:
            self.slowest_lamps_s = max(self.slowest_lamps_s, levels_s + lamps_s)
        self.say(f"{fault.name} for {fault.hold_s:.1f} s: levels after {levels_s:.1f} s, lamps after {lamps_s:.1f} s")

    async def _move_door(self) -> None:
        """Let the one real target die and come back."""
        door = self._world.door
        while True:
            await asyncio.sleep(self._door_random.uniform(*DOOR_S))
            if door.closed_s is None:
                door.close()
            else:
                door.open()

    async def _levels_flow(self) -> bool:
        store = self._world.direct
        if self._world.redis_down:
            return False
        try:
            found = await store.do_all([("PTTL", store.keys.beat(shard)) for shard in range(store.shards)])
            self._watch.note_beats(found)
            # Of this moment: one that is nearly over was left by somebody before the fault.
            # One that lasts longer was left by a clock that was ahead.
            return all(1_500 < left <= BEAT_TTL_MS for left in found)
        except StoreError:
            return False

    async def _lamps_lit(self) -> bool:
        return all(view.word == "level" for one in self._world.simulators for view in one.looks())

    async def _lamps_there(self) -> bool:
        """Whether every lamp is lit and connected."""
        try:
            gateways = await workers.alive(self._world.direct, "gateway")
        except StoreError:
            return False
        return sum(info["lamps"] for info in gateways.values()) == self._world.lamps and await self._lamps_lit()

    async def _until(self, holds: object, timeout_s: float, what: str) -> float:
        began_s = time.monotonic()
        while not await holds():  # type: ignore[operator]
            if time.monotonic() - began_s > timeout_s:
                shown: dict[str, int] = {}
                for one in self._world.simulators:
                    for view in one.looks():
                        word = f"{view.word} {view.why}"[:90]
                        shown[word] = shown.get(word, 0) + 1
                self._watch.fail(f"recovery in time ({what})", f"not within {timeout_s:.0f} s; lamps show {shown}")
                self.say(f"BROKEN: no {what} within {timeout_s:.0f} s")
                break
            await asyncio.sleep(0.1)
        return time.monotonic() - began_s

    async def account(self) -> None:
        """Count what must not have got lost."""
        world, watch = self._world, self._watch
        watch.counting = False
        await asyncio.sleep(1.5)
        await self._until(self._all_read, 10.0 + self._slack_s, "samples read and acknowledged")
        await self._until(self._all_counted, 30.0 + self._slack_s, "metrics sent")
        await self._until(self._pin_is_on, 15.0 + self._slack_s, "the pin that a job holds")
        await self._until(watch.read_up, 10.0 + self._slack_s, "entries of samples read")
        missing, excused = watch.missing_entries()
        if missing:
            watch.fail("no entry of samples is lost", f"{len(missing)} of {watch.entries}, the first: {missing[:5]}")
        if excused:
            self.say(f"written in the last second before Redis was killed, and lost as promised: {excused}")
        if missing_metrics := watch.missing_metrics():
            watch.fail("no metric is lost", f"numbers {missing_metrics[:10]} of {len(watch.counted)}")
        if missing_jobs := await watch.missing_jobs():
            watch.fail("no job is lost", f"{missing_jobs[:10]} of {watch.jobs}")
        for info in (await workers.alive(world.direct, "prober")).values():
            if info["dropped"]:
                watch.fail("no sample is given up", f"{info['dropped']} samples")
        if "Traceback" in world.log_text():
            text = world.log_text()
            watch.fail("no worker breaks down", text[text.index("Traceback") :][:1_500])

    async def _all_read(self) -> bool:
        """Whether levelers have acknowledged everything but what came this moment."""
        store = self._world.direct
        for shard in range(store.shards):
            (group,) = await store.redis.xinfo_groups(store.keys.samples(shard))
            if int(group["pending"]) + int(group["lag"] or 0) > 3:
                return False
        return True

    async def _all_counted(self) -> bool:
        return not self._watch.missing_metrics()

    async def _pin_is_on(self) -> bool:
        return bool(self._world.board.electronics.pins[PIN])

    def resources(self) -> dict[str, slopes.Curve]:
        """Judge what long-lived processes used; return their curves."""
        curves = {
            worker.name: worker.curves[-1]
            for worker in self._world.workers
            if worker.curves and len(worker.curves[-1].times_s) >= 20
        }
        # What it keeps grows until its streams and the past of targets are as long as they get.
        if self._world.servers is None:
            curves["redis (its data)"] = self._world.redis_curve
        for name, curve in curves.items():
            if len(curve.times_s) < 20:
                continue
            lived_s = curve.times_s[-1] - curve.times_s[0]
            is_worker = curve is not self._world.redis_curve
            if is_worker and lived_s >= LEAST_SLOPE_S and curve.slope(0) > MEMORY_MB_H:
                self._watch.fail("memory is flat", f"{name}: {curve.slope(0):+.2f} MB/h over {lived_s:.0f} s")
            if curve.growth(0) > GROWTH_MB:
                self._watch.fail("memory is bounded", f"{name}: {curve.growth(0):+.1f} MB in {lived_s:.0f} s")
            if lived_s >= LEAST_SLOPE_S and curve.slope(1) > FILES_H:
                self._watch.fail("files are flat", f"{name}: {curve.slope(1):+.1f} an hour over {lived_s:.0f} s")
            for figure in (1, 2):
                # Connections that lamps have left in the dark are ended after ten watchdogs.
                # To Redis, each worker has some.
                allowed = FILES * (1 if is_worker else 4) + (2 * self._world.lamps if name.startswith("gateway") else 0)
                if curve.growth(figure) > allowed:
                    what = slopes.FIGURES[figure]
                    self._watch.fail(f"{what} are bounded", f"{name}: {curve.growth(figure):+.0f}")
        return curves


async def chaos(seed: int, duration_s: float, lamps: int, slack_s: float, on: str) -> bool:
    """Run once; return whether every invariant held."""
    say(f"seed {seed}, {duration_s:.0f} s, {lamps} lamps, on {on} redis")
    if library() is None:
        say("no clock is stepped: the Debian package faketime is missing")
    # Each has its own, so that what one draws changes nothing for the others.
    world = World(Random(seed + 1), lamps, on)
    try:
        async with world.running():
            watch = Watch(world, min(slack_s, LIES_SLACK_S))
            run = Run(world, watch, seed, slack_s)
            await run.begin()
            watching = asyncio.create_task(watch.run())
            try:
                await run.break_things(duration_s)
                await run.account()
            finally:
                watching.cancel()
                (ended,) = await asyncio.gather(watching, return_exceptions=True)
            if not isinstance(ended, asyncio.CancelledError):
                watch.fail("the watch goes on to the end", "".join(traceback.format_exception(ended)))
            curves = run.resources()
        await asyncio.to_thread(_draw, curves, BUILD / f"chaos-{seed}.svg")
        say(slopes.text(curves))
        say(
            f"{run.faults} faults, {world.restarts} restarts; {watch.looks} looks at lamps, {watch.greens} green; "
            f"{watch.entries} entries of samples, {len(watch.counted)} metrics, {watch.jobs} jobs; "
            f"slowest recovery {run.slowest_levels_s:.1f} s for levels, {run.slowest_lamps_s:.1f} s for lamps"
        )
        for what, moments in watch.broken.items():
            say(f"BROKEN: {what}, {watch.times[what]} times: {'; '.join(moments)}")
        if watch.broken:
            kept = BUILD / f"chaos-{seed}.log"
            await asyncio.to_thread(_keep, world.home / "log", kept)
            say(f"what the workers said is in {kept}")
        else:
            say(f"seed {seed}: every invariant held")
        return not watch.broken
    finally:
        shutil.rmtree(world.home, ignore_errors=True)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--duration-s", type=float, default=300.0)
    parser.add_argument("--lamps", type=int, default=300)
    parser.add_argument("--slack-s", type=float, default=1.0, help="added to every time, for a busy machine")
    parser.add_argument("--on", choices=("single", "sentinel", "cluster"), default="single", help="which Redis")
    given = parser.parse_args()
    sys.exit(0 if asyncio.run(chaos(given.seed, given.duration_s, given.lamps, given.slack_s, given.on)) else 1)


if __name__ == "__main__":
    main()
