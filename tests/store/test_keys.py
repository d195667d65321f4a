"""Names of keys."""

from __future__ import annotations

import inspect
import re

import pytest

from espfleet.store.keys import Keys

SAMPLES = {"part": 3, "shard": 3, "device_id": "3c71bff93720", "duty": "lead:sweep", "layout_id": "0f", "kind": "rooms"}
SAMPLES |= {"purpose": "request", "what": "pin", "token": "0f:9"}
SAMPLES |= {"resolution": "10s", "run": 7, "target": "router"}
SAMPLES |= {"role": "prober", "name": "host-1", "command_id": "0f", "mark": "m"}
FUNCTIONS = [name for name in vars(Keys) if not name.startswith("_") and name not in ("prefix", "may_stay")]


def made(name: str) -> str:
    function = getattr(Keys("p:"), name)
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
