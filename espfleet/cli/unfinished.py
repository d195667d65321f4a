"""Commands that do nothing before another word says what."""

from __future__ import annotations


class Unfinished:
    """Its ``str`` says which words there are."""
