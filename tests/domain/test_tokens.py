from __future__ import annotations

import pytest

from espfleet.domain.tokens import TOKEN_BYTES, hash_token, new_token, token_matches

OLD = new_token(bytes(TOKEN_BYTES))
NEW = new_token(bytes([255]) * TOKEN_BYTES)


def test_a_token_is_made_of_32_bytes_and_safe_in_urls() -> None:
    assert OLD == "A" * 43
    assert NEW == "_" * 42 + "8"
    assert len(new_token()) == 43
    assert new_token() != new_token()
    with pytest.raises(ValueError, match="32 random bytes, not 8"):
        new_token(bytes(8))


def test_what_is_stored_of_a_token_does_not_contain_it() -> None:
    stored = hash_token(NEW)
    assert stored.startswith("sha256:")
    assert len(stored) == len("sha256:") + 64
    assert NEW not in stored


def test_while_a_token_is_rotated_the_old_and_the_new_one_match() -> None:
    hashes = [hash_token(OLD), hash_token(NEW)]
    assert token_matches(OLD, hashes)
    assert token_matches(NEW, hashes)
    assert not token_matches(OLD[:-1] + "B", hashes)


def test_without_hashes_nothing_matches() -> None:
    assert not token_matches("", [])
    assert not token_matches(OLD, [])


def test_a_hash_is_no_token() -> None:
    assert not token_matches(hash_token(OLD), [hash_token(OLD)])


def test_a_token_with_odd_characters_is_compared_like_any_other() -> None:
    assert not token_matches("\ud800é", [hash_token(OLD), "é"])
