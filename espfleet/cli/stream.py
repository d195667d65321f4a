"""Commands about the streams."""

from __future__ import annotations

from espfleet.cli import output
from espfleet.cli.opening import with_store
from espfleet.store import samples


def init_consumers() -> None:
    """Create the consumer groups of the streams."""
    made = with_store(samples.init_consumers)
    output.say(
        f"Created {len(made)} consumer groups: {', '.join(made)}."
        if made
        else "All consumer groups are there already.",
        {"created": made},
    )
