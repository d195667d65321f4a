"""What Redis URLs mean."""

from __future__ import annotations

import pytest

from espfleet.errors import SettingsError
from espfleet.store.urls import Shape, parse_url


def test_one_server() -> None:
    found = parse_url("redis://ann:s%40cret@redis.lan:6380/2")
    assert (found.shape, found.hosts, found.db, found.tls) == (Shape.SINGLE, (("redis.lan", 6380),), 2, False)
    assert found.login == {"username": "ann", "password": "s@cret"}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("redis://", ("localhost", 6379)),
        ("redis://10.0.0.1", ("10.0.0.1", 6379)),
        ("redis://[2001:db8::1]:7000/0", ("2001:db8::1", 7000)),
        ("redis://:secret@10.0.0.1", ("10.0.0.1", 6379)),
        (" redis://10.0.0.1/ ", ("10.0.0.1", 6379)),
    ],
)
def test_hosts_and_ports(url: str, host: tuple[str, int]) -> None:
    assert parse_url(url).hosts == (host,)


def test_an_encrypted_one() -> None:
    found = parse_url("rediss://redis.lan:6380/0?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false")
    assert found.tls
    assert found.tls_options == {"ssl_ca_certs": "/etc/ca.pem", "ssl_check_hostname": False}


def test_a_unix_socket() -> None:
    found = parse_url("unix://:secret@/var/run/my%20redis.sock?db=3")
    assert (found.path, found.db, found.login) == ("/var/run/my redis.sock", 3, {"password": "secret"})
    assert found.label == "unix:///var/run/my redis.sock"


def test_sentinels() -> None:
    found = parse_url("redis+sentinel://ann:secret@h1:26380,h2,[::1]:26382/fleet/1?sentinel_password=other")
    assert found.shape is Shape.SENTINEL
    assert found.hosts == (("h1", 26380), ("h2", 26379), ("::1", 26382))
    assert (found.service, found.db) == ("fleet", 1)
    assert found.login == {"username": "ann", "password": "secret"}
    assert found.sentinel_login == {"password": "other"}


def test_a_cluster() -> None:
    found = parse_url("rediss+cluster://h1:6380,h2")
    assert (found.shape, found.tls, found.hosts) == (Shape.CLUSTER, True, (("h1", 6380), ("h2", 6379)))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://secret@localhost",
        "redis+ring://secret@h1",
        "redis://h1,h2",
        "redis://h1:port",
        "redis://h1:70000",
        "redis://h1/one",
        "redis://h1/0/1",
        "redis://h1?secret=1",
        "redis://h1?secret",
        "redis://[::1",
        "unix://",
        "unix://secret",
        "unix+cluster:///secret",
        "redis+sentinel://h1",
        "redis+sentinel://h1/a/b/c",
        "redis+cluster://h1/1",
    ],
)
def test_others_are_refused_in_one_sentence_without_secrets(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^the Redis URL cannot be used[^\n]*; write redis://\[user") as told:
        parse_url(url)
    assert "secret" not in str(told.value).replace("option 'secret'", "")
    assert told.value.__cause__ is None
    assert told.value.field == "REDIS_URL"


def test_no_password_is_shown() -> None:
    for url in (
        "redis://ann:secret@h",
        "unix://:secret@/s.sock",
        "redis+sentinel://:secret@h/fleet?sentinel_password=secret",
        "redis+cluster://:secret@h",
    ):
        assert "secret" not in repr(parse_url(url))
