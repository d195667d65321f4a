"""A board on a cable: a real MicroPython behind a pseudo-terminal, which restarts as a board does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import termios
import threading
import tty
from pathlib import Path

from esp32 import build
from tests.firmware.boards import RESET, micropython

START = Path(__file__).parents[1] / "firmware" / "scripts" / "plugged.py"
FAKES = build.SOURCE / "fakes"
_RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"


class Cable:
    """A port with nothing behind it, or with something that is no MicroPython."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        #: What is there says this to whatever it hears.
        self.answers = b""
        self._host, self._port = pty.openpty()
        tty.setraw(self._port)
        os.set_blocking(self._host, False)
        # By a name of its own it is treated as a serial port is, and not as a pseudo-terminal.
        self.port = str(folder / "ttyUSB7")
        Path(self.port).symlink_to(os.ttyname(self._port))
        self._wake, self._end = os.pipe()
        self._thread = threading.Thread(target=self._relay, name="cable")
        self._thread.start()

    def close(self) -> None:
        os.close(self._end)
        self._thread.join()
        for one in (self._wake, self._host, self._port):
            os.close(one)

    def _relay(self) -> None:
        while True:
            ready, _, _ = select.select([self._wake, self._host, *self._others()], [], [])
            if self._wake in ready:
                return
            if self._host in ready:
                self._hear(os.read(self._host, 4_096))
            elif ready:
                self._pass_on()

    def _hear(self, data: bytes) -> None:
        self._say(self.answers)

    def _say(self, data: bytes) -> None:
        # What nobody reads is lost, as on a serial line.
        with contextlib.suppress(BlockingIOError):
            os.write(self._host, data)

    def _others(self) -> list[int]:
        return []

    def _pass_on(self) -> None: ...


class PluggedBoard(Cable):
    """A board with MicroPython.

    Args:
        folder: Keeps its files and its NVS.
        device_id: Its hardware id.
        flash_bytes: Size of a flash in memory, or 0 for the folder.
    """

    def __init__(self, folder: Path, device_id: str = "3c71bff93720", flash_bytes: int = 0) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "id").write_text(device_id)
        self.heard = bytearray()
        #: How often it started by its reset button, and at its prompt.
        self.resets = 0
        self.soft_resets = 0
        #: It loses its power when it has heard this.
        self.cut_at = b""
        self.powered = True
        self._flash_bytes = flash_bytes
        self._raw = False
        self._start(main=True)
        super().__init__(folder.with_name(folder.name + "-cable"))

    def close(self) -> None:
        super().close()
        if self.powered:
            self._process.kill()
            self._process.wait()
            os.close(self._board)

    def power_on(self) -> None:
        """Give it its power back."""
        self._raw = False
        self._start(main=True)
        self.powered = True

    @property
    def files(self) -> set[str]:
        own = {"id", "nvs", "cause", "rtc", "wifi"}
        # They are written beside, and renamed: it may do so at this moment.
        own |= {f"{name}.new" for name in own}
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()} - own

    def _start(self, main: bool) -> None:
        self._board, inner = pty.openpty()
        tty.setraw(inner)
        modes = termios.tcgetattr(inner)
        modes[3] |= termios.ISIG
        termios.tcsetattr(inner, termios.TCSANOW, modes)
        words = [str(micropython()), "-X", "heapsize=128wk", "-i", str(START), "main" if main else "boot"]
        self._process = subprocess.Popen(
            [*words, str(self._flash_bytes)],
            cwd=self.folder,
            env={"MICROPYPATH": f":{FAKES}:.frozen", "FAKE_WORLD": str(self.folder), "PATH": os.environ["PATH"]},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inner)

    def _others(self) -> list[int]:
        return [self._board] if self.powered else []

    def _pass_on(self) -> None:
        try:
            said = os.read(self._board, 4_096)
        except OSError:
            said = b""
        if said:
            self._say(said)
        else:
            self._restart()

    def _hear(self, data: bytes) -> None:
        self.heard += data
        if self.cut_at and self.cut_at in self.heard:
            self.cut_at = b""
            self.powered = False
            self._process.kill()
            self._process.wait()
            os.close(self._board)
        if not self.powered:
            return
        # The last of these decides: the raw prompt for programs, or the one for people.
        self._raw = data.rfind(b"\x01") > data.rfind(b"\x02") or (self._raw and b"\x02" not in data)
        with contextlib.suppress(OSError):
            os.write(self._board, data)

    def _restart(self) -> None:
        code = self._process.wait()
        os.close(self._board)
        if code in (RESET, -9):
            self.resets += 1
            self._raw = False
            self._start(main=True)
            return
        self.soft_resets += 1
        self._say(b"MPY: soft reboot\r\n")
        self._start(main=not self._raw)
        if self._raw:
            self._back_to_raw_prompt()

    def _back_to_raw_prompt(self) -> None:
        said = bytearray()
        asked = False
        while _RAW_PROMPT not in said:
            said += os.read(self._board, 4_096)
            if not asked and said.endswith(b">>> "):
                os.write(self._board, b"\x01")
                asked = True
        self._say(bytes(said[said.index(_RAW_PROMPT) :]))
