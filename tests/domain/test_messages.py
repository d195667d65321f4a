"""Protocol 1 as values, held against the golden messages that the firmware's tests use too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espfleet.domain import messages
from espfleet.domain.closing import CloseCode
from espfleet.domain.messages import (
    Fetch,
    Hello,
    Keepalive,
    LampEvent,
    ProtocolError,
    Readings,
    Result,
    Watch,
    parse,
)
from espfleet.domain.releases import Standing

GOLDEN = Path(__file__).parent.parent / "golden"
REFUSED = json.loads((GOLDEN / "refused.json").read_text())
TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.json").read_text().strip()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "hello",
            Hello(
                id="3c71bff93720",
                token=TOKEN,
                firmware="1.0.0",
                chip="ESP32",
                capabilities=("identify", "brightness"),
                boot_reason="power-on",
                boot_count=3,
                resume=41,
            ),
        ),
        ("hello_least", Hello(id="3c71bff93720")),
        (
            "hello_updated",
            Hello(
                id="3c71bff93720",
                update=Standing(state="returned", slot="a", bad="0.2.0", why="it failed at 3 starts"),
            ),
        ),
        ("fetch", Fetch(release="5f0c8a17d2e94b36", at=4_096, size=1_024)),
        (
            "event_update",
            LampEvent(
                name="update",
                fields={"state": "writing", "version": "0.2.0", "done_bytes": 20_480, "total_bytes": 40_960},
            ),
        ),
        ("keepalive", Keepalive()),
        (
            "keepalive_full",
            Keepalive(shown=37, rssi_dbm=-61, heap_bytes=112_640, uptime_ms=86_400_000, late_ms=512),
        ),
        ("result", Result(id="c-1", ok=True, data={"pin": 4, "value": 1})),
        ("result_failed", Result(id="c-2", ok=False, error="there is no pin 99")),
        ("readings", Readings(values={"temperature_c": 21.5, "humidity_percent": 40.0}, at_ms=1_763_670_000_123)),
        ("event", LampEvent(name="button", fields={"at_ms": 1_763_670_000_123, "pressed": True})),
        ("watch", Watch(token=TOKEN, devices=("porch",), rooms=("hall", "attic"))),
        ("watch_all", Watch(everything=True)),
    ],
)
def test_a_golden_message_is_read_as_it_was_meant(name: str, message: messages.Message) -> None:
    assert parse(golden(name)) == message


@pytest.mark.parametrize("case", REFUSED, ids=[case["text"][:40] for case in REFUSED])
def test_a_bad_message_gets_one_clear_sentence(case: dict[str, object]) -> None:
    with pytest.raises(ProtocolError) as refused:
        parse(str(case["text"]))
    assert str(refused.value).startswith(str(case["says"]))
    assert "\n" not in str(refused.value)
    assert refused.value.close_code == case["close_code"]


def test_a_message_of_unknown_type_is_ignored() -> None:
    assert parse('{"type":"led_control","action":"on"}') is None


def test_unknown_fields_are_ignored() -> None:
    assert parse('{"type":"keepalive","mood":"good","shown":null}') == Keepalive()


def test_a_message_above_four_kibibytes_is_too_much() -> None:
    just = '{"type":"keepalive","pad":"%s"}'
    room = messages.TEXT_BYTES - len(just % "")
    assert parse(just % ("x" * room)) == Keepalive()
    with pytest.raises(ProtocolError, match="4096 bytes") as refused:
        parse(just % ("x" * (room + 1)))
    assert refused.value.close_code == CloseCode.TOO_MUCH


def test_deep_nesting_and_endless_digits_are_refused_like_any_other_text() -> None:
    for text in ("[" * 4_000, '{"type":"keepalive","shown":' + "9" * 4_060 + "}"):
        with pytest.raises(ProtocolError):
            parse(text)


def test_a_token_never_shows_in_a_repr() -> None:
    assert TOKEN not in repr(parse(golden("hello")))
    assert TOKEN not in repr(parse(golden("watch")))


def test_only_what_a_keepalive_reports_counts_as_a_value() -> None:
    assert Keepalive().values() == {}
    assert Keepalive(shown=0, rssi_dbm=-61).values() == {"shown": 0, "rssi_dbm": -61}


def test_the_usual_keepalive_is_the_golden_one() -> None:
    assert golden("keepalive") == messages.KEEPALIVE


_ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    10**400,
    "",
    "x",
    "*",
    "\ud800",
    "3c71bff93720",
    [],
    [[]],
    ["a"],
    {},
    {"a": 1},
]
_FIELDS = ("protocol", "id", "token", "boot", "resume", "shown", "ok", "data", "values", "at_ms", "name", "devices")
_KINDS = ("hello", "keepalive", "result", "readings", "event", "watch")


def refusal(text: str) -> str:
    """Return why a message is refused, or a word for one that is read."""
    try:
        parse(text)
    except ProtocolError as refused:
        return str(refused)
    return "read"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(_KINDS), st.dictionaries(st.sampled_from(_FIELDS), st.sampled_from(_ODD)))
def test_whatever_stands_in_the_fields_a_message_is_read_or_refused(kind: str, fields: dict[str, object]) -> None:
    assert refusal(json.dumps({**fields, "type": kind}))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_whatever_the_text_is_a_message_is_read_or_refused(text: str) -> None:
    assert refusal(text)


#: What a keepalive may say of itself; "late_ms" has the bounds of the two before it.
_LIMITS = {"shown": (0, 100), "rssi_dbm": (-150, 50), "heap_bytes": (0, 2**53 - 1), "uptime_ms": (0, 2**53 - 1)}
_NUMBERS = st.one_of(st.integers(-160, 110), st.sampled_from([2**53 - 1, 2**53, 1.0, 7.5, *_ODD]))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*_LIMITS, "mood"]), _NUMBERS))
def test_a_keepalive_is_read_if_and_only_if_each_number_is_whole_and_within_its_bounds(said: dict[str, object]) -> None:
    told = {name: said[name] for name in _LIMITS if said.get(name) is not None}
    bad = [name for name, value in told.items() if type(value) is not int or not _is_within(value, *_LIMITS[name])]
    text = json.dumps({**said, "type": "keepalive"})
    if any(value != value for value in said.values()):
        assert refusal(text) == "the message is not JSON"
    elif bad:
        low, high = _LIMITS[bad[0]]
        assert refusal(text).startswith(f"{bad[0]} must be a whole number from {low} to {high}, not ")
    else:
        read = parse(text)
        assert isinstance(read, Keepalive)
        assert read.values() == told


def _is_within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and low <= value <= high


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(["a.b", "x" * 65]), _NUMBERS, max_size=5))
def test_readings_are_read_if_and_only_if_each_has_a_name_and_is_a_number(said: dict[str, object]) -> None:
    text = json.dumps({"type": "readings", "values": said})
    fits = all(
        re.fullmatch("[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", name)
        and type(value) in (int, float)
        and abs(value) < 1e308  # type: ignore[arg-type]
        for name, value in said.items()
    )
    # Twice: what was found out about a name is remembered.
    for _ in range(2):
        if said and fits:
            assert parse(text) == Readings(values=said)  # type: ignore[arg-type]
        else:
            assert refusal(text) != "read"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["hello", "keepalive", "keepalive_full", "readings", "result", "event", "watch"]),
    st.sampled_from(["", " ", "\n", "\t \r\n", "x", "{}", "\ufeff", "\0"]),
    st.sampled_from(["", " ", "\n", "\t \r\n", "x", "{}", ",", "\0"]),
)
def test_what_is_around_an_object_is_space_or_refused(name: str, before: str, after: str) -> None:
    text = before + golden(name) + after
    if (before + after).strip(" \t\r\n"):
        assert refusal(text) == "the message is not JSON"
    else:
        assert parse(text) == parse(golden(name))
