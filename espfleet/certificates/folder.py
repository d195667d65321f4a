"""Where the certificates of a fleet are kept: the folder ``certs`` of its data folder.

==================  ====  ==============================================================================
file                mode  holds
==================  ====  ==============================================================================
``authority.pem``   0600  key and certificate of the authority; whoever has it can pose as the gateway
``server.pem``      0600  key and certificate of this machine's servers, and the bridge while rotating
``bridge.pem``      0644  while rotating: the authority's certificate, signed by the one before
``ca.pem``          0644  what to trust: the authority, and the one before while rotating
``ca.der``          0644  the same for lamps
``told.json``       0644  while rotating: the lamps that trust the authority already
==================  ====  ==============================================================================

Each file is replaced by one rename; key and certificate that belong together are in one file.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from espfleet.certificates.authority import (
    Authority,
    bridge,
    der_of,
    load_authority,
    names_of,
    new_authority,
    new_server,
    pem_of,
)
from espfleet.errors import ConflictError, InvalidError, StartError

_SECRET, _OPEN = 0o600, 0o644
#: A certificate that ends sooner is renewed by ``up``, and told of by ``doctor``.
RENEW_DAYS = 30


@dataclass(frozen=True)
class Certificates:
    """What there is.

    Attributes:
        server: Certificate of this machine's servers.
        trusted: What to trust: the authority, and the one before while rotating.
    """

    server: x509.Certificate
    trusted: Sequence[x509.Certificate]

    @property
    def names(self) -> list[str]:
        """What the server's certificate is for."""
        return names_of(self.server)

    @property
    def rotating(self) -> bool:
        """Whether two authorities are trusted."""
        return len(self.trusted) > 1

    def days_left(self, now: datetime.datetime) -> int:
        """Return for how many more days all certificates are valid; less than 0 if one is not."""
        end = min(one.not_valid_after_utc for one in (self.server, *self.trusted[:1]))
        return (end - now) // datetime.timedelta(days=1)


def validity_of(file: Path) -> tuple[datetime.datetime, datetime.datetime]:
    """Return from when until when all certificates of a PEM file are valid.

    Raises:
        StartError: If it cannot be read, or holds none.
    """
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as exc:
        raise StartError(f"{file} cannot be read: {_why(exc)}") from None
    return max(one.not_valid_before_utc for one in found), min(one.not_valid_after_utc for one in found)


class Folder:
    """The certificates of one data folder.

    Args:
        data: The data folder.
        clock: Returns the current time, with its zone.
    """

    def __init__(self, data: Path, clock: Callable[[], datetime.datetime]) -> None:
        self.path = data / "certs"
        self.server = self.path / "server.pem"
        self.bundle = self.path / "ca.pem"
        self.for_lamps = self.path / "ca.der"
        self._authority = self.path / "authority.pem"
        self._bridge = self.path / "bridge.pem"
        self._told = self.path / "told.json"
        self._clock = clock

    @property
    def exists(self) -> bool:
        """Whether there are certificates."""
        return self.server.exists()

    def read(self) -> Certificates:
        """Return what there is.

        Raises:
            StartError: If there is nothing, or it cannot be read.
        """
        try:
            # The key comes first in the file; the server's own certificate is the first of those after it.
            server = x509.load_pem_x509_certificates(self.server.read_bytes())[0]
            trusted = x509.load_pem_x509_certificates(self.bundle.read_bytes())
        except FileNotFoundError:
            raise StartError(f"there are no certificates in {self.path}: './espcli certs make' makes them") from None
        except (OSError, ValueError) as exc:
            raise StartError(f"the certificates in {self.path} cannot be read: {_why(exc)}") from None
        return Certificates(server, trusted)

    def make(self, names: Sequence[str]) -> Certificates:
        """Make an authority and a certificate for this machine's servers.

        Raises:
            ConflictError: If there are certificates already.
            InvalidError: If a name cannot be used.
            StartError: If the folder cannot be written.
        """
        with self._alone():
            if self.exists:
                raise ConflictError(
                    f"there are certificates in {self.path} already: './espcli certs renew' makes the server's anew, "
                    "'./espcli certs rotate' the authority"
                )
            authority = new_authority(self._clock())
            self._write(self._authority, authority.pem(), _SECRET)
            self._trust([authority.certificate])
            self._issue(authority, names)
        return self.read()

    def ensure(self, names: Sequence[str]) -> Certificates:
        """Return what there is; made if nothing is there, renewed if it is about to end.

        Raises:
            StartError: If it cannot be read or written.
        """
        if not self.exists:
            with contextlib.suppress(ConflictError):
                return self.make(names)
        found = self.read()
        if found.days_left(self._clock()) < RENEW_DAYS and self._authority.exists():
            return self.renew()
        return found

    def renew(self, names: Sequence[str] | None = None) -> Certificates:
        """Make the certificate of this machine's servers anew; lamps and browsers notice nothing.

        Args:
            names: What it shall be for; ``None`` for what it was.

        Raises:
            InvalidError: If a name cannot be used.
            StartError: If there is no authority here, or the folder cannot be written.
        """
        with self._alone():
            self._issue(self._load(), self.read().names if names is None else names)
        return self.read()

    def issue(self, names: Sequence[str], file: Path) -> None:
        """Write key and certificate for the servers of another machine.

        Raises:
            InvalidError: If a name cannot be used.
            StartError: If there is no authority here, or the file cannot be written.
        """
        with self._alone():
            self._issue(self._load(), names, file)

    def rotate(self) -> Certificates:
        """Make another authority, and let it sign this machine's certificate; the one before stays trusted.

        The servers send a bridge along: lamps that know only the one before trust them too.

        Raises:
            ConflictError: If two are trusted already.
            StartError: If there is no authority here, or the folder cannot be written.
        """
        with self._alone():
            found = self.read()
            older, names = self._load(), found.names
            if found.rotating:
                raise ConflictError(
                    "two authorities are trusted already: './espcli certs rotate --finish' drops the older one"
                )
            newer = new_authority(self._clock())
            # Whatever is interrupted here, the servers are trusted: trust comes before what needs it.
            self._trust([newer.certificate, older.certificate])
            self._write(self._told, b"[]", _OPEN)
            self._write(self._bridge, pem_of(bridge(newer, older)), _OPEN)
            self._write(self._authority, newer.pem(), _SECRET)
            self._issue(newer, names)
        return self.read()

    def finish(self) -> Certificates:
        """Trust the authority before no longer, and send the bridge no longer.

        Raises:
            ConflictError: If only one is trusted.
            StartError: If there is no authority here, or the folder cannot be written.
        """
        with self._alone():
            authority, found = self._load(), self.read()
            if not found.rotating:
                raise ConflictError("only one authority is trusted: './espcli certs rotate' begins with another")
            self._bridge.unlink(missing_ok=True)
            self._issue(authority, found.names)
            self._trust([authority.certificate])
            self._told.unlink(missing_ok=True)
        return self.read()

    def told(self) -> set[str]:
        """Return the hardware ids of the lamps that trust both authorities."""
        try:
            return set(json.loads(self._told.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return set()

    def note_told(self, device_ids: Iterable[str]) -> None:
        """Remember lamps that trust both authorities."""
        with self._alone():
            self._write(self._told, json.dumps(sorted(self.told() | set(device_ids))).encode(), _OPEN)

    def _issue(self, authority: Authority, names: Sequence[str], file: Path | None = None) -> None:
        key, certificate = new_server(authority, names, self._clock())
        crossing = self._bridge.read_bytes() if self._bridge.exists() else b""
        self._write(file or self.server, key + pem_of(certificate) + crossing, _SECRET)

    def _trust(self, trusted: Sequence[x509.Certificate]) -> None:
        self._write(self.for_lamps, der_of(*trusted), _OPEN)
        self._write(self.bundle, pem_of(*trusted), _OPEN)

    def _load(self) -> Authority:
        try:
            return load_authority(self._authority.read_bytes())
        except FileNotFoundError:
            raise StartError(
                f"the authority of this fleet is not in {self.path}: do this on the machine that has it"
            ) from None
        except (OSError, InvalidError) as exc:
            raise StartError(f"{self._authority} cannot be used: {_why(exc)}") from None

    def _write(self, path: Path, data: bytes, mode: int) -> None:
        new = path.with_name(f".{path.name}.new")
        try:
            new.unlink(missing_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:  # noqa: PTH123
                os.fchmod(stream.fileno(), mode)
                stream.write(data)
                os.fsync(stream.fileno())
            new.replace(path)
        except OSError as exc:
            raise StartError(f"{path} cannot be written: {exc.strerror}") from exc

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let nobody else write meanwhile."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _SECRET)
        except OSError as exc:
            raise StartError(f"{self.path} cannot be written: {exc.strerror}") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _why(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or str(exc)
