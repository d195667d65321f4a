"""The first admin's token: made when the web is opened to others and nobody could log in."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from espfleet.cli.encryption import is_open
from espfleet.errors import ConflictError, StartError
from espfleet.services import tokens
from espfleet.settings import Settings
from espfleet.store.client import Store

logger = logging.getLogger(__name__)

NAME = "first-admin"
FILE = "admin-token"


async def ensure_admin(store: Store, given: Settings) -> None:
    """Make an admin's token, if the web listens for others and there is none, and say in which file it is.

    Raises:
        StartError: If the file cannot be written; there is no token then.
    """
    if not is_open(given.web_host) or await tokens.any_admin(store):
        return
    try:
        token = await tokens.add(store, name=NAME, role="admin", now_ms=store.now_ms())
    except ConflictError:
        # Another process of this fleet was faster, or a token of this name is no admin's: the web says so then.
        return
    path = given.data / FILE
    try:
        _write(path, token)
    except OSError as exc:
        await tokens.remove(store, name=NAME)
        raise StartError(f"{path} cannot be written: {exc.strerror}; nobody could log in") from exc
    logger.warning("the web is open to others: to log in, use the admin's token in %s, then delete that file", path)


def _write(path: Path, token: str) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write(f"{token}\n")
