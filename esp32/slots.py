"""Two places for the lamp's program, and which of them runs. Never updated itself: it starts whatever an update brings.

``a`` and ``b`` are folders with a whole ``lamp`` each, and the file ``slot`` says which one runs: without it that which
lies beside this module, or is frozen. The file is only ever replaced by one rename.

What an update has put in force runs on trial: ``back`` in the file is the place that ran before, and each start is
counted in memory that outlives a restart. After three starts that did not end the trial the lamp goes back by itself.
"""

import json
import os
import sys
import time

import machine

FILE = "slot"
PLACES = ("a", "b")
TRIALS = 3
# Ends a trial start that hangs before the lamp watches over itself.
_WATCH_MS = 120_000
# Time for Ctrl-C when the program cannot even be loaded, on trial and else.
_REST_S = (2, 30)


def enter() -> None:
    """Put the program that is to run first on the path."""
    state = read()
    if "back" in state:
        starts = _starts()
        if starts >= TRIALS:
            state = back(state, f"it failed at {TRIALS} starts")
        else:
            _count(starts + 1)
            machine.WDT(timeout=_WATCH_MS)
    if state.get("slot") in PLACES:
        # Before ".frozen", and before what was put there by cable.
        sys.path.insert(0, state["slot"])


def failed(exc) -> None:
    """Start again after a while, because the program cannot be loaded."""
    sys.print_exception(exc)
    time.sleep(_REST_S["back" not in read()])
    machine.reset()


def place(file: str) -> str:
    """Return the slot that a file of the program lies in, or ``""``."""
    first = file.split("/")[0]
    return first if first in PLACES else ""


def read() -> dict:
    """Return what is in force: ``slot``, its ``version``; on trial ``back``; after a way back ``bad`` and ``why``."""
    try:
        with open(FILE) as file:
            state = json.load(file)
        return state if isinstance(state, dict) else {}
    except (OSError, ValueError):
        return {}


def flip(slot: str, version: str, here: str) -> None:
    """Put ``slot`` in force, on trial, from the next start on; ``here`` is the place that runs now.

    Raises:
        OSError: If that cannot be written; then all is as before.
    """
    _write({"slot": slot, "version": version, "back": here})
    _count(0)


def confirm() -> dict:
    """End the trial: what runs may stay. Return what is in force.

    Raises:
        OSError: If that cannot be written.
    """
    state = read()
    state.pop("back", None)
    _write(state)
    _count(0)
    return state


def back(state: dict, why: str) -> dict:
    """Put in force again what ran before the trial, and remember what was bad; return what is in force."""
    state = {"slot": state["back"], "bad": state.get("version", ""), "why": why}
    try:
        _write(state)
        _count(0)
    except OSError as exc:
        # So it is for this start at least, and the count stays for the next one.
        sys.print_exception(exc)
    return state


def _write(state: dict) -> None:
    with open(FILE + ".new", "w") as file:
        json.dump(state, file)
    os.rename(FILE + ".new", FILE)


def _starts() -> int:
    """Return how often the lamp has started on trial."""
    try:
        return int(json.loads(machine.RTC().memory())[3])
    except (ValueError, TypeError, IndexError, KeyError):
        return 0


def _count(starts: int) -> None:
    """Write that down behind what ``lamp.boots`` remembers there."""
    try:
        kept = json.loads(machine.RTC().memory())[:3]
    except (ValueError, TypeError):
        kept = []
    kept = kept if len(kept) == 3 else [0, 0, ""]
    machine.RTC().memory(json.dumps(kept + [starts]).encode())
