"""What a fleet needs, as users ask for it; no fleet is needed for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from espfleet.cli import output
from espfleet.cli.capacity import sentences
from espfleet.cli.main import run
from espfleet.domain.capacity import plan
from espfleet.domain.loads import Load
from tests.cli.conftest import Type


def test_a_plan_needs_no_redis(type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    told = type_("capacity", "--lamps", "100000", "--targets", "5000", "--viewers", "50").json
    gateways = next(need for need in told["needs"] if need["role"] == "gateway")
    assert gateways["count"] == 10
    assert told["assumed"]["viewers"] == 50
    assert told["assumed"]["busy_percent"] == 50


def test_options_become_the_load(type_: Type) -> None:
    words = "--lamps 2000 --targets 300 --tls --busy 30 --changes 2.5 --interval 0.5 --shards 8 --groups 7"
    assumed = type_("capacity", *words.split()).json["assumed"]
    given = {"lamps": 2_000, "targets": 300, "tls": True, "busy_percent": 30, "changes_per_s": 2.5}
    given |= {"interval_s": 0.5, "shards": 8, "groups": 7}
    assert {name: assumed[name] for name in given} == given


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--lamps many --targets 5", "lamps must be a number from 0 to 10000000, not 'many'"),
        ("--lamps 1.5 --targets 5", "lamps must be a whole number, not '1.5'"),
        ("--lamps 1 --targets 5 --busy 99", "busy must be a number from 5 to 90, not '99'"),
        ("--lamps 1 --targets 5 --interval 0", "interval must be a number from 0.01 to 3600, not '0'"),
    ],
)
def test_what_is_no_load_is_refused_by_the_name_that_was_typed(type_: Type, words: str, sentence: str) -> None:
    refused = type_("capacity", *words.split())
    assert (refused.code, refused.err) == (1, f"espfleet: {sentence}\n")


def test_people_get_a_table_and_what_it_assumes(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "for_programs", lambda: False)
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["capacity", "--lamps", "1000000", "--targets", "1000"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("10 fleets, each with:")
    assert "together" in shown
    assert "Assumed of each lamp" in shown
    assert "Mind: one fleet holds 100,000 devices" in shown


def test_a_fleet_within_what_was_measured_is_told_without_warnings() -> None:
    assert not any(line.startswith("Mind") for line in sentences(plan(Load(lamps=5_000, targets=500))))
