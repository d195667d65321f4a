"""The MicroPython prompt of a board: running code there, reading and writing its files."""

from __future__ import annotations

import contextlib
import errno
import io
import re
import select
import struct
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from espfleet.cable.port import check_port
from espfleet.errors import CableError, PortError, PromptError, RefusedError

#: What a board may take for the next sign of life.
SILENT_S = 10.0
#: A board that has just started misses what it is told; it is asked again, for such shares of that time.
_ATTEMPTS = (0.2, 0.3, 1.0)
#: Nothing that is run takes so many times longer, however much the board says meanwhile.
_PATIENCE = 3
#: A single read or write at the port; the driver below may hang for ever without it.
_STEP_S = 5.0
_NEW = ".new"
#: The last line of what MicroPython says when something fails.
_FAILURE = re.compile(r"(?:\w+\.)*(\w+)(?:: (.*))?")

Advance = Callable[[int], None]


class _Transport(SerialTransport):  # type: ignore[misc]  # mpremote tells no types
    """mpremote's, which would wait for ever for a word from a board that talks on and on, as one that restarted.

    It would also look for a word only every 10 ms, and a program is put onto a board by more than a thousand.
    """

    def read_until(
        self,
        _min_bytes: int,
        ending: bytes,
        timeout: float | None = None,
        data_consumer: Callable[[bytes], object] | None = None,
        timeout_overall: float | None = None,
    ) -> bytes:
        """Return what comes up to ``ending``, or what came until the board was silent or talked for too long."""
        del timeout
        data = bytearray()
        began_s = heard_s = time.monotonic()
        while not data.endswith(ending):
            end_s = min(heard_s + SILENT_S, began_s + (timeout_overall or _PATIENCE * SILENT_S))
            ready, _, _ = select.select([self.serial], [], [], max(0.0, end_s - time.monotonic()))
            if not ready:
                break
            byte = self.serial.read(1)
            heard_s = time.monotonic()
            if data_consumer is None:
                data += byte
            else:
                data_consumer(byte)
                data[:] = byte
            if heard_s >= end_s:
                break
        return bytes(data)


@contextlib.contextmanager
def open_prompt(port: str) -> Iterator[Prompt]:
    """Yield the prompt of the board at a port, whatever ran there before; afterwards the port is free again.

    Raises:
        PortError: If the port cannot be used.
        PromptError: If no MicroPython answers there.
    """
    check_port(port)
    try:
        transport: Any = _Transport(port, timeout=_STEP_S)
    except TransportError:
        raise PortError(f"{port} cannot be opened, or is in use by another program") from None
    try:
        transport.serial.write_timeout = _STEP_S
        _enter(transport, port)
        prompt = Prompt(transport, port)
        yield prompt
        prompt.leave()
    finally:
        with contextlib.suppress(OSError):
            transport.close()
        # That leaves a port open whose cable was pulled.
        transport.serial.close()


def _enter(transport: Any, port: str) -> None:
    # What arrives instead of a prompt is printed there, and nowhere else to be had.
    with contextlib.redirect_stdout(io.StringIO()) as heard:
        for share in _ATTEMPTS:
            try:
                transport.enter_raw_repl(soft_reset=True, timeout_overall=share * SILENT_S)
                return
            except (TransportError, OSError):
                continue
    if not heard.getvalue().replace("b''", "").strip():
        raise PromptError(
            f"nothing answers at {port}: is it the right port, and is MicroPython on the board? "
            "Unplug it, plug it in again, and try once more"
        )
    raise PromptError(
        f"what answers at {port} is not MicroPython: './espcli flash {port} --image FILE' writes it onto the board"
    )


class Prompt:
    """The prompt of one board.

    Every method raises ``PromptError`` if the board stops to answer, and ``CableError`` if its flash is full or the
    code fails; a ``RefusedError`` of the lamp's program comes out as one.
    """

    def __init__(self, transport: Any, port: str) -> None:
        self.port = port
        self._transport = transport

    def run(self, code: str) -> str:
        """Run code and return what it prints."""
        with self._explained():
            out, failure = self._transport.exec_raw(code, timeout=SILENT_S)
            if failure:
                raise TransportExecError(out, failure.decode(errors="replace"))
            return str(out.decode(errors="replace"))

    def put(self, path: str, data: bytes, advance: Advance = lambda _: None) -> None:
        """Put a file in its place: written beside, read again, renamed.

        Args:
            path: Relative; its folders are made.
            data: What shall be in it.
            advance: Called with the number of bytes that are newly there.
        """
        for end in [place for place, char in enumerate(path) if char == "/"]:
            self.run(f"import os\ntry:\n os.mkdir({path[:end]!r})\nexcept OSError:\n pass")
        done = 0

        def wrote(so_far: int, _total: int) -> None:
            nonlocal done
            advance(so_far - done)
            done = so_far

        with self._explained():
            self._transport.fs_writefile(path + _NEW, data, progress_callback=wrote)
        if self.checksum(path + _NEW) != sha256(data).hexdigest():
            raise CableError(f"{path} is not on the board as it was written: try again, with another cable perhaps")
        self.run(f"import os\nos.rename({path + _NEW!r}, {path!r})")

    def checksum(self, path: str) -> str:
        """Return the SHA-256 of a file, or ``""`` where there is none."""
        with self._explained():
            try:
                return str(self._transport.fs_hashfile(path, "sha256").hex())
            except FileNotFoundError:
                return ""

    def leave(self) -> None:
        """Go back to the ordinary prompt."""
        with contextlib.suppress(OSError):
            if self._transport.in_raw_repl:
                self._transport.exit_raw_repl()

    def restart(self) -> None:
        """Let the board start again, as after its reset button."""
        with self._explained():
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
            # There is no prompt any more that could be left.
            self._transport.in_raw_repl = False

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except TransportExecError as exc:
            raise _failure(str(exc.error_output)) from None
        except OSError as exc:
            if exc.errno == errno.ENOSPC:
                raise _full() from None
            raise PromptError(f"the board at {self.port} is gone: is its cable still plugged in?") from None
        except (TransportError, struct.error):
            raise PromptError(f"the board at {self.port} does not answer any more") from None


def _failure(traceback: str) -> CableError | RefusedError:
    lines = traceback.strip().splitlines() or [""]
    found = _FAILURE.fullmatch(lines[-1].strip())
    kind, text = (found[1], found[2] or "") if found else ("", lines[-1])
    if kind == "RefusedError":
        return RefusedError(f"the board refuses it: {text}")
    if kind == "OSError" and re.search(r"\b28\b|ENOSPC", text):
        return _full()
    if kind == "MemoryError":
        return CableError("the memory of the board does not suffice for it: has it a program of its own?")
    return CableError(f"the board fails with {kind or 'an error'}{': ' + text if text else ''}")


def _full() -> CableError:
    return CableError("the flash of the board is full: remove files from it ('make ls' in esp32/ shows them)")
