"""Settings: read once, at the entry, from the environment and from ``.env``; the environment wins."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dotenv.parser import parse_stream

from espfleet.domain.groups import DEFAULT_PRESET, PRESETS
from espfleet.domain.names import check_number, check_whole, nearest, shown
from espfleet.errors import InvalidError, SettingsError
from espfleet.logs import LEVELS

Read = Callable[[str, str], Any]
_ON = ("on", "true", "yes", "1")
_OFF = ("off", "false", "no", "0", "")


def _text(_name: str, value: str) -> str:
    if not value.isprintable():
        raise InvalidError("it holds control characters")
    return value


def _optional(name: str, value: str) -> str | None:
    return _text(name, value) or None


def _folder(_name: str, value: str) -> Path:
    return Path(_text(_name, value)).expanduser()


def _file(name: str, value: str) -> Path | None:
    return _folder(name, value) if value else None


def _on_off(_name: str, value: str) -> bool:
    if value.casefold() not in _ON + _OFF:
        raise InvalidError(f"it must be on or off, not {shown(value)}")
    return value.casefold() in _ON


def _whole(low: int, high: int, unit: str = "") -> Read:
    return lambda name, value: check_whole(value, name, low, high, unit)


def _number(low: float, high: float, unit: str) -> Read:
    return lambda name, value: check_number(value, name, low, high, unit)


def _networks(_name: str, value: str) -> str:
    given = [one.strip() for one in value.split(",")] if value else []
    for one in given:
        try:
            ipaddress.ip_network(one)
        except ValueError:
            raise InvalidError(f"it must be addresses or networks such as 192.0.2.0/24, not {shown(one)}") from None
    return ",".join(given)


def _one_of(*words: str) -> Read:
    def read(_name: str, value: str) -> str:
        found = {word.casefold(): word for word in words}.get(value.casefold())
        if found is None:
            raise InvalidError(f"it must be one of {', '.join(words)}, not {shown(value)}")
        return found

    return read


def _setting(name: str, default: Any, read: Read, about: str, *, secret: bool = False) -> Any:
    return field(
        default=default, repr=not secret, metadata={"name": name, "read": read, "about": about, "secret": secret}
    )


PORT = (1, 65_535)
PERIOD_MS = (50, 60_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set from outside; the metadata of each field names its variable."""

    redis_url: str | None = _setting(
        "REDIS_URL", None, _optional, "Redis to use instead of the embedded one", secret=True
    )
    data: Path = _setting("ESPFLEET_DATA", Path(".espfleet"), _folder, "folder of the embedded Redis")
    server_host: str = _setting("SERVER_HOST", "127.0.0.1", _text, "address the gateway listens on")
    server_port: int = _setting("SERVER_PORT", 5678, _whole(*PORT), "port of the gateway")
    web_host: str = _setting("WEB_HOST", "127.0.0.1", _text, "address the web server listens on")
    web_port: int = _setting("WEB_PORT", 8000, _whole(*PORT), "port of the web server")
    tls: bool = _setting(
        "TLS",
        False,
        _on_off,
        "whether gateway and web speak TLS only: wss and https; with certificates of the fleet's own",
    )
    tls_cert: Path | None = _setting(
        "TLS_CERT", None, _file, "certificate of the servers, PEM, instead of the fleet's own; with those between"
    )
    tls_key: Path | None = _setting("TLS_KEY", None, _file, "its key, PEM; empty where it is in the same file")
    log_level: str = _setting("LOG_LEVEL", "INFO", _one_of(*LEVELS), "how much is logged")
    keepalive_ms: int = _setting("KEEPALIVE_MS", 1_000, _whole(*PERIOD_MS, "ms"), "time between keepalives of a lamp")
    watchdog_ms: int = _setting(
        "WATCHDOG_MS", 3_000, _whole(150, 600_000, "ms"), "silence after which a lamp is offline"
    )
    period_ms: int = _setting("PERIOD_MS", 500, _whole(*PERIOD_MS, "ms"), "longest time between two levels to a lamp")
    lease_ms: int = _setting("LEASE_MS", 1_500, _whole(100, 600_000, "ms"), "how long a lamp may show a level")
    pinglamp_tick_ms: int = _setting(
        "PINGLAMP_TICK_MS", 50, _whole(10, 1_000, "ms"), "time between two levels to a PING_LAMP client"
    )
    relay_ping_ms: int = _setting(
        "RELAY_PING_MS", 10_000, _whole(100, 600_000, "ms"), "silence after which a relay client is asked if it lives"
    )
    gateway_connections: int = _setting(
        "GATEWAY_CONNECTIONS", 50_000, _whole(1, 1_000_000), "connections that a gateway takes"
    )
    gateway_connections_per_source: int = _setting(
        "GATEWAY_CONNECTIONS_PER_SOURCE", 20_000, _whole(1, 1_000_000), "those of them from one address"
    )
    gateway_guests: int = _setting(
        "GATEWAY_GUESTS", 16_384, _whole(1, 1_000_000), "those that have not said yet who they are"
    )
    gateway_guests_per_source: int = _setting(
        "GATEWAY_GUESTS_PER_SOURCE", 8_192, _whole(1, 1_000_000), "those of them from one address"
    )
    gateway_handshakes: int = _setting(
        "GATEWAY_HANDSHAKES", 512, _whole(1, 100_000), "TLS handshakes at once; others wait, and addresses take turns"
    )
    gateway_handshake_ms: int = _setting(
        "GATEWAY_HANDSHAKE_MS", 10_000, _whole(100, 600_000, "ms"), "longest time of a handshake"
    )
    gateway_connects_per_s: int = _setting(
        "GATEWAY_CONNECTS_PER_S", 2_000, _whole(1, 100_000), "clients let in within a second; others return later"
    )
    gateway_viewers: int = _setting("GATEWAY_VIEWERS", 500, _whole(1, 100_000), "viewers of a gateway")
    gateway_messages_per_s: int = _setting(
        "GATEWAY_MESSAGES_PER_S", 200, _whole(1, 100_000), "messages of one client in a second"
    )
    gateway_bytes_per_s: int = _setting(
        "GATEWAY_BYTES_PER_S", 262_144, _whole(4_096, 2**30), "bytes of one client in a second"
    )
    gateway_picture_bytes_per_s: int = _setting(
        "GATEWAY_PICTURE_BYTES_PER_S", 2**24, _whole(4_096, 2**32), "bytes of one camera in a second"
    )
    gateway_waiting_bytes: int = _setting(
        "GATEWAY_WAITING_BYTES", 2**22, _whole(65_536, 2**30), "what may wait for one client that reads slowly"
    )
    gateway_blocked_ms: int = _setting(
        "GATEWAY_BLOCKED_MS", 10_000, _whole(100, 600_000, "ms"), "how long a client may read nothing"
    )
    web_connections: int = _setting(
        "WEB_CONNECTIONS", 2_500, _whole(1, 1_000_000), "connections that a web server takes"
    )
    web_connections_per_source: int = _setting(
        "WEB_CONNECTIONS_PER_SOURCE", 1_000, _whole(1, 1_000_000), "those of them from one address"
    )
    web_requests_per_s: int = _setting(
        "WEB_REQUESTS_PER_S", 200, _whole(1, 100_000), "requests from one address in a second; more are told to wait"
    )
    web_requests_at_once: int = _setting(
        "WEB_REQUESTS_AT_ONCE", 1_000, _whole(1, 1_000_000), "those that may come at once after some quiet"
    )
    web_proxies: str = _setting(
        "WEB_PROXIES", "", _networks, "addresses of proxies whose X-Forwarded-For is believed, with commas"
    )
    web_readers: int = _setting("WEB_READERS", 2_000, _whole(1, 1_000_000), "those who follow its live feed")
    web_video_readers: int = _setting("WEB_VIDEO_READERS", 200, _whole(1, 100_000), "those who look at a camera")
    web_handshakes: int = _setting(
        "WEB_HANDSHAKES", 128, _whole(1, 100_000), "TLS handshakes at once; others wait, and addresses take turns"
    )
    web_handshake_ms: int = _setting(
        "WEB_HANDSHAKE_MS", 10_000, _whole(100, 600_000, "ms"), "longest time of a handshake"
    )
    web_head_ms: int = _setting(
        "WEB_HEAD_MS", 10_000, _whole(100, 600_000, "ms"), "longest wait for a request, and time for its head"
    )
    web_body_ms: int = _setting(
        "WEB_BODY_MS", 20_000, _whole(100, 600_000, "ms"), "time for the body of a request; devices have half of it"
    )
    web_body_bytes: int = _setting(
        "WEB_BODY_BYTES", 65_536, _whole(4_096, 2**26), "bytes of it; what devices post has limits of its own"
    )
    web_blocked_ms: int = _setting(
        "WEB_BLOCKED_MS", 5_000, _whole(100, 600_000, "ms"), "how long a reader may read nothing"
    )
    shards: int = _setting("ESPFLEET_SHARDS", 4, _whole(1, 64), "streams of samples; fixed when a fleet is new")
    flush_ms: int = _setting("FLUSH_MS", 50, _whole(5, 1_000, "ms"), "longest time a sample waits in a prober")
    resolve_s: float = _setting("RESOLVE_S", 60.0, _number(1, 86_400, "s"), "time between look-ups of a name")
    poll_s: float = _setting("POLL_S", 5.0, _number(0.5, 3_600, "s"), "time between two visits to a board")
    board_token: str | None = _setting(
        "BOARD_TOKEN", None, _optional, "token that boards without one of their own want to see", secret=True
    )
    datadog_api_key: str | None = _setting(
        "DATADOG_API_KEY", None, _optional, "key of Datadog; with it metrics are sent there", secret=True
    )
    datadog_app_key: str | None = _setting(
        "DATADOG_APP_KEY", None, _optional, "not needed; EspNet's settings may hold it", secret=True
    )
    datadog_url: str = _setting(
        "DATADOG_URL", "https://api.datadoghq.com", _text, "site of Datadog that metrics are sent to"
    )
    prometheus_host: str = _setting("PROMETHEUS_HOST", "127.0.0.1", _text, "address of the steward's /metrics")
    prometheus_port: int = _setting(
        "PROMETHEUS_PORT", 0, _whole(0, 65_535), "port of the steward's /metrics; 0 for none"
    )
    dogstatsd_host: str = _setting("DOGSTATSD_HOST", "127.0.0.1", _text, "address of an agent of Datadog")
    dogstatsd_port: int = _setting(
        "DOGSTATSD_PORT", 0, _whole(0, 65_535), "port on which that takes DogStatsD, often 8125; 0 for none"
    )
    short_window_s: float = _setting("SHORT_WINDOW_S", 3.0, _number(0.1, 60, "s"), "window of the present latency")
    long_window_s: float = _setting(
        "LONG_WINDOW_S", 180.0, _number(10, 3_600, "s"), "window of the usual latency and of the baseline for jumps"
    )
    loss_window_s: float = _setting("LOSS_WINDOW_S", 60.0, _number(5, 3_600, "s"), "window of the loss")
    clear_after_s: float = _setting(
        "CLEAR_AFTER_S", 5.0, _number(0, 3_600, "s"), "how long a level must be low before its colour gets better"
    )
    preset: str = _setting("PRESET", DEFAULT_PRESET, _one_of(*PRESETS), "thresholds of new groups")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the value of a setting comes from."""

    name: str
    value: str
    source: str
    about: str


#: Settings that other parts of a fleet's ``.env`` may hold.
_KNOWN_ELSEWHERE = re.compile(r"PING_TARGET_\d+_(HOST|INTERVAL_S)")
_OWN = "ESPFLEET_"
#: Set by ``./espcli`` and the tests, not by people.
_INTERNAL = frozenset({"ESPFLEET_HOME", "ESPFLEET_SUPERVISED", "ESPFLEET_TEST_REDIS_URL"})


def names() -> list[str]:
    """Return the names of all settings, in the order in which they are shown."""
    return [item.metadata["name"] for item in fields(Settings)]


def read_settings(environ: Mapping[str, str], home: Path) -> Settings:
    """Return the settings of this process.

    Args:
        environ: The environment.
        home: Folder that holds ``.env``; a relative ``ESPFLEET_DATA`` starts there.

    Raises:
        SettingsError: If one is unknown or bad; the text names it, and its line in ``.env``.
    """
    values, _ = _read(environ, home)
    return Settings(**values)


def sources(environ: Mapping[str, str], home: Path) -> list[Source]:
    """Return each setting with its value and source; secrets are masked.

    Raises:
        SettingsError: As ``read_settings``.
    """
    values, origins = _read(environ, home)
    found = []
    for item in fields(Settings):
        name, value = item.metadata["name"], values.get(item.name, item.default)
        text = "" if value is None else ("off", "on")[value] if isinstance(value, bool) else str(value)
        found.append(
            Source(
                name,
                _masked(text) if item.metadata["secret"] else text,
                origins.get(name, "default"),
                item.metadata["about"],
            )
        )
    return found


def _masked(url: str) -> str:
    """Return a URL without the password in it, and nothing at all of a secret that is no URL."""
    if url and "://" not in url:
        return "…"
    scheme, _, rest = url.partition("://")
    # A password may hold any sign, also another @.
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    place = re.sub(r"(?<=password=)[^&#]*", "…", place)
    return f"{scheme}://{user if colon else ''}{colon}{'…' if at else ''}{at}{place}"


def _read(environ: Mapping[str, str], home: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values by field name, and the source of each that is not a default by setting name."""
    found = _read_file(home / ".env")
    for name, value in environ.items():
        if name in names():
            found[name] = (value, "environment")
        elif name.startswith(_OWN) and name not in _INTERNAL:
            raise _unknown(name, "the environment")
    values: dict[str, Any] = {}
    for item in fields(Settings):
        name = item.metadata["name"]
        if name in found:
            text, source = found[name]
            values[item.name] = _value(name, text, source, item.metadata["read"])
    data = values.get("data", Settings().data)
    values["data"] = home / data
    for file in ("tls_cert", "tls_key"):
        values[file] = home / values[file] if values.get(file) else None
    _check_together(values)
    return values, {name: source for name, (_, source) in found.items()}


def _read_file(path: Path) -> dict[str, tuple[str, str]]:
    """Return value and source by name of a ``.env`` file; an absent one is empty."""
    found: dict[str, tuple[str, str]] = {}
    try:
        stream = path.open(encoding="utf-8")
    except FileNotFoundError:
        return found
    except OSError as exc:
        raise SettingsError(f"{path} cannot be read: {exc.strerror}") from exc
    with stream:
        try:
            bindings = list(parse_stream(stream))
        except UnicodeDecodeError:
            raise SettingsError(f"{path} is not a text file") from None
    for binding in bindings:
        # A binding begins with the empty lines before it.
        text = binding.original.string
        line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        where = f".env line {line}"
        if binding.error:
            # What stands there is not repeated: it may be half of a secret.
            raise SettingsError(f"{where} is not of the form NAME=value")
        if binding.key is None:
            continue
        if _KNOWN_ELSEWHERE.fullmatch(binding.key):
            raise SettingsError(
                f"{where}: {binding.key} is a setting of PING_LAMP; './espcli import env FILE' makes targets of them"
            )
        if binding.key not in names():
            raise _unknown(binding.key, where)
        found[binding.key] = (binding.value or "", where)
    return found


def _unknown(name: str, where: str) -> SettingsError:
    close = nearest(name, names())
    hint = f"did you mean {close[0]}?" if close else "'./espcli settings' lists those there are"
    return SettingsError(f"{where}: there is no setting {shown(name)}; {hint}", field=name)


def _value(name: str, text: str, source: str, read: Read) -> Any:
    try:
        return read(name, text.strip())
    except InvalidError as exc:
        raise SettingsError(f"{source}: {name} cannot be used: {exc}", field=name) from exc


_ORDER: Mapping[str, str] = MappingProxyType({"keepalive_ms": "watchdog_ms", "period_ms": "lease_ms"})


def _check_together(values: Mapping[str, Any]) -> None:
    """Refuse values that are each fine but contradict each other."""
    settings = Settings(**values)
    if settings.tls_key and not settings.tls_cert:
        raise SettingsError("TLS_KEY is set and TLS_CERT is not: set both, or none for the fleet's own certificate")
    for small, large in _ORDER.items():
        if getattr(settings, small) * 1.5 > getattr(settings, large):
            raise SettingsError(
                f"{large.upper()} ({getattr(settings, large)}) must be at least 1.5 × {small.upper()} "
                f"({getattr(settings, small)}), or lamps would flicker between live and late"
            )
