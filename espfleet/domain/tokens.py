"""Tokens: secrets of devices and viewers, and how they are kept.

A token is 32 random bytes, so no one can try them all: a plain fast hash is right, and a slow one, made for short
passwords, would only let a storm of reconnecting lamps stall the gateway.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256

TOKEN_BYTES = 32
_SCHEME = "sha256:"


def new_token(random_bytes: bytes | None = None) -> str:
    """Return 32 random bytes as a token of 43 characters, safe in URLs; they may be given for tests."""
    if random_bytes is None:
        random_bytes = secrets.token_bytes(TOKEN_BYTES)
    if len(random_bytes) != TOKEN_BYTES:
        raise ValueError(f"a token is made of {TOKEN_BYTES} random bytes, not {len(random_bytes)}")
    return urlsafe_b64encode(random_bytes).rstrip(b"=").decode()


def hash_token(token: str) -> str:
    """Return what may be stored of a token: ``sha256:`` and 64 hex digits."""
    return _SCHEME + sha256(token.encode(errors="surrogatepass")).hexdigest()


def matching_hash(token: str, hashes: Iterable[str]) -> str | None:
    """Return which of ``hashes`` is the token's, if any; the time it takes says nothing of how much of it was right."""
    mine = hash_token(token).encode()
    # Each hash is compared, also after one matched.
    matching = [known for known in hashes if hmac.compare_digest(mine, known.encode())]
    return matching[0] if matching else None


def token_matches(token: str, hashes: Iterable[str]) -> bool:
    """Tell whether one of ``hashes`` is the token's, in the same careful way."""
    return matching_hash(token, hashes) is not None
