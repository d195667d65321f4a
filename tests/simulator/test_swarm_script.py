"""Scripts of load tests: what they mean, and what is said of lines that mean nothing."""

from __future__ import annotations

import pytest

from espfleet.errors import InvalidError
from espfleet.simulator.swarm.script import Step, Verb, everyone, most_returning, read, rooms

SCRIPT = """
# A day in two minutes.
at 0s     arrive 20000 over 30s
at 1m     move 500 to room lab      # they are carried there
at 90.5s  die 1000
at 95s    leave all
at 120s   return 800 over 500ms
at 130s   freeze 200

at 130s   thaw all
at 150s   loop from 60s
"""


def test_each_line_is_a_step() -> None:
    steps = read(SCRIPT, 20_000)
    assert steps[0] == Step(at_s=0.0, verb=Verb.ARRIVE, count=20_000, over_s=30.0, line="at 0s arrive 20000 over 30s")
    assert [(step.at_s, step.verb, step.count) for step in steps[1:]] == [
        (60.0, Verb.MOVE, 500),
        (90.5, Verb.DIE, 1_000),
        (95.0, Verb.LEAVE, None),
        (120.0, Verb.RETURN, 800),
        (130.0, Verb.FREEZE, 200),
        (130.0, Verb.THAW, None),
        (150.0, Verb.LOOP, None),
    ]
    assert rooms(steps) == ["lab"]
    assert (steps[4].over_s, steps[-1].from_s) == (0.5, 60.0)
    assert most_returning(steps, 20_000) == 800


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("die 5", "it must begin with a time, such as 'at 60s'"),
        ("at", "the time is missing at its end"),
        ("at 60 die 5", "'60' is not a time: write 500ms, 90s, 5m or 2h, seven days at most"),
        ("at 200h die 5", "'200h' is not a time"),
        ("at 60s", "what to do is missing at its end"),
        ("at 60s dye 5", "'dye' is nothing a lamp does; did you mean 'die'?"),
        ("at 60s explode 5", "'explode' is nothing a lamp does; it can be arrive, move, die"),
        ("at 60s die", "how many lamps, or 'all', is missing at its end"),
        ("at 60s die 0", "'0' is not a number of lamps"),
        ("at 60s die some", "'some' is not a number of lamps: write a whole number from 1, or 'all'"),
        ("at 60s die 101", "101 lamps are more than there are: --lamps says 100"),
        ("at 60s die 5 now", "'now' is more than that understands"),
        ("at 60s move 5", "say where to: 'move 500 to room lab'"),
        ("at 60s move 5 to room", "the name of the room is missing at its end"),
        ("at 60s move 5 to room -x", "cannot be the name of a room"),
        ("at 60s move 5 to room lab over 5s", "'over 5s' is more than that understands"),
        ("at 60s loop from 60s", "a loop goes back: 'from' must be before 60s"),
        ("at 0s loop", "a loop goes back"),
        ("at 0s die 5", "it comes before 'at 1s arrive all': write the lines in the order of their times"),
    ],
)
def test_a_line_that_means_nothing_is_named_in_one_sentence(line: str, sentence: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read(f"# first\nat 1s arrive all\n{line}  # a remark", 100, "storm.txt")
    assert str(caught.value).startswith("storm.txt line 3: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_comes_behind_the_end() -> None:
    with pytest.raises(InvalidError, match="line 2: nothing can come behind 'at 1s end'"):
        read("at 1s end\nat 2s die 5", 100)


@pytest.mark.parametrize(
    ("text", "sentence"), [("# nothing\n", "script says nothing"), ("at 0s die 1\n" * 1_001, "has 1001 lines")]
)
def test_a_script_has_at_least_one_line_and_not_too_many(text: str, sentence: str) -> None:
    with pytest.raises(InvalidError, match=sentence):
        read(text, 100)


def test_without_a_script_a_thousand_lamps_arrive_in_a_second() -> None:
    [step] = everyone(5_000)
    assert (step.verb, step.count, step.over_s) == (Verb.ARRIVE, None, 5.0)
    assert read(step.line, 5_000) == [step]
