"""Two places for secrets in the chip's own store. Borrowed by the settings."""

import esp32

_BYTES = 1536


class Vault:
    """The store."""

    def __init__(self) -> None:
        self._store = esp32.NVS("espfleet")

    def read(self, place: int) -> bytes:
        """Return what was written to place 0 or 1, or ``{}``."""
        data = bytearray(_BYTES)
        try:
            return bytes(data[: self._store.get_blob(f"secrets{place}", data)])
        except OSError:
            return b"{}"

    def write(self, place: int, data: bytes) -> None:
        """Keep ``data`` in place 0 or 1."""
        if len(data) > _BYTES:
            raise OSError("too many secrets")
        self._store.set_blob(f"secrets{place}", data)
        self._store.commit()
