"""The dashboard's files: read and compressed once, served with a tag so that a browser asks and gets nothing twice."""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from espfleet.errors import StartError

FOLDER = Path(__file__).parent / "static"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
#: Inside the wheel of chartkick; nothing else of it is used.
_CHART = "django/static/chartkick/Chart.bundle.js"
CHART = "vendor/chart.js"
#: Nothing is taken from anywhere else, and nobody may frame the page.
POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent."""

    kind: str
    plain: bytes
    packed: bytes
    tag: str


def read_files() -> dict[str, File]:
    """Return all files of the dashboard, by path.

    Raises:
        StartError: If the wheel that carries Chart.js is not installed.
    """
    found = {
        path.relative_to(FOLDER).as_posix(): _file(path, _KINDS[path.suffix])
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file()
    }
    spec = importlib.util.find_spec("chartkick")
    if spec is None or spec.origin is None:
        raise StartError("Chart.js is missing: './espcli setup' installs the package that carries it")
    found[CHART] = _file(Path(spec.origin).parent / _CHART, _KINDS[".js"])
    return found


def _file(path: Path, kind: str) -> File:
    plain = path.read_bytes()
    tag = f'W/"{blake2b(plain, digest_size=9).hexdigest()}"'
    return File(kind, plain, gzip.compress(plain, 9, mtime=0), tag)


def serve(files: dict[str, File], path: str, request: Request) -> Response:
    """Return a file of the dashboard."""
    file = files.get(path or "index.html")
    if file is None:
        raise HTTPException(404, "there is no such page")
    headers = {**HEADERS, "ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if file.tag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.kind)
    return Response(file.plain, headers=headers, media_type=file.kind)
