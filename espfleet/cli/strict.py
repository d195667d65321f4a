"""Fire does what it has understood and then complains of the rest; here nothing is done until all is understood."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from espfleet.domain.names import shown

Parse = Callable[[list[str]], tuple[Any, list[str], list[str], bool]]

_FLAG = re.compile(r"--?([a-zA-Z][\w-]*)$")
_BEGINS_AS_FLAG = re.compile(r"--|-[a-zA-Z]")


def strictly(make_parse: Callable[[Any, Any], Parse], function: Any, metadata: Any) -> Parse:
    """Return how Fire reads the words for a command, in place of its own way, which it is given.

    Words that are left over, options without their value, and switches with one are refused before the command is
    begun. Commands that return what has commands of its own leave it the rest.
    """
    from fire.core import FireError

    parse = make_parse(function, metadata)

    def read(words: list[str]) -> tuple[Any, list[str], list[str], bool]:
        empty = _without_value(function, words)
        if empty is not None:
            raise FireError(f"--{empty} needs a value")
        found = parse(words)
        (values, _), _, left, _ = found
        for name, value in zip(inspect.signature(function).parameters, values, strict=False):
            if _is_switch(function, name) and value not in ("True", "False", ""):
                raise FireError(f"--{name} takes no value such as {shown(value)}")
        if left and inspect.signature(function).return_annotation == "None":
            raise FireError("Could not consume arg:", left[0])
        return found

    return read


def _without_value(function: Any, words: Sequence[str]) -> str | None:
    """Return the first option of the command that needs a value and has none; to Fire it would be ``True``."""
    names = list(inspect.signature(function).parameters)
    for place, word in enumerate(words):
        flag = _FLAG.match(word)
        if flag is None or (place + 1 < len(words) and not _BEGINS_AS_FLAG.match(words[place + 1])):
            continue
        name = flag[1].replace("-", "_")
        if len(name) == 1:
            name = next((one for one in names if one.startswith(name)), name)
        if name not in names and name.removeprefix("no") in names:
            name = name.removeprefix("no")
        if name in names and not _is_switch(function, name):
            return name
    return None


def _is_switch(function: Any, name: str) -> bool:
    """Whether an argument takes no value: what is said of it then begins with how it is written."""
    return re.search(rf"^\s+{name}: --{name}\b", inspect.getdoc(function) or "", re.MULTILINE) is not None
