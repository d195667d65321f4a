"""Benches run each within their time, and what they measured is kept and shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.charts import compare, draw
from bench.run import BEGIN, END, USUAL_CAP_S, discover, main, measure, seed_of, table

BENCHES = Path(__file__).parents[2] / "bench"
PROMISE = {
    "promise": "ticks | a second",
    "ours": 12.5,
    "peer": 5.0,
    "peer_name": "a clock",
    "ratio": 2.5,
    "unit": "1/s",
    "bound": "ratio >= 2",
    "holds": True,
    "runs": 3,
    "spread": {"kind": "min-max", "ours": [12, 13], "peer": [5, 5]},
}
SAYS_IT = (
    f"import json\n\nSEED = 7\n\ndef main():\n    print('a table')\n    print(json.dumps({PROMISE!r}))\n\nmain()\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bench").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "performance.md").write_text(f"# How fast\n\n{BEGIN}\nformer\n{END}\n\nThe end.\n")
    return tmp_path


def a_bench(root: Path, name: str, source: str = SAYS_IT) -> None:
    (root / "bench" / f"{name}.py").write_text(source)


def test_a_bench_is_a_module_with_a_main(root: Path) -> None:
    a_bench(root, "quick", "def main(): ...")
    a_bench(root, "slow", "CAP_S = 300\n\ndef main(): ...")
    a_bench(root, "tools", "def other(): ...")
    assert discover(root / "bench") == {"quick": USUAL_CAP_S, "slow": 300}


def test_the_benches_here_can_be_found() -> None:
    assert not {"run", "report"} & discover(BENCHES).keys()


@pytest.mark.parametrize("path", sorted(BENCHES.glob("*.py")), ids=lambda path: path.stem)
def test_whatever_is_random_in_a_bench_is_made_from_its_seed(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\brandom\.(random|uniform|choice|sample|shuffle)\(|default_rng\(\)|Random\(\)", text)
    assert not re.search(r"default_rng\(|Random\(", text) or seed_of(path.stem, BENCHES) is not None


def test_what_was_measured_is_stored_and_published(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_bench(root, "ticks")
    assert main([], root) == 0
    assert "a table" in capsys.readouterr().out
    stored = json.loads((root / "bench" / "results" / "ticks.json").read_text())
    assert stored["promises"] == [PROMISE]
    assert stored["seed"] == 7
    assert stored["machine"].keys() == {"date", "cpu", "cores", "kernel", "python", "load"}
    page = (root / "docs" / "performance.md").read_text()
    row = (
        "| ticks \\| a second | 12.5 1/s | 5 1/s (a clock) | 2.5 | ratio >= 2 | holds | 3: 12 to 13, the peer 5 to 5 |"
    )
    assert row in page.splitlines()
    assert "s; seed 7\n" in page
    for name in ("performance", "peers"):
        assert f"](pictures/{name}.svg)" in page
        ElementTree.parse(root / "docs" / "pictures" / f"{name}.svg")
    assert page.startswith("# How fast\n")
    assert page.endswith("The end.\n")
    assert "former" not in page


def test_only_the_named_benches_run(root: Path) -> None:
    a_bench(root, "ticks")
    a_bench(root, "broken", "def main(): ...\nraise SystemExit(1)")
    assert main(["ticks"], root) == 0


def test_an_unknown_bench_is_wrong_usage(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_bench(root, "ticks")
    assert main(["tocks"], root) == 2
    assert "there is no bench tocks; there are: ticks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "trouble"),
    [
        ("def main(): ...\nraise SystemExit(3)", "ticks: failed with code 3"),
        ("def main(): ...", "ticks: measured nothing"),
        (SAYS_IT.replace("True", "False"), "ticks: ticks | a second is broken"),
    ],
)
def test_trouble_is_told_and_fails(root: Path, capsys: pytest.CaptureFixture[str], source: str, trouble: str) -> None:
    a_bench(root, "ticks", source)
    assert main([], root) == 1
    assert trouble in capsys.readouterr().out.splitlines()


def test_a_bench_that_fails_leaves_the_stored_result_alone(root: Path) -> None:
    a_bench(root, "ticks")
    main([], root)
    kept = (root / "bench" / "results" / "ticks.json").read_text()
    a_bench(root, "ticks", SAYS_IT + "raise SystemExit(1)")
    assert main([], root) == 1
    assert (root / "bench" / "results" / "ticks.json").read_text() == kept


def test_a_bench_that_takes_too_long_is_ended_with_all_it_started(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_bench(
        root,
        "ticks",
        "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
        "print(child.pid, flush=True)\nchild.wait()",
    )
    result, trouble = measure("ticks", 1.0, root)
    assert trouble == "ticks: ended after 1 s, the most it may take"
    assert result["seconds"] < 30
    child = Path("/proc", capsys.readouterr().out.strip(), "cmdline")
    # Dead, or a zombie that nobody has fetched yet.
    assert not child.exists() or child.read_bytes() == b""


def test_what_could_not_be_measured_shows_why() -> None:
    none = dict.fromkeys(("ours", "peer", "ratio", "holds", "spread"))
    promise = PROMISE | none | {"runs": 0, "note": "fping is not installed"}
    where = {"date": "2026-01-01", "cpu": "c", "cores": 2, "kernel": "k", "python": "3", "load": 0.1}
    text = table([{"bench": "ticks", "machine": where, "promises": [promise], "seconds": 3.0}])
    assert "| – | – (a clock) | – | ratio >= 2 | not measured: fping is not installed | – |" in text
    assert "make bench BENCH=ticks" in text


def test_the_picture_shows_every_promise_that_was_measured_and_which_is_broken() -> None:
    promises = [
        a_promise("fast", ours=30.0, bound="ours <= 60", holds=True),
        a_promise("many", ours=10.0, bound="ours >= 20", holds=False),
        a_promise("none lost", ours=0.0, bound="ours == 0", holds=True),
        a_promise("not here", ours=None, bound="ours <= 1", holds=None),
    ]
    picture = draw([{"bench": "some", "promises": promises}, {"bench": "nothing", "promises": promises[2:]}])
    texts = "".join(ElementTree.fromstring(picture).itertext())
    assert "fast" in texts
    assert "50%" in texts
    assert "200% broken" in texts
    assert "some" in texts
    assert not [name for name in ("none lost", "not here", "nothing") if name in texts]


def a_promise(name: str, *, ours: float | None, bound: str, holds: bool | None) -> dict[str, Any]:
    return {"promise": name, "ours": ours, "ratio": None, "bound": bound, "holds": holds}


def test_the_other_picture_shows_how_many_times_better_than_the_peer_ours_is() -> None:
    beside = {"peer": 1.0, "peer_name": "a clock that is rather long in its name", "spread": None}
    promises = [
        a_promise("fast", ours=3.0, bound="ratio >= 1.5", holds=True) | beside | {"ratio": 3.0},
        a_promise("cheap", ours=0.01, bound="ratio <= 0.5", holds=True) | beside | {"ratio": 0.01},
        a_promise("slow", ours=0.5, bound="ratio >= 1", holds=False) | beside | {"ratio": 0.8},
        a_promise("alone", ours=1.0, bound="ours <= 2", holds=True),
    ]
    picture = ElementTree.fromstring(compare([{"bench": "some", "promises": promises}]))
    texts = "".join(picture.itertext())
    assert "3 × a clock that is rather …" in texts
    assert "100 × a clock" in texts
    assert "0.8 × a clock" in texts
    assert "alone" not in texts
    bars = [
        (float(bar.attrib["x"]), float(bar.attrib["x"]) + float(bar.attrib["width"]), bar.attrib["class"])
        for bar in picture.iter("{http://www.w3.org/2000/svg}rect")
    ]
    line_x = bars[0][0]
    assert line_x == bars[1][0]
    assert bars[0][1] < bars[1][1]
    assert bars[2][0] < bars[2][1] == pytest.approx(line_x, abs=0.2)
    assert bars[2][2] == "broken"


@pytest.mark.parametrize("bench", discover(BENCHES))
def test_what_a_bench_measured_is_stored(bench: str) -> None:
    assert (BENCHES / "results" / f"{bench}.json").exists(), f"make bench BENCH={bench}"
