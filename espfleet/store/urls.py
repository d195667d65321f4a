"""What a Redis URL means: one server, a Sentinel's choice of servers, or a Cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from espfleet.domain.names import shown
from espfleet.errors import SettingsError

PORT = 6379
SENTINEL_PORT = 26379
FORMS = (
    "redis://[user:password@]host:6379/0, rediss://… for TLS, unix:///path/to.sock, "
    "redis+sentinel://host:26379,host:26379/name/0 or redis+cluster://host:6379,host:6379"
)
#: Options after ``?``; those of TLS take effect with ``rediss`` only.
_OPTIONS = frozenset(
    {
        "db",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_cert_reqs",
        "ssl_check_hostname",
        "sentinel_username",
        "sentinel_password",
    }
)


#: Host and port of one server of a Cluster.
Server = tuple[str, int]


class Shape(StrEnum):
    """How servers are arranged."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where Redis is.

    Attributes:
        shape: How the servers are arranged.
        label: The URL without user, password and options, for people.
        hosts: Host and port of each server named; empty for a unix socket.
        path: Path of a unix socket, or ``None``.
        service: Name that the Sentinels know the servers by.
        db: Number of the database; 0 on a Cluster.
        tls: Whether the connections are encrypted.
        login: ``username`` and ``password`` where given.
        sentinel_login: The same for the Sentinels themselves.
        tls_options: ``ssl_…`` options.
    """

    shape: Shape
    label: str
    hosts: tuple[Server, ...] = ()
    path: str | None = None
    service: str = ""
    db: int = 0
    tls: bool = False
    login: Mapping[str, str] = field(default_factory=dict, repr=False)
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls_options: Mapping[str, Any] = field(default_factory=dict)

    def at(self, server: Server) -> Location:
        """Return where one server of a Cluster is."""
        return replace(self, shape=Shape.SINGLE, hosts=(server,))


def parse_url(url: str) -> Location:
    """Return what a URL means.

    Raises:
        SettingsError: If it has none of the known forms; the text shows no user or password.
    """
    try:
        parts = urlsplit(url.strip())
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if set(options) - _OPTIONS:
            raise _bad(f"it has an unknown option {shown(min(set(options) - _OPTIONS))}")
        return _location(parts, options)
    except ValueError:
        raise _bad("") from None


def _location(parts: SplitResult, options: Mapping[str, str]) -> Location:
    scheme, _, arrangement = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss", "unix") or arrangement not in ("", "sentinel", "cluster"):
        raise _bad("")
    login, _, hosts_text = parts.netloc.rpartition("@")
    common: dict[str, Any] = {
        "login": _login(login),
        "tls": scheme == "rediss",
        "tls_options": {name: _tls_value(value) for name, value in options.items() if name.startswith("ssl_")},
    }
    if scheme == "unix":
        path = unquote(parts.path)
        if arrangement or hosts_text or not path.startswith("/") or path == "/":
            raise _bad("a unix socket needs its full path: unix:///path/to.sock")
        return Location(
            shape=Shape.SINGLE, label=f"unix://{path}", path=path, db=_number(options.get("db", "0")), **common
        )
    label = f"{parts.scheme}://{hosts_text}{parts.path}"
    path_parts = [part for part in parts.path.split("/") if part]
    if arrangement == "sentinel":
        if not 1 <= len(path_parts) <= 2:
            raise _bad("a Sentinel URL needs the name of its master: redis+sentinel://host:26379/name/0")
        return Location(
            shape=Shape.SENTINEL,
            label=label,
            hosts=_hosts(hosts_text, SENTINEL_PORT),
            service=unquote(path_parts[0]),
            db=_number(path_parts[1] if len(path_parts) == 2 else options.get("db", "0")),
            sentinel_login={
                name.removeprefix("sentinel_"): value for name, value in options.items() if name.startswith("sentinel_")
            },
            **common,
        )
    db = _number(path_parts[0] if path_parts else options.get("db", "0"))
    hosts = _hosts(hosts_text, PORT)
    if len(path_parts) > 1 or (arrangement == "" and len(hosts) > 1):
        raise _bad("")
    if arrangement == "cluster":
        if db:
            raise _bad("a Cluster has database 0 only")
        return Location(shape=Shape.CLUSTER, label=label, hosts=hosts, **common)
    return Location(shape=Shape.SINGLE, label=label, hosts=hosts, db=db, **common)


def _login(text: str) -> dict[str, str]:
    user, _, password = text.partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in found.items() if value}


def _hosts(text: str, default_port: int) -> tuple[Server, ...]:
    hosts = []
    for part in text.split(","):
        # urlsplit knows brackets around IPv6 addresses, and refuses ports that are none.
        one = urlsplit(f"//{part}")
        hosts.append((one.hostname or "localhost", default_port if one.port is None else one.port))
    return tuple(hosts)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _bad("its database must be a number")
    return int(text)


def _tls_value(value: str) -> str | bool:
    return {"true": True, "false": False}.get(value.lower(), value)


def _bad(why: str) -> SettingsError:
    # The URL itself may hold a password, perhaps just because it is malformed.
    return SettingsError(f"the Redis URL cannot be used{': ' + why if why else ''}; write {FORMS}", field="REDIS_URL")
