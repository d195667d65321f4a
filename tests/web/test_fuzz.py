"""Whatever is sent to the API, it never fails by a defect: schemathesis makes it up from the OpenAPI page."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from espfleet.services import simulated
from espfleet.store.client import Store
from tests.web.serving import Web


@pytest.mark.timeout(300)
async def test_no_request_makes_a_5xx(store: Store, web: Web, tmp_path: Path) -> None:
    await simulated.add_demo(store)
    # It takes long to make, and schemathesis waits ten seconds.
    await web.get("/api/openapi.json")
    words = (
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{web.url}/api/openapi.json"),
        *("--checks", "not_a_server_error", "--phases", "examples,fuzzing", "--max-examples", "8", "--seed", "7"),
        # One never ends by itself, one asks whether the fleet is well, which this one is not.
        *("--exclude-path", "/api/live", "--exclude-path", "/readyz", "--request-timeout", "8"),
        *("--suppress-health-check", "all", "--no-color"),
    )
    running = await asyncio.create_subprocess_exec(
        *words,
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await running.communicate()
    said = out.decode(errors="replace")
    assert running.returncode == 0, said[-4_000:]
    assert re.search(r"[1-9]\d* passed", said) or "No issues found" in said, said[-2_000:]
