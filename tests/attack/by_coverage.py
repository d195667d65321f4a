"""Search for input that breaks a parser, led by the lines it reaches: ``python -m tests.attack.by_coverage NAME``.

It needs the package ``atheris``, which no test does: it is large, and there is none for many machines. Options of
libFuzzer follow the name, such as ``-max_total_time=60``. A defect ends it with a traceback and the input in a file.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Search until told to stop."""
    try:
        import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        sys.exit("this needs the package atheris: pip install atheris")
    with atheris.instrument_imports(include=["espfleet"]):
        from tests.attack.parsers import PARSERS, survives
    if len(sys.argv) < 2 or sys.argv[1] not in PARSERS:
        sys.exit(f"say what to search: one of {', '.join(PARSERS)}")
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, lambda data: survives(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
