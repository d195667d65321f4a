"""Commands that say whether espfleet can work here: ``doctor`` and ``settings``."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from espfleet.cli import output
from espfleet.cli.encryption import folder_of, is_open, now
from espfleet.cli.opening import fleet, fleet_url, home
from espfleet.cli.opening import settings as read
from espfleet.errors import FleetError, StartError, StoreError
from espfleet.probes.permission import find_out
from espfleet.probes.wire import Family
from espfleet.settings import Settings, sources
from espfleet.store import workers
from espfleet.store.servers import Keeping, apart_ms, keeping

#: An embedded Redis wants some room for its log.
LEAST_FREE_BYTES = 200 * 2**20
#: Two machines of a fleet may differ by so much; levels are judged by the clock of Redis.
CLOCK_MS = 2_000
ROLES = ("prober", "leveler", "gateway", "steward", "web")


class Verdict(StrEnum):
    """Outcome of a check."""

    FINE = "fine"
    NOTE = "note"
    BAD = "bad"


STYLES = {Verdict.FINE: "green", Verdict.NOTE: "yellow", Verdict.BAD: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and how to mend it."""

    check: str
    verdict: Verdict
    found: str
    fix: str = ""


def settings() -> None:
    """List every setting with its value and source."""
    found = sources(os.environ, home())
    output.show(
        [asdict(source) for source in found],
        lambda: output.table(
            ("setting", "value", "from", "meaning"),
            [(one.name, one.value or "–", one.source, one.about) for one in found],
            "",
            folded=("value", "meaning"),
        ),
    )


def doctor() -> None:
    """Check what espfleet needs; leave with 1 if something is bad."""
    given = read()
    findings = [*_disk(given), *_settings_file(), *_icmp(), *_port(given), *_certificates(given), *_redis(given)]

    def page() -> object:
        from rich.text import Text

        rows = [(one.check, Text(one.verdict.value, style=STYLES[one.verdict]), one.found, one.fix) for one in findings]
        return output.table(("check", "verdict", "found", "what to do"), rows, "", folded=("found", "what to do"))

    output.show([asdict(one) for one in findings], page)  # type: ignore[arg-type]
    if any(one.verdict is Verdict.BAD for one in findings):
        raise SystemExit(1)


def _disk(given: Settings) -> Iterator[Finding]:
    folder = given.data
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    if given.redis_url is None and not os.access(folder, os.W_OK):
        yield Finding("disk", Verdict.BAD, f"{folder} is read-only", "set ESPFLEET_DATA to a folder you may write to")
    elif given.redis_url is None and free_bytes < LEAST_FREE_BYTES:
        yield Finding("disk", Verdict.BAD, f"{free_bytes >> 20} MiB are free in {folder}", "make room, 200 MiB or more")
    else:
        yield Finding("disk", Verdict.FINE, f"{free_bytes >> 20} MiB are free in {folder}")


def _settings_file() -> Iterator[Finding]:
    path = home() / ".env"
    masked = [one.name for one in sources(os.environ, home()) if one.source.startswith(".env") and "…" in one.value]
    if masked and path.stat().st_mode & 0o077:
        found = f"others on this machine may read {', '.join(masked)} in {path}"
        yield Finding("settings", Verdict.NOTE, found, f"chmod 600 {path}")


def _icmp() -> Iterator[Finding]:
    permission = find_out()
    for family in Family:
        name = f"ICMP over {family.spoken}"
        if family in permission.icmp:
            yield Finding(name, Verdict.FINE, f"permitted, by {permission.icmp[family].value} socket")
        elif family is Family.V4:
            yield Finding(name, Verdict.BAD, permission.why_not(family), "one of these, or measure tcp:// targets")
        else:
            yield Finding(
                name, Verdict.NOTE, permission.why_not(family), "matters for targets with IPv6 addresses only"
            )


def _port(given: Settings) -> Iterator[Finding]:
    where = f"{given.server_host}:{given.server_port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            given.server_host, given.server_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as exc:
        yield Finding(
            "gateway", Verdict.BAD, f"{where}: {exc.strerror}", "set SERVER_HOST to an address of this machine"
        )
        return
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as exc:
            yield Finding(
                "gateway", Verdict.NOTE, f"{where}: {exc.strerror}", "fine if it is the gateway of this fleet"
            )
            return
    yield Finding("gateway", Verdict.FINE, f"{where} is free")


def _certificates(given: Settings) -> Iterator[Finding]:
    exposed = [host for host in (given.server_host, given.web_host) if is_open(host)]
    if not given.tls:
        if exposed:
            fix = "set TLS=on; lamps need the fleet's certificate then (docs/security.md)"
            yield Finding("TLS", Verdict.NOTE, f"off, and {exposed[0]} is open to others: tokens can be read", fix)
        return
    if given.tls_cert is not None:
        yield _other_certificate(given.tls_cert, given.tls_key)
        return
    folder = folder_of(given)
    if not folder.exists:
        yield Finding("TLS", Verdict.FINE, "on; './espcli up' makes the certificates")
        return
    try:
        found = folder.read()
    except StartError as exc:
        yield Finding("TLS", Verdict.BAD, str(exc), "mend the file, or restore it from a backup of the data folder")
        return
    yield _lasting(found.days_left(now()), "on", "./espcli certs renew, or rotate")
    if found.rotating:
        fix = "./espcli certs rotate, then rotate --finish"
        yield Finding("TLS authorities", Verdict.NOTE, "two are trusted: a rotation is not finished", fix)


def _other_certificate(file: Path, key: Path | None) -> Finding:
    """Return what is to be said of a certificate that the fleet has not made."""
    from espfleet.certificates.contexts import ServerSide
    from espfleet.certificates.folder import validity_of

    try:
        ServerSide(file, key)
        begin, end = validity_of(file)
    except StartError as exc:
        return Finding("TLS", Verdict.BAD, str(exc), "set TLS_CERT, and TLS_KEY unless the key is in the same file")
    if begin > now():
        return Finding("TLS", Verdict.BAD, f"{file} is not valid before {begin:%Y-%m-%d}", "set the clock, or TLS_CERT")
    return _lasting((end - now()) // timedelta(days=1), f"on, with {file}", f"replace {file} by a newer one")


def _lasting(days: int, what: str, fix: str) -> Finding:
    from espfleet.certificates.folder import RENEW_DAYS

    if days < 0:
        return Finding("TLS", Verdict.BAD, f"the certificate ended {-days} days ago", fix)
    if days < RENEW_DAYS:
        return Finding("TLS", Verdict.NOTE, f"a certificate ends in {days} days", fix)
    return Finding("TLS", Verdict.FINE, f"{what}; valid for {days} days")


def _redis(given: Settings) -> Iterator[Finding]:
    try:
        with fleet_url(given) as url:
            yield from asyncio.run(_ask_redis(url, given))
    except FleetError as exc:
        yield Finding("Redis", Verdict.BAD, str(exc), "unset REDIS_URL for the embedded server, or mend what it says")


def _losses(role: str, infos: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield a note where samples never became part of a level: they were given up, or cut off before they were read."""
    figure, what, fix = {
        "prober": ("dropped", "samples given up while Redis was away", "fine after an outage; else look at Redis"),
        "leveler": ("gaps", "entries of samples cut off before they were read", "run more levelers, or on faster ones"),
    }.get(role, ("", "", ""))
    count = sum(int(info.get(figure, 0)) for info in infos)
    if count:
        yield Finding("samples", Verdict.NOTE, f"{count} {what}, since these workers began", fix)


def _risks(servers: Sequence[Keeping]) -> Iterator[Finding]:
    """Yield what the servers are set up to lose."""
    check, page = "keeping", "docs/redis.md"
    evicting = [server.evicts for server in servers if server.evicts]
    if evicting:
        what = f"Redis throws keys away when its memory is full ({evicting[0]}), which are locks, watchdogs, lamps"
        yield Finding(check, Verdict.BAD, what, "set maxmemory-policy noeviction")
    if not all(server.logs for server in servers):
        what = "Redis keeps no log: what changed since it saved last is lost when it dies"
        yield Finding(check, Verdict.NOTE, what, f"set appendonly yes ({page})")
    # In a Cluster a primary that is cut off stops by itself.
    if len(servers) == 1 and servers[0].replicas and not servers[0].guarded:
        what = "Redis has replicas, and takes writes without them: cut off from them it goes on, and those are lost"
        yield Finding(check, Verdict.NOTE, what, f"set min-replicas-to-write 1 ({page})")


async def _ask_redis(url: str, given: Settings) -> list[Finding]:
    found = []
    async with fleet(url, given, "doctor") as store:
        began_s = time.perf_counter()
        theirs_ms = await store.time_ms()
        took_ms = (time.perf_counter() - began_s) * 1_000
        ours_ms = time.time_ns() // 1_000_000
        found.append(Finding("Redis", Verdict.FINE, f"{store.url} answers in {took_ms:.1f} ms"))
        off_ms = abs(ours_ms - theirs_ms)
        if off_ms > CLOCK_MS:
            fix = "set both by NTP: certificates and logs go by the clock of this machine"
            found.append(Finding("clock", Verdict.NOTE, f"{off_ms / 1_000:.1f} s from the clock of Redis", fix))
        else:
            found.append(Finding("clock", Verdict.FINE, f"{off_ms} ms from the clock of Redis"))
        servers_ms = await apart_ms(store)
        if servers_ms > CLOCK_MS:
            what = f"the clocks of the servers of the Cluster are {servers_ms / 1_000:.1f} s apart"
            fix = "set all by NTP: history has gaps, and ages are wrong, where a server has another time"
            found.append(Finding("clock", Verdict.BAD, what, fix))
        found += _risks(await keeping(store))
        try:
            for role in ROLES:
                running = await workers.alive(store, role)
                if running:
                    found.append(Finding(role, Verdict.FINE, f"{len(running)} running"))
                    found += _losses(role, running.values())
                else:
                    found.append(Finding(role, Verdict.NOTE, "none is running", f"./espcli up, or ./espcli run {role}"))
        except StoreError as exc:
            found.append(Finding("workers", Verdict.BAD, str(exc)))
    return found
