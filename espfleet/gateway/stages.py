"""Stages: the sessions that are shown the same group in the same dialect, and when they are shown it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from espfleet.domain.devices import Dialect as DialectName
from espfleet.gateway.channels import Channel, Fanout
from espfleet.gateway.dialects import Dialect

if TYPE_CHECKING:
    from espfleet.gateway.sessions import Session

#: Returns the frame that shows a group, or having none, in a dialect.
Draw = Callable[[str | None, Dialect], bytes]


class Stage(Channel):
    """The sessions that are shown the same group in the same dialect.

    Attributes:
        group: Name of the group, or ``None`` where none is chosen.
        dialect: What they speak.
        frame: What they see.
    """

    def __init__(
        self, group: str | None, dialect: Dialect, draw: Draw, fanout: Fanout, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(fanout)
        self.group = group
        self.dialect = dialect
        self.frame = b""
        self._draw = draw
        self._loop = loop
        self._due_s = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.refresh()

    def refresh(self) -> None:
        """Show what is to be seen now, and again after a period."""
        self.stop()
        self.frame = self._draw(self.group, self.dialect)
        self.show(self.frame)
        # From the time it was due, so that a busy loop does not make the periods longer.
        now_s, period_s = self._loop.time(), self.dialect.period_ms / 1_000
        self._due_s = max(self._due_s + period_s, now_s) if now_s >= self._due_s else now_s + period_s
        self._timer = self._loop.call_at(self._due_s, self.refresh)

    def stop(self) -> None:
        """Show nothing more by itself."""
        if self._timer is not None:
            self._timer.cancel()


class Stages:
    """All stages. One is there while it has sessions."""

    def __init__(self, draw: Draw, loop: asyncio.AbstractEventLoop) -> None:
        self._draw = draw
        self._loop = loop
        self._fanout = Fanout(loop)
        self._stages: dict[tuple[str | None, DialectName], Stage] = {}

    def join(self, session: Session, group: str | None) -> None:
        """Let a session see a group from now on; what is to be seen at this moment it is shown otherwise."""
        self.leave(session)
        key = group, session.dialect.name
        stage = self._stages.get(key)
        if stage is None:
            stage = self._stages[key] = Stage(group, session.dialect, self._draw, self._fanout, self._loop)
        stage.join(session)
        session.stage = stage

    def leave(self, session: Session) -> None:
        """Let a session see nothing more."""
        stage, session.stage = session.stage, None
        if stage is not None:
            stage.leave(session)
            if not len(stage):
                stage.stop()
                self._stages.pop((stage.group, stage.dialect.name), None)

    def refresh(self, groups: Collection[str] | None = None) -> None:
        """Show groups that changed, or with ``None`` all, to those who are to know at once."""
        for stage in list(self._stages.values()):
            if stage.dialect.eager and (groups is None or stage.group in groups):
                stage.refresh()

    def stop(self) -> None:
        """Show nothing more to anybody."""
        for stage in self._stages.values():
            stage.stop()
        self._stages.clear()
