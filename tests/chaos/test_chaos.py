"""The fault suite in one minute: ``make chaos`` runs for longer and breaks more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.chaos.slopes import Curve, svg, text
from tests.whole.fleet import ROOT

#: First of all the clock of Redis is set, Redis is killed, and a worker; then the clock of a worker is set, one is
#: frozen, and the way to Redis broken. Nothing sends lamps away for a minute, as corruption does.
SEED = 302142
DURATION_S = 40
LAMPS = 60
#: A build server runs four tests at once on two cores.
SLACK_S = 40


@pytest.mark.timeout(400)
@pytest.mark.package("faketime")
def test_nothing_is_lost_and_no_lamp_lies_while_everything_breaks(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.chaos.run", "--seed", SEED, "--duration-s", DURATION_S, "--lamps", LAMPS]
    done = subprocess.run(
        [*map(str, words), "--slack-s", str(SLACK_S)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert f"seed {SEED}: every invariant held" in done.stdout
    assert "step the clock of redis" in done.stdout
    assert "kill -9 redis" in done.stdout


def test_a_leak_is_told_from_a_settled_process() -> None:
    times_s = [float(second) for second in range(0, 7_200, 10)]
    settled = Curve(times_s, [(50.0 + min(second, 1_000.0) / 100 + second % 3 / 10, 12.0, 2.0) for second in times_s])
    leaking = Curve(times_s, [(50.0 + second / 600, 12.0 + second // 300, 2.0) for second in times_s])
    assert abs(settled.slope(0)) < 0.2
    assert leaking.slope(0) == pytest.approx(6.0, rel=0.01)
    assert leaking.slope(1) == pytest.approx(12.0, rel=0.05)
    assert leaking.growth(0) > 4
    curves = {"settled": settled, "leaking": leaking}
    assert "+6.00" in text(curves)
    lines = ElementTree.fromstring(svg(curves)).findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 6
