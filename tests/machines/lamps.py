"""A lamp that runs on a machine of a test, and what it was told."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.machines.hosts import Host

#: What it does, with nothing but the library: say hello, write down what comes, say that it lives.
_PROGRAM = """
import json, sys, time
from websockets.sync.client import connect
url, hello, log = sys.argv[1:]
sys.stdout = open(log, "a", buffering=1)
while True:
    try:
        with connect(url, proxy=None, open_timeout=2, close_timeout=1, ping_interval=1, ping_timeout=2) as socket:
            socket.send(hello)
            told_s = 0
            while True:
                message = json.loads(socket.recv(timeout=3))
                print(json.dumps(message), flush=True)
                if time.monotonic() - told_s > 0.5:
                    told_s = time.monotonic()
                    socket.send('{"type":"keepalive"}')
    except Exception as exc:
        print(json.dumps({"type": "gone", "why": repr(exc)}), flush=True)
        time.sleep(0.3)
"""


class Lamp:
    """A lamp on a machine."""

    def __init__(self, host: Host, url: str, device_id: str, token: str) -> None:
        self._log = host.folder / f"lamp-{device_id}.log"
        hello = {"type": "hello", "protocol": 1, "id": device_id, "token": token}
        host.run(sys.executable, "-c", _PROGRAM, url, json.dumps(hello), str(self._log))

    def all_told(self) -> list[dict[str, Any]]:
        """Return all that it was told, and when it lost its connection."""
        lines = self._log.read_text().splitlines(keepends=True) if self._log.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def told(self) -> dict[str, Any]:
        """Return the last thing that it was told."""
        return (self.all_told() or [{}])[-1]
