"""Run a whole fleet in peace for hours and draw what its processes use: ``python -m tests.chaos.soak --hours 8``.

Leaves with 0 when memory and open files are flat, and writes the curves as a picture and the slopes as text.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from pathlib import Path
from random import Random

from tests.chaos import slopes
from tests.chaos.run import FILES_H, LEAST_SLOPE_S, MEMORY_MB_H, Run, say
from tests.chaos.watch import Watch
from tests.chaos.world import World

REPORT_S = 600.0


async def soak(hours: float, lamps: int, folder: Path) -> bool:
    """Run; return whether everything was flat."""
    world = World(Random(1), lamps)
    until_s = time.monotonic() + hours * 3_600
    flat = True
    try:
        async with world.running():
            watch = Watch(world, slack_s=2.0)
            await Run(world, watch, 1, 2.0).begin()
            watching = asyncio.create_task(watch.run())
            while time.monotonic() < until_s:
                await asyncio.sleep(max(0.0, min(REPORT_S, until_s - time.monotonic())))
                # Whoever dies in peace is a failure too.
                curves = {worker.name: worker.curves[-1] for worker in world.workers if worker.curves[-1].values}
                (folder / "soak.svg").write_text(slopes.svg(curves))
                (folder / "soak.txt").write_text(slopes.text(curves) + "\n")
                say(slopes.text(curves))
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            if world.restarts:
                watch.fail("no worker dies", f"{world.restarts} were started again")
            for name, curve in curves.items():
                lived_s = curve.times_s[-1] - curve.times_s[0]
                steep = curve.slope(0) > MEMORY_MB_H or curve.slope(1) > FILES_H
                if lived_s >= LEAST_SLOPE_S and steep:
                    watch.fail("memory and files are flat", f"{name}: {curve.slope(0):+.2f} MB/h")
        flat = not watch.broken
        for what, moments in watch.broken.items():
            say(f"BROKEN: {what}, {watch.times[what]} times: {'; '.join(moments)}")
        say(f"the curves are in {folder / 'soak.svg'}")
        return flat
    finally:
        shutil.rmtree(world.home, ignore_errors=True)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--lamps", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path("build/soak"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    sys.exit(0 if asyncio.run(soak(given.hours, given.lamps, given.folder)) else 1)


if __name__ == "__main__":
    main()
