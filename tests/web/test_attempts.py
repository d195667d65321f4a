"""Whoever guesses tokens has to wait; nobody else has, and a page with an old token is no guesser."""

from __future__ import annotations

import pytest

from espfleet.domain.attempts import AT_ONCE, EACH_S, REMEMBERED, Attempts, source_of
from espfleet.errors import TooManyError
from espfleet.services import tokens
from espfleet.store.client import Store
from tests.web.serving import Web

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guessed(clock: Clock) -> Attempts:
    """As many wrong tokens from one place as may be."""
    attempts = Attempts(clock)
    attempts.note(HERE, "good", good=True)
    for number in range(AT_ONCE):
        attempts.check(HERE, str(number))
        attempts.note(HERE, str(number), good=False)
    return attempts


def test_who_guesses_has_to_wait(guessed: Attempts, clock: Clock) -> None:
    with pytest.raises(TooManyError, match="try again in 6 s"):
        guessed.check(HERE, "another")
    clock.now_s += EACH_S
    guessed.check(HERE, "another")
    guessed.note(HERE, "another", good=False)
    with pytest.raises(TooManyError):
        guessed.check(HERE, "one more")


def test_nobody_else_has_to_wait(guessed: Attempts) -> None:
    guessed.check(THERE, "another")
    # Somebody behind the same address who is logged in already.
    guessed.check(HERE, "good")


def test_a_token_that_was_good_and_is_wrong_now_is_no_guess(guessed: Attempts) -> None:
    guessed.note(HERE, "good", good=False)
    with pytest.raises(TooManyError):
        guessed.check(HERE, "good")


def test_the_same_wrong_token_again_and_again_counts_once(clock: Clock) -> None:
    attempts = Attempts(clock)
    for _ in range(100):
        attempts.check(HERE, "old")
        attempts.note(HERE, "old", good=False)
    attempts.check(HERE, "new")


def test_memory_of_guessers_has_an_end(clock: Clock) -> None:
    attempts = Attempts(clock)
    for number in range(REMEMBERED + 100):
        attempts.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "x", good=False)
    assert len(attempts._sources) == len(attempts._seen) == REMEMBERED


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_source_is_an_address_or_the_network_of_one_customer(host: str, source: str) -> None:
    assert source_of(host) == source


async def test_guessing_is_answered_with_when_to_try_again(store: Store, web: Web) -> None:
    token = await tokens.add(store, name="laptop", role="admin", now_ms=1)
    late = await tokens.add(store, name="phone", role="viewer", now_ms=1)
    await web.get("/api/rooms", headers={"Authorization": f"Bearer {token}"})
    for number in range(AT_ONCE):
        await web.post("/api/session", {"token": f"guess-{number}"}, 401)
    refused = await web.send("POST", "/api/session", json={"token": "guess-another"})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
    assert 1 <= int(refused.headers["retry-after"]) <= EACH_S
    await web.get("/api/rooms", 429, headers={"Authorization": "Bearer another"})
    # Who has a good token does not notice, not even one that was never seen.
    await web.post("/api/session", {"token": late}, 200)
    await web.get("/api/rooms", headers={"Authorization": f"Bearer {token}"})
    await web.post("/api/session", {"token": token}, 200)
