"""Answers that are kept for a while, so that a request that is sent twice takes effect once."""

from __future__ import annotations

import json
from dataclasses import dataclass

from espfleet.store.client import Store

#: How long a request may be repeated.
KEPT_MS = 600_000
#: How long an answer may take; a process that died over it leaves the mark free after that.
PENDING_MS = 60_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered.

    Attributes:
        fingerprint: Of the request that it answers.
        status: HTTP status; 0 while it is being answered.
        kind: Media type of the body.
        body: The body.
    """

    fingerprint: str
    status: int
    kind: str
    body: str


async def begin(store: Store, mark: str, fingerprint: str) -> Answer | None:
    """Return what was answered to the request with this mark; ``None`` if it is new, and now ours to answer."""
    key = store.keys.answered(mark)
    pending = json.dumps([fingerprint, 0, "", ""])
    if await store.do("SET", key, pending, "NX", "PX", PENDING_MS):
        return None
    text = await store.do("GET", key)
    found = Answer(*json.loads(text)) if text else Answer(fingerprint, 0, "", "")
    if not found.status:
        # It is pending for longer only if the clock was set back since, and who answers it may be dead. Not less: the
        # answer may have been kept meanwhile.
        await store.do("PEXPIRE", key, KEPT_MS, "LT")
    return found


async def keep(store: Store, mark: str, answer: Answer) -> None:
    """Keep an answer for ``KEPT_MS``."""
    text = json.dumps([answer.fingerprint, answer.status, answer.kind, answer.body])
    await store.do("SET", store.keys.answered(mark), text, "PX", KEPT_MS)


async def forget(store: Store, mark: str) -> None:
    """Let the request be made anew: it failed for a reason that may pass."""
    await store.do("DEL", store.keys.answered(mark))
