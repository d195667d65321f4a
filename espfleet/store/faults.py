"""The one place where failures of the Redis client become failures of the store."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as failures

from espfleet.errors import StoreError, StoreLoginError, StoreUnavailableError

#: How refusals begin that pass when somebody has seen to the server, or by themselves.
_PASSING = ("BUSY ", "MISCONF", "NOREPLICAS", "EXECABORT")
_COMMAND = re.compile(r"^Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
_LOGIN = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR invalid password", "ERR AUTH")
#: How it is told that a consumer group is gone, or that its stream vanished while somebody waited for it.
_GONE = ("NOGROUP", "UNBLOCKED")


class GroupGoneError(StoreError):
    """Raised inside the store when a consumer group must be made again."""


@contextmanager
def translated(label: str) -> Iterator[None]:
    """Turn each failure of the Redis client into a ``StoreError`` that says where Redis was looked for."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except (TimeoutError, failures.RedisError, failures.RedisClusterException, OSError) as exc:
        _cancel_if_lost(task, before)
        raise store_error(exc, label) from exc
    _cancel_if_lost(task, before)


def _cancel_if_lost(task: asyncio.Task[object] | None, before: int) -> None:
    """Cancel the task if it was cancelled and the Redis client took no notice.

    It sends by ``asyncio.wait_for``, which in Python 3.11 drops a cancellation that comes as the sending is done
    (python/cpython#86296); a loop that was told to stop would run on for ever.
    """
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


def store_error(exc: Exception, label: str) -> StoreError:
    """Return the failure of the store that a failure of the client stands for."""
    # In a pipeline the client puts the whole command in front, which is nobody's business.
    text = _COMMAND.sub("", str(exc))
    if isinstance(exc, failures.AuthenticationError | failures.NoPermissionError) or _begins(text, _LOGIN):
        if "NOPERM" in text or isinstance(exc, failures.NoPermissionError):
            return StoreLoginError(f"Redis at {label} does not allow this user what espfleet needs: all commands")
        return StoreLoginError(f"Redis at {label} refuses the login: give its user and password in REDIS_URL")
    if isinstance(exc, failures.AuthenticationWrongNumberOfArgsError):
        return StoreLoginError(f"Redis at {label} refuses the login: it knows passwords, but no users")
    if _begins(text, _GONE):
        return GroupGoneError(f"Redis at {label} has lost a consumer group")
    if isinstance(exc, failures.ResponseError) and not isinstance(exc, failures.ClusterError):
        if isinstance(exc, failures.OutOfMemoryError | failures.ReadOnlyError) or _begins(text, _PASSING):
            return StoreUnavailableError(f"Redis at {label} cannot work now: {text}")
        return StoreError(f"Redis at {label} refuses a command: {text}")
    if isinstance(exc, failures.DataError):
        return StoreError(f"a value cannot be sent to Redis at {label}: {text}")
    return StoreUnavailableError(f"Redis at {label} does not answer: {_reason(exc)}")


def _begins(text: str, words: tuple[str, ...]) -> bool:
    return text.startswith(words)


def _reason(exc: Exception) -> str:
    """Return a few words about a broken connection."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "its host name is not known"
        if isinstance(cause, OSError) and cause.errno:
            # asyncio replaces the text of the error by one that repeats the address.
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    if isinstance(exc, failures.TimeoutError | asyncio.TimeoutError):
        return "no answer in time"
    return str(exc) or "the connection broke"
