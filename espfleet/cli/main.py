"""Entry: from the words on the command line to a command, and from failures to exit codes.

Exit codes: 0 done; 1 refused or failed, with one sentence on stderr; 2 wrong usage; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from espfleet.cli import output
from espfleet.cli.strict import strictly
from espfleet.cli.unfinished import Unfinished
from espfleet.domain.names import nearest, shown
from espfleet.errors import FleetError

FAILED = 1
WRONG_USAGE = 2
STOPPED = 130
#: Commands that name one thing; what can be done with it are their own commands.
NOUNS = frozenset({"device", "room", "group", "target", "token"})
#: Commands that are nothing without one of their own.
FAMILIES = frozenset({"certs"})
#: How Fire begins to say what is wrong, and how we do.
WRONG_USAGES = {
    "The function received no value for the required argument:": "something is missing: {}",
    "Could not consume arg:": "'{}' is not understood here",
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    sys.exit(run(words))


def run(words: list[str]) -> int:
    """Run one command and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that does not know UTF-8 shows '?' for a colour's shape, whose name stands behind it.
        sys.stdout.reconfigure(errors="replace")
    output.use_json("--json" in words)
    words = [word for word in words if word != "--json"]
    refused = next((word for before, word in zip(["", *words], words, strict=False) if _leads_out(before, word)), None)
    if refused is not None:
        print(f"espfleet: {shown(refused)} is not used here; write a file of such a name as ./NAME", file=sys.stderr)
        return WRONG_USAGE
    try:
        _fire(words)
        # What does not go out now would fail after the last line of ours.
        sys.stdout.flush()
    except FleetError as exc:
        sys.stdout.flush()
        print(f"espfleet: {output.escaped(str(exc))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return STOPPED
    except OSError as exc:
        if exc.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if exc.errno == errno.EPIPE:
            # Whoever read our output, such as `head`, has seen enough.
            return 0
        print(f"espfleet: what it says cannot be written: {exc.strerror}", file=sys.stderr)
        return FAILED
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else FAILED
    return 0


def _leads_out(before: str, word: str) -> bool:
    """Whether Fire has a way out of the commands behind a word: a Python prompt, or the inner side of any object.

    Behind ``-`` it goes on with what a command returned, which is meant for ``update`` of a board alone.
    """
    return word == "--" or word.startswith("_") or (word == "-" and before != "update")


def _fire(words: list[str]) -> None:
    # Fire would open a pager for help on a terminal.
    os.environ.setdefault("PAGER", "cat")
    import fire

    from espfleet.cli.root import Cli

    # Fire guesses types from the text: the id 30e123456789 would arrive as infinity. Its decorator against that
    # shows up in help texts as a group, so the guess itself is replaced.
    fire.parser.DefaultParseValue = str
    fire.inspectutils._InfoBackup = _about
    if not isinstance(fire.core._DisplayError, functools.partial):
        fire.core._DisplayError = functools.partial(_say_wrong_usage, fire.core._DisplayError)
        fire.core._MakeParseFn = functools.partial(strictly, fire.core._MakeParseFn)
    if words and not words[0].startswith("-") and not hasattr(Cli, words[0]):
        close = nearest(words[0], [name for name in dir(Cli) if not name.startswith("_")])
        hint = f"did you mean {' or '.join(close)}?" if close else "'./espcli --help' lists them"
        print(f"espfleet: there is no command {shown(words[0])}; {hint}", file=sys.stderr)
        raise SystemExit(WRONG_USAGE)
    words = {(): ["--help"], ("--version",): ["version"]}.get(tuple(words), words)
    if not {"-h", "--help"} & set(words):
        fire.Fire(Cli(), command=words, name="espcli", serialize=_finished)
        return
    if words[0] in NOUNS and words[1:] in (["-h"], ["--help"]):
        words.insert(1, "NAME")
    if words[0] in FAMILIES and words[1:] in (["-h"], ["--help"]):
        words.insert(1, "-")
    # Fire writes help to stderr, below a line on how it was asked for. Behind other words it counts as wrong usage.
    with contextlib.redirect_stderr(io.StringIO()) as written, contextlib.suppress(SystemExit):
        fire.Fire(Cli(), command=words, name="espcli")
    told = [line.replace(" - COMMAND", " COMMAND") for line in written.getvalue().splitlines()]
    print("\n".join(line for line in told if not line.startswith("INFO: ")).strip())


def _finished(result: object) -> object:
    """Return what a command came to, for Fire to print."""
    if isinstance(result, Unfinished):
        print(f"espfleet: {result}", file=sys.stderr)
        raise SystemExit(WRONG_USAGE)
    return result


def _say_wrong_usage(show_help: Callable[[Any], None], trace: Any) -> None:
    """Say in a sentence what Fire did not understand, and what could be said instead."""
    from fire import helptext

    element = trace.elements[-1]
    if {"-h", "--help"} & set(element.args):
        show_help(trace)
        return
    told = element.ErrorAsStr()
    for begin, sentence in WRONG_USAGES.items():
        if told.startswith(begin):
            told = sentence.format(told.removeprefix(begin).strip())
    print(f"espfleet: {told}\n{helptext.UsageText(trace.GetResult(), trace=trace)}", file=sys.stderr)


def _about(component: object) -> dict[str, str | None]:
    """Say of a command what Fire needs for its help; its own way shows the thing too, for which Redis is asked."""
    return {"docstring": inspect.getdoc(component)}
