"""Logging: one line an event on stderr, set up once by the entry points."""

from __future__ import annotations

import logging
import sys
import time

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class _Lines(logging.Formatter):
    """``2026-01-02T03:04:05.678Z info  prober: text``; control characters of the text are escaped."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, part: str) -> None:
        self.converter = time.gmtime
        super().__init__(f"%(asctime)s %(word)-7s {part}: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.word = record.levelname.lower()
        record.message = "".join(char if char.isprintable() else repr(char)[1:-1] for char in record.message)
        return super().formatMessage(record)


def set_up(part: str, level: str = "INFO") -> None:
    """Send log records of this process to stderr, each line naming ``part``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(part))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They tell each connection; who wants that asks for DEBUG.
    for chatty in ("websockets", "asyncio", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.DEBUG if level == "DEBUG" else logging.WARNING)
