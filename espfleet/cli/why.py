"""``why``: every contribution to a level."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import TYPE_CHECKING

from espfleet.cli import output
from espfleet.cli.opening import settings, windows, with_store
from espfleet.cli.words import level_word, now_ms
from espfleet.services import why as service

if TYPE_CHECKING:
    from rich.console import RenderableType


def why(name: str) -> None:
    """Explain a level."""
    lengths = windows(settings())
    found = with_store(functools.partial(service.why, name=name, windows=lengths, now_ms=now_ms()))
    output.show(asdict(found), lambda: _page(found))


def _page(found: service.Why) -> RenderableType:
    raise NotImplementedError(found, level_word)
