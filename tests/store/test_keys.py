"""Names of keys."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from espfleet.store.keys import Keys

SAMPLES = {"part": 3, "shard": 3, "device_id": "3c71bff93720", "duty": "lead:sweep", "layout_id": "0f", "kind": "rooms"}
SAMPLES |= {"purpose": "request", "what": "pin", "token": "0f:9"}
SAMPLES |= {"resolution": "10s", "run": 7, "target": "router"}
SAMPLES |= {"role": "prober", "name": "host-1", "command_id": "0f", "mark": "m", "release_id": "0f"}
KEYS = Keys("p:")
FUNCTIONS = [name for name in vars(Keys) if not name.startswith("_") and name not in ("prefix", "db", "may_stay")]


def made(name: str, keys: Keys = KEYS) -> str:
    function = getattr(keys, name)
    key = function(**{parameter: SAMPLES[parameter] for parameter in inspect.signature(function).parameters})
    assert isinstance(key, str)
    return key


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_has_the_prefix_and_one_tag_and_says_type_and_lifetime(name: str) -> None:
    key = made(name)
    assert key.startswith("p:")
    assert len(re.findall(r"\{[a-z]+\d*\}", key)) == 1
    about = inspect.getdoc(getattr(Keys, name)) or ""
    assert re.match(
        r"(String|Hash|List|Sorted set|Stream), (permanent|cut at|as long as|\d+ (s|min|h|days))|Channel: ", about
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_may_stay_is_what_the_docstring_calls_permanent_or_cut(name: str) -> None:
    about = inspect.getdoc(getattr(Keys, name)) or ""
    assert Keys("p:").may_stay(made(name)) == bool(re.search(r"^[\w ]+, (permanent|cut at)", about))


def test_no_two_are_the_same() -> None:
    assert len({made(name) for name in FUNCTIONS}) == len(FUNCTIONS)


def test_a_shards_duty_shares_its_slot() -> None:
    keys = Keys()
    assert keys.fence("s3") == "espfleet:{s3}:fence"
    assert keys.may_stay(keys.fence("s3"))
    assert not keys.may_stay(keys.owner("s3"))
    assert not keys.may_stay("{s3}:fence")


def test_only_channels_differ_between_databases() -> None:
    for name in FUNCTIONS:
        about = inspect.getdoc(getattr(Keys, name)) or ""
        assert made(name, Keys("p:", db=2)) == made(name) + (":2" if about.startswith("Channel") else "")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_documentation_tells_type_and_lifetime_of_each(name: str) -> None:
    about = re.match(r"(\w[\w ]*?)(?:, (.*?))?: ", inspect.getdoc(getattr(Keys, name)) or "")
    assert about
    told = [row[1:] for row in documented() if re.fullmatch(row[0], made(name).removeprefix("p:"))]
    assert (about[1].lower(), about[2] or "–") in told


def documented() -> list[tuple[str, str, str]]:
    """Return each key of the documentation's table as a pattern, with type and lifetime."""
    rows = []
    for line in (Path(__file__).parents[2] / "docs" / "redis.md").read_text().splitlines():
        names, kind, life, *_ = [cell.strip() for cell in line.strip("|").split("|")] + ["", ""]
        for name in re.findall(r"`(\{\w+\}:[^`]+)`", names):
            pattern = re.sub(r"[A-Z]{2,}", "[^:]+(:9)?", re.escape(name).replace("sN", r"s\d").replace("pN", r"p\d"))
            rows.append((pattern, kind, life))
    return rows
