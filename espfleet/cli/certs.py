"""Commands about the certificates of the fleet."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.cli.encryption import folder_of, names_for, now
from espfleet.cli.opening import settings, with_store
from espfleet.cli.unfinished import Unfinished
from espfleet.errors import ConflictError, InvalidError
from espfleet.services import trusting
from espfleet.store.client import Store

if TYPE_CHECKING:
    from espfleet.certificates.folder import Certificates, Folder


class CertsCommands(Unfinished):
    """Certificates of the fleet: who lamps and browsers trust, and what gateway and web show."""

    def __str__(self) -> str:
        return "say what to do: ./espcli certs show, make, renew or rotate"

    def show(self) -> None:
        """Show what there is: names, until when it is valid, who is trusted."""
        folder = _folder()
        found = folder.read()
        data = _told(folder, found)
        rows = [(name, ", ".join(value) if isinstance(value, list) else str(value)) for name, value in data.items()]
        output.show(data, lambda: output.table(("what", "value"), rows, "", folded=("value",)))

    def make(self, names: str = "", file: str = "") -> None:
        """Make an authority, and a certificate for gateway and web of this machine; or, with --file, of another one.

        Example: ./espcli certs make --names lamps.example,192.0.2.7

        Args:
            names: Names and addresses by which lamps and browsers reach the servers, with commas between; without,
                those that this machine knows of itself.
            file: Write key and certificate for another machine's servers here; set TLS_CERT to it there.
        """
        given, folder = settings(), _folder()
        wanted = _names(names)
        if file:
            if not wanted:
                raise InvalidError("another machine is known by other names: add --names NAME,ADDRESS", field="names")
            folder.issue(wanted, Path(file))
            output.say(f"{file} holds key and certificate for {', '.join(wanted)}; keep it secret.", {"file": file})
            return
        found = folder.make(wanted or names_for(given))
        output.say(
            f"The fleet has an authority and a certificate for {', '.join(found.names)}.\n"
            f"Set TLS=on, and start the fleet again. Lamps and browsers are to trust {folder.bundle}.",
            _told(folder, found),
        )

    def renew(self, names: str = "") -> None:
        """Make the servers' certificate anew, while they run; lamps and browsers notice nothing.

        Args:
            names: Names and addresses it shall be for, with commas between; without, those it was for.
        """
        folder = _folder()
        found = folder.renew(_names(names) or None)
        output.say(
            f"The certificate for {', '.join(found.names)} is new; it is valid until {_day(found)}.",
            _told(folder, found),
        )

    def rotate(self, finish: str = "", force: str = "") -> None:
        """Replace the authority in two steps, without losing a lamp.

        First, and again until all lamps have been there: a second authority, which all servers here use at once;
        lamps that are connected are told it. Then, with --finish: the first one is trusted no longer.

        Args:
            finish: --finish for the second step.
            force: --force finishes although lamps were never told; each has to be given ca.der by cable then.
        """
        folder = _folder()
        if finish == "True":
            self._finish(folder, force == "True")
            return
        if not folder.read().rotating:
            folder.rotate()
        told, missing = _tell_lamps(folder)
        waits = f"; not told yet: {', '.join(missing)}" if missing else ""
        output.say(
            f"Two authorities are trusted; {len(told)} lamps know both{waits}.\n"
            + (
                "Again, when those are there: ./espcli certs rotate"
                if missing
                else "Now: ./espcli certs rotate --finish. Give ca.pem to browsers before that."
            ),
            {"told": told, "missing": missing},
        )

    def _finish(self, folder: Folder, force: bool) -> None:
        _, missing = _tell_lamps(folder) if folder.read().rotating else ([], [])
        if missing and not force:
            raise ConflictError(
                f"these lamps do not know the second authority and would be lost: {', '.join(missing)}; "
                "'./espcli certs rotate' tells those that are there, --force goes on without them"
            )
        found = folder.finish()
        told, unreached = with_store(
            lambda store: trusting.tell(store, trusted=_for_lamps(folder), already=set(), now_ms=store.now_ms())
        )
        more = f" Not told, and trusting both: {', '.join(unreached)}." if unreached else ""
        output.say(f"One authority is trusted.{more}", {**_told(folder, found), "told": told, "missing": unreached})


def _folder() -> Folder:
    return folder_of(settings())


def _tell_lamps(folder: Folder) -> tuple[list[str], list[str]]:
    """Let lamps that are there trust what is trusted; return the names of those that do, and of those that do not."""

    async def tell(store: Store) -> tuple[list[str], list[str], list[str]]:
        told, missing = await trusting.tell(
            store, trusted=_for_lamps(folder), already=folder.told(), now_ms=store.now_ms()
        )
        return told, missing, await trusting.ids_of(store, told)

    told, missing, ids = with_store(tell)
    folder.note_told(ids)
    return told, missing


def _for_lamps(folder: Folder) -> str:
    return base64.b64encode(folder.for_lamps.read_bytes()).decode()


def _told(folder: Folder, found: Certificates) -> dict[str, Any]:
    from espfleet.certificates.authority import fingerprint_of

    return {
        "names": found.names,
        "valid until": _day(found),
        "days left": found.days_left(now()),
        "authority": [fingerprint_of(one) for one in found.trusted],
        "rotating": found.rotating,
        "for browsers": str(folder.bundle),
        "for lamps": str(folder.for_lamps),
        "servers": str(folder.server),
    }


def _day(found: Certificates) -> str:
    return f"{found.server.not_valid_after_utc:%Y-%m-%d}"


def _names(text: str) -> Sequence[str]:
    return [name.strip() for name in text.strip("()[]").replace("'", "").split(",") if name.strip()]
