"""``/api/live``: the live feed over HTTP, for as long as a reader keeps up."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.types import Send

from espfleet.errors import InvalidError
from espfleet.web.access import role_of
from espfleet.web.context import Here
from espfleet.web.endless import Audience, EndlessResponse, send_end
from espfleet.web.live import KINDS, Live

logger = logging.getLogger(__name__)

router = APIRouter(tags=["live"])


class LiveResponse(EndlessResponse):
    """Sends the feed until the reader goes, gets stuck, falls behind, or may not look any more."""

    media_type = "text/event-stream"

    def __init__(
        self,
        audience: Audience,
        live: Live,
        last_id: str,
        kinds: Collection[str],
        check: Callable[[], Awaitable[object]],
        blocked_ms: int,
    ) -> None:
        super().__init__(audience, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, live, check, blocked_ms)
        self._last_id = last_id
        self._kinds = kinds

    async def send_all(self, send: Send) -> None:
        """Send the feed as it comes."""
        feed = self._live.read(self._last_id, self._kinds)
        try:
            async for chunk in feed:
                await self.send_part(send, chunk)
            await send_end(send)
        except TimeoutError:
            self._live.cut += 1
            logger.info("a reader of the live feed took nothing for %g s: it is cut", self.blocked_s)
        finally:
            await feed.aclose()


@router.get(
    "/live",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"example": 'event: beat\ndata: {"at_ms":1750000000000}\n\n'}}}},
)
async def live(
    here: Here,
    request: Request,
    kinds: Annotated[str, Query(max_length=128, description=f"some of {', '.join(KINDS)}; without, all")] = "",
    since: Annotated[str, Query(max_length=64, description="`live` of `/api/wall`: go on from there")] = "",
    last_event_id: str = Header("", max_length=64),
) -> Response:
    """Follow the fleet as server-sent events: `hello`, `levels`, `presence`, `readings`, `event`, `registry`, `beat`.

    After a break, a reader that shows `Last-Event-ID` gets what it missed; `hello` says whether that was possible. If
    not, it reads `/api/wall` again. `beat` comes each second, whatever else is wanted.
    """
    wanted = [kind for kind in kinds.split(",") if kind]
    if not set(wanted) <= set(KINDS):
        raise InvalidError(f"kinds may be some of {', '.join(KINDS)}, with commas between", field="kinds")
    blocked_ms = here.settings.limits.blocked_ms
    begin = last_event_id or since
    return LiveResponse(here.audience, here.live, begin, wanted, lambda: role_of(request, here), blocked_ms)
