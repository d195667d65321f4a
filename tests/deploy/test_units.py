"""The units of systemd are understood by it, name what exists, and leave a process little to break."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from espfleet.cli.run import WORKERS
from espfleet.settings import names

UNITS = Path(__file__).parents[2] / "deploy/systemd"
#: "Exposure" as systemd counts it, in tenths: 0 is shut, 100 is open. A plain service has 96.
MOST_EXPOSED = 20


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.package("systemd")
@pytest.mark.parametrize("unit", ["espfleet.service", "espfleet@gateway.service"])
def test_systemd_understands_a_unit_and_finds_it_safe(tmp_path: Path, unit: str) -> None:
    for source in UNITS.glob("*.service"):
        # Where the program is does not matter here, but there must be one.
        (tmp_path / source.name).write_text(source.read_text().replace("/opt/espfleet/espcli", "/bin/true"))
    told = analyze("verify", str(tmp_path / unit))
    assert (told.returncode, told.stdout + told.stderr) == (0, "")
    template = tmp_path / re.sub("@.*", "@.service", unit)
    judged = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", "--no-pager", str(template))
    assert judged.returncode == 0, judged.stdout[-2_000:]


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda unit: unit.name)
def test_a_unit_names_only_what_exists(unit: Path) -> None:
    text = unit.read_text()
    assert set(re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)) <= set(names())
    (command,) = re.findall(r"^ExecStart=/opt/espfleet/espcli (\w+)", text, re.MULTILINE)
    assert command in ("up", "run")
    (page,) = re.findall(r"^Documentation=file:///opt/espfleet/(\S+)", text, re.MULTILINE)
    assert (UNITS.parents[1] / page).exists()
    for worker in re.findall(r"espfleet@(\w+)", text):
        assert worker in WORKERS
