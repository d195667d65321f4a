"""Commands about tokens of people and programs."""

from __future__ import annotations

import functools

from espfleet.cli import output
from espfleet.cli.opening import settings, web_url, with_store, with_time
from espfleet.cli.unfinished import Unfinished
from espfleet.cli.words import age
from espfleet.domain.names import check_number
from espfleet.services import tokens as service


def tokens() -> None:
    """List the tokens."""
    holders, at_ms = with_time(service.holders)
    output.show(
        [holder.to_dict() for holder in holders],
        lambda: output.table(
            ("name", "role", "made", "ends"),
            [
                (
                    holder.name,
                    holder.role.value,
                    f"{age(holder.created_ms, at_ms)} ago",
                    "–" if holder.until_ms is None else f"in {age(at_ms, holder.until_ms)}",
                )
                for holder in holders
            ],
            "There is no token yet: ./espcli token NAME add",
        ),
    )


class TokenCommands(Unfinished):
    """One token, for a person, a program or a screen."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        return f"say what to do with it: ./espcli token {self._name} add, kiosk, rotate or remove"

    def add(self, role: str = "viewer") -> None:
        """Make the token and show it, this once.

        Args:
            role: viewer (look), operator (also tell devices to do things) or admin (also change the fleet).
        """
        token = with_store(lambda store: service.add(store, name=self._name, role=role, now_ms=store.now_ms()))
        output.say(f"The token of {self._name}, shown this once: {token}", {"name": self._name, "token": token})

    def kiosk(self) -> None:
        """Make a token for a screen and show the link that opens the wall there: it shows that and nothing else.

        './espcli token NAME remove' ends it.
        """
        token = with_store(lambda store: service.add(store, name=self._name, role="viewer", now_ms=store.now_ms()))
        link = f"{web_url(settings())}#/kiosk/{token}"
        output.say(f"Open this on {self._name}; it is shown this once: {link}", {"name": self._name, "link": link})

    def rotate(self, hours: str = "24") -> None:
        """Make another token of this name and show it, this once; the one before holds for a while yet.

        Args:
            hours: How long the one before still holds, 0 to 720; with 0 it ends at once.
        """
        keep_s = check_number(hours, "hours", 0, 720, "h") * 3_600
        token = with_store(lambda store: service.rotate(store, name=self._name, now_ms=store.now_ms(), keep_s=keep_s))
        output.say(
            f"The new token of {self._name}, shown this once: {token}\n"
            + (f"The one before ends in {hours} hours." if keep_s else "The one before has ended."),
            {"name": self._name, "token": token},
        )

    def remove(self) -> None:
        """End the token at once, and everything that was opened with it."""
        holder = with_store(functools.partial(service.remove, name=self._name))
        output.say(f"The token {holder.name} is no longer valid.", {"name": holder.name})
