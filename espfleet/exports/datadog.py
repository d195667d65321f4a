"""Datadog's HTTP API for metrics, version 2."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from espfleet.errors import ExportError

TIMEOUT_S = 10.0
ACCEPTED = 202
LONGEST_WAIT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Datadog:
    """Where series go.

    Attributes:
        url: Such as ``https://api.datadoghq.com``.
        api_key: Who sends.
        timeout_s: For connecting, and for each part of the answer.
    """

    url: str
    api_key: str = field(repr=False)
    timeout_s: float = TIMEOUT_S

    def post(self, series: Sequence[Mapping[str, Any]]) -> None:
        """Send series; blocks.

        Raises:
            ExportError: If they are not accepted; it carries the status, 0 if there was none, and when to try again.
        """
        body = gzip.compress(json.dumps({"series": series}, separators=(",", ":")).encode(), compresslevel=1)
        headers = {"DD-API-KEY": self.api_key, "Content-Type": "application/json", "Content-Encoding": "gzip"}
        try:
            with requests.post(
                f"{self.url}/api/v2/series",
                data=body,
                headers=headers,
                timeout=self.timeout_s,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
                wait_s = _wait_s(answer.headers)
        except (requests.RequestException, OSError) as exc:
            # Its text may hold the URL, never the key.
            raise ExportError(f"{self.url} does not take metrics: {type(exc).__name__}") from exc
        if status != ACCEPTED:
            raise ExportError(f"{self.url} answers with HTTP {status}", status=status, retry_after_s=wait_s)


def _wait_s(headers: Mapping[str, str]) -> float | None:
    for name in ("Retry-After", "X-RateLimit-Reset"):
        text = headers.get(name, "")
        if text.isascii() and text.isdigit():
            return min(float(text), LONGEST_WAIT_S)
    return None
