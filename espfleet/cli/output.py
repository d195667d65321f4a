"""Showing answers: tables for people on a terminal, JSON for programs and pipes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

_json_wanted = False
_ODD = re.compile(r"[^\n -~]+")


def use_json(wanted: bool) -> None:
    """Answer in JSON, also on a terminal."""
    global _json_wanted
    _json_wanted = wanted


def for_programs() -> bool:
    """Return whether answers go to a program rather than to a person."""
    return _json_wanted or not sys.stdout.isatty()


def show(data: Any, page: Callable[[], RenderableType]) -> None:
    """Print an answer: ``data`` as JSON for programs, else what ``page`` makes of it."""
    print(rendered(data, page))


def rendered(data: Any, page: Callable[[], RenderableType]) -> str:
    """Return what ``show`` prints, without the last line end."""
    if for_programs():
        return as_json(data, indent=2)
    drawn = console()
    with drawn.capture() as captured:
        drawn.print(page())
    return captured.get().rstrip("\n")


def say(sentence: str, data: Any = None) -> None:
    """Print that something is done: a sentence for people, ``data`` for programs."""
    if for_programs():
        print(as_json(data if data is not None else {"done": sentence}, indent=2))
    else:
        console().print(plain(sentence), highlight=False)


def as_json(data: Any, indent: int | None = None) -> str:
    """Return JSON that people can read, also on a terminal: what is no sign there is written as JSON escapes it."""
    return _ODD.sub(_in_json, json.dumps(data, indent=indent, ensure_ascii=False))


def _in_json(found: re.Match[str]) -> str:
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in found[0])


def console() -> Console:
    """Return a console on stdout."""
    from rich.console import Console

    return Console(highlight=False)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[RenderableType]], empty: str, folded: Sequence[str] = ()
) -> RenderableType:
    """Return a table, or the sentence ``empty`` where there is no row; only columns in ``folded`` are ever folded.

    Text is shown as ``plain`` has it.
    """
    if not rows:
        return empty
    made = plain_table()
    for column in columns:
        made.add_column(
            column, overflow="fold", no_wrap=column not in folded, min_width=FOLDED_WIDTH if column in folded else None
        )
    for row in rows:
        made.add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in row))
    return made


def plain(text: str) -> Text:
    """Return text as it is to be read: what devices say of themselves is neither markup nor an order to a terminal."""
    from rich.text import Text

    return Text(escaped(text))


def escaped(text: str) -> str:
    """Return text in which nothing is left that a terminal would take for an order."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


#: What is folded keeps at least so many characters a line, however narrow the terminal is.
FOLDED_WIDTH = 12


def plain_table() -> Table:
    """Return an empty table in the look of this program."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
