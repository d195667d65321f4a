"""Search for input that breaks a parser, led by the lines it reaches: ``python -m tests.attack.by_coverage NAME``.

It needs the package ``atheris``, which no test does: it is large, and there is none for many machines. ``all`` searches
each parser in turn. Options of libFuzzer follow the name, such as ``-max_total_time=60``, and folders of inputs to
begin with; the examples of the parser are always among them. A defect ends it with a traceback and the input in a file.
"""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What parsers of JSON forget.
NEVER_MEANT: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**63, 10**400, -(10**400), 1e308, float("nan"), float("-inf"), "", "x" * 5_000, "\ud800",
    "\x1b[2J\n", [], {}, [[]], [10**400], {"a": {}}, {"99999999999999999999": 1},
)  # fmt: skip


def main() -> None:
    """Search until told to stop."""
    if importlib.util.find_spec("atheris") is None:
        sys.exit("this needs the package atheris: pip install atheris")
    # Only what is imported from here on is watched.
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["espfleet"]):
        from tests.attack.parsers import PARSERS, survives
    name, *options = sys.argv[1:] or [""]
    if name == "all":
        broken = [one for one in PARSERS if _search_apart(one, options)]
        sys.exit(f"broken: {', '.join(broken)}" if broken else 0)
    elif name in PARSERS:
        with tempfile.TemporaryDirectory() as folder:
            for number, example in enumerate(PARSERS[name][1]):
                (Path(folder) / str(number)).write_bytes(example)

            def mutate(data: bytes, most: int, seed: int) -> bytes:
                return mutated(bytes(data), most, seed, atheris.Mutate)

            # What libFuzzer finds it keeps in the first folder, which may be the user's.
            words = [sys.argv[0], *options, folder]
            atheris.Setup(words, lambda data: survives(name, data), custom_mutator=mutate)
            atheris.Fuzz()
    else:
        sys.exit(f"say what to search: all, or one of {', '.join(PARSERS)}")


def _search_apart(name: str, options: list[str]) -> int:
    """Search in a process of its own, for libFuzzer never returns; return its exit code."""
    sys.stderr.write(f"== {name}\n")
    words = [sys.executable, "-m", "tests.attack.by_coverage", name, *options]
    return subprocess.run(words, check=False).returncode


def mutated(data: bytes, most: int, seed: int, mutate: Callable[[bytes, int], bytes]) -> bytes:
    """Return other bytes: of an object of JSON mostly another object, for of changed bytes hardly any is one.

    Args:
        data: What to begin with.
        most: How many bytes it may have.
        seed: The same makes the same.
        mutate: libFuzzer's way.
    """
    chance = random.Random(seed)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or chance.random() < 0.2:
        return mutate(data, most)
    for _ in range(chance.randint(1, 3)):
        key = chance.choice([*values, "type", "id", "data"])
        if chance.random() < 0.2:
            values.pop(key, None)
        else:
            values[key] = chance.choice((*NEVER_MEANT, values.copy()))
    changed = json.dumps(values).encode()
    return changed if len(changed) <= most else mutate(data, most)


if __name__ == "__main__":
    main()
