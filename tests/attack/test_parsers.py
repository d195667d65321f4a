"""Whatever is sent, every parser either understands it or refuses it in one sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attack.by_coverage import NEVER_MEANT
from tests.attack.parsers import PARSERS, survives

ODD: st.SearchStrategy[object] = st.sampled_from(
    [None, True, False, 0, -1, 1.5, 2**63, 10**400, -0.0, "", "x", "\x1b[2J\n", "a" * 5_000, [], {}, [[]], {"a": {}}]
)
JSON = st.recursive(ODD | st.text(max_size=20), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.text(max_size=8), inner, max_size=4), max_leaves=8)  # fmt: skip


def mutated(data: st.DataObject, example: bytes) -> bytes:
    """Return an example with some bytes changed, taken out, put in, or repeated."""
    found = bytearray(example)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(found)))
        how = data.draw(st.sampled_from(["change", "cut", "put", "repeat", "end"]))
        if how == "change" and at < len(found):
            found[at] ^= data.draw(st.integers(1, 255))
        elif how == "cut":
            del found[at : at + data.draw(st.integers(1, 8))]
        elif how == "put":
            found[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        elif how == "repeat":
            found[at:at] = found[max(0, at - 8) : at]
        else:
            del found[at:]
    return bytes(found)


def reshaped(data: st.DataObject, example: bytes) -> bytes:
    """Return an object of JSON with some of its values replaced by odd ones."""
    values = json.loads(example)
    for key in data.draw(st.lists(st.sampled_from(sorted(values)), max_size=3)):
        values[key] = data.draw(JSON)
    if data.draw(st.booleans()):
        values[data.draw(st.text(max_size=8))] = data.draw(JSON)
    return json.dumps(values).encode()


@pytest.mark.parametrize("name", PARSERS)
@given(st.data())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_a_parser_refuses_in_one_sentence_what_it_does_not_understand(name: str, data: st.DataObject) -> None:
    examples = PARSERS[name][1]
    example = data.draw(st.sampled_from(examples))
    ways = ["any", "mutated", *(["reshaped"] if example[:1] == b"{" else [])]
    way = data.draw(st.sampled_from(ways))
    if way == "any":
        survives(name, data.draw(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())))
    else:
        survives(name, mutated(data, example) if way == "mutated" else reshaped(data, example))


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_survives_what_usually_breaks_parsers(name: str) -> None:
    deep = 3_000
    for bomb in (
        b"", b"\0" * 64, b"\xff" * 64, b"[" * deep, b'{"a":' * deep, b'{"type":' + b"[" * deep, b'"' * 99, b"1" * 5_000,
        b"-" * 99, b"NaN", b'{"type":NaN}', b'{"type":1e999}', "\u202e\u2028".encode(), b"\xed\xa0\x80", b"%" * 99,
        b'{"type":"hello","protocol":' + b"9" * 5_000 + b"}", b'{"type":"\\ud800"}',
        b'{"type":"keepalive","shown":1e400}',
        b"=" * 99, b"\r\n" * 50, b"{" * 99, b"a://[" * 9, b"redis://:@:/?&&==",
    ):  # fmt: skip
        survives(name, bomb)
    for example in PARSERS[name][1]:
        survives(name, example)


@pytest.mark.parametrize("name", [name for name, (_, examples) in PARSERS.items() if examples[0][:1] == b"{"])
def test_no_value_of_an_object_breaks_a_parser(name: str) -> None:
    for example in PARSERS[name][1]:
        values = json.loads(example)
        for key, value in values.items():
            inside = value if isinstance(value, dict) else {}
            for odd in NEVER_MEANT:
                survives(name, json.dumps({**values, key: odd}).encode())
                for inner in inside:
                    survives(name, json.dumps({**values, key: {**inside, inner: odd}}).encode())
