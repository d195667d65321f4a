"""``flash PORT``: MicroPython and the lamp's program, onto a board on a cable."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from espfleet.cable.flash import write_image
from espfleet.cable.images import read_image
from espfleet.cli import output
from espfleet.errors import InvalidError
from espfleet.services import provisioning
from espfleet.services.provisioning import Progress


def flash(port: str, image: str, chip: str) -> None:
    """Write an image of MicroPython, if one is given, and the lamp's program."""
    if chip and not image:
        raise InvalidError("--chip says for which chip an image must be: add --image FILE", field="chip")
    with shown_progress() as progress:
        if image:
            found = read_image(image, chip)
            progress(f"writing MicroPython for {found.chip}, a minute or two", 0.0)
            write_image(port, found)
        changed = provisioning.flash(port, progress)
    what = f"{changed} files of the lamp's program are new on it" if changed else "the lamp's program was on it already"
    output.say(
        f"The board at {port} is ready: {what}.\nNext: ./espcli provision {port} --name NAME --wifi SSID",
        {"port": port, "changed": changed, "image": image or None},
    )


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Yield what shows on a terminal how far something is; into a pipe nothing is shown."""
    if not sys.stderr.isatty():
        yield lambda _what, _share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(row, description=what, completed=share)
