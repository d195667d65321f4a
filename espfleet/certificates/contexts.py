"""Both sides of TLS: a server's with its certificate, and a lamp's with whom it trusts; both follow their files."""

from __future__ import annotations

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from pathlib import Path

from espfleet.errors import StartError

logger = logging.getLogger(__name__)

#: A changed file is noticed within this time.
LOOK_S = 2.0


class _Side(ABC):
    """One side of TLS, as some files say.

    Attributes:
        context: From the next handshake on it has what the files hold.
    """

    def __init__(self, context: ssl.SSLContext, *files: Path | None) -> None:
        self.context = context
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._files = [file for file in files if file is not None]
        self._marks = self._look()
        self._load(context)

    async def watch(self) -> None:
        """Take what the files hold as soon as they change, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                marks = self._look()
                if marks == self._marks:
                    continue
                # Tried on another one first: half of a pair would end what works.
                self._load(ssl.SSLContext(self.context.protocol))
                self._load(self.context)
            except StartError as exc:
                logger.warning("the certificate stays what it was: %s", exc)
            else:
                logger.info("the certificate was renewed")
            self._marks = marks

    def _look(self) -> list[tuple[int, int]]:
        try:
            found = [file.stat() for file in self._files]
        except OSError as exc:
            raise StartError(f"{exc.filename} cannot be read: {exc.strerror}") from None
        return [(one.st_mtime_ns, one.st_ino) for one in found]

    @abstractmethod
    def _load(self, context: ssl.SSLContext) -> None:
        """Let a context have what the files hold.

        Raises:
            StartError: If they cannot be used.
        """


class ServerSide(_Side):
    """What a server needs for TLS, 1.2 or newer.

    Args:
        certificate: PEM file with its certificate, and those between it and the authority.
        key: PEM file with the key; ``None`` where it is in the same file.

    Raises:
        StartError: If a file cannot be used.
    """

    def __init__(self, certificate: Path, key: Path | None = None) -> None:
        self._pair = certificate, key
        super().__init__(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
        # Tickets would cost memory for each lamp, and save it nothing.
        self.context.options |= ssl.OP_NO_TICKET

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(*self._pair)
        except ssl.SSLError as exc:
            names, hold = " and ".join(map(str, self._files)), "hold" if self._pair[1] else "holds"
            why = f": {exc.reason}" if exc.reason else ""
            raise StartError(f"{names} {hold} no certificate and the key to it{why}") from None
        except OSError as exc:
            # It does not say which of them.
            raise StartError(f"{' or '.join(map(str, self._files))} cannot be read: {exc.strerror}") from None


class LampSide(_Side):
    """What a simulated lamp checks a gateway's certificate with.

    Args:
        trusted: PEM file with the authorities to trust; ``None`` for those of this machine.

    Raises:
        StartError: If the file cannot be used.
    """

    def __init__(self, trusted: Path | None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trusted is None:
            context.load_default_certs()
        super().__init__(context, trusted)

    def _load(self, context: ssl.SSLContext) -> None:
        for file in self._files:
            try:
                context.load_verify_locations(file)
            except ssl.SSLError:
                raise StartError(f"{file} holds no certificate") from None
            except OSError as exc:
                raise StartError(f"{file} cannot be read: {exc.strerror}") from None
