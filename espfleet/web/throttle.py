"""How many requests may come from a source in a second."""

from __future__ import annotations

import math
from collections.abc import Callable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from espfleet.domain.attempts import Attempts, source_of
from espfleet.domain.buckets import Buckets
from espfleet.domain.tokens import hash_token
from espfleet.web.access import host_of, presented
from espfleet.web.problems import problem
from espfleet.web.settings import Limits


class Throttle:
    """Answers requests that come too fast with when to come back, before anything is done for them.

    Whoever showed a good token here has a bucket of their own: neighbours behind the same address cannot empty it.

    Args:
        app: What answers all others.
        limits: How many may come.
        attempts: Knows which tokens were good.
        clock: Returns seconds that never jump.

    Attributes:
        refused: How many were told to come back.
    """

    def __init__(self, app: ASGIApp, limits: Limits, attempts: Attempts, clock: Callable[[], float]) -> None:
        self.refused = 0
        self._app = app
        self._attempts = attempts
        self._buckets = Buckets(limits.requests_at_once, 1 / limits.requests_per_s, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        bucket, client = self._names_of(Request(scope))
        wait_s = self._buckets.wait_s(bucket)
        if not wait_s:
            self._buckets.take(bucket)
            scope.setdefault("state", {})["client"] = client
            await self._app(scope, receive, send)
            return
        self.refused += 1
        back_s = math.ceil(wait_s)
        sentence = f"too many requests are coming from your address: come back in {back_s} s"
        answer = problem(429, "too_many_requests", sentence)
        answer.headers["Retry-After"] = str(back_s)
        await answer(scope, receive, send)

    def _names_of(self, request: Request) -> tuple[str, str]:
        """Return whose bucket a request takes from, and who asks as far as it says itself."""
        host = host_of(request)
        source = source_of(host)
        # Devices of the hub show theirs without a word before it.
        token = presented(request) or request.headers.get("authorization", "").strip()
        if not token:
            return source, source
        client = f"{source} {(mark := hash_token(token))}"
        return client if self._attempts.knows(host, mark) else source, client
