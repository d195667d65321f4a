"""What ``doctor`` says of servers that are set up to lose something."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.chaos.clocks import Clock, forget
from tests.cli.conftest import Type
from tests.ports import free_port
from tests.servers import Server, clients_of, cluster_of, serving


def risks(type_: Type) -> dict[str, str]:
    """Return what is said of keeping: the verdict, by the remedy."""
    return {one["fix"]: one["verdict"] for one in type_("doctor").json if one["check"] == "keeping"}


def test_doctor_is_silent_about_a_server_that_keeps_everything(type_: Type) -> None:
    assert risks(type_) == {}


def test_doctor_tells_of_secrets_that_others_may_read(type_: Type, home: Path) -> None:
    def told() -> list[str]:
        return [f"{one['found']}: {one['fix']}" for one in type_("doctor").json if one["check"] == "settings"]

    file = home / ".env"
    file.write_text("POLL_S=7\n")
    file.chmod(0o644)
    assert told() == []
    file.write_text("BOARD_TOKEN=s3cret\n")
    assert told() == [f"others on this machine may read BOARD_TOKEN in {file}: chmod 600 {file}"]
    file.chmod(0o600)
    assert told() == []


def test_doctor_tells_of_a_server_that_throws_keys_away_or_keeps_no_log(
    type_: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        assert risks(type_) == {
            "set maxmemory-policy noeviction": "bad",
            "set appendonly yes (docs/redis.md)": "note",
        }
        assert type_("doctor").code == 1
        with server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("appendonly", "yes")
        assert risks(type_) == {}


def test_doctor_tells_of_a_server_that_takes_writes_without_its_replicas(
    type_: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_for_a_replica(primary: Server) -> None:
        end_s = time.monotonic() + 20
        with primary.client() as client:
            while not client.info("replication")["connected_slaves"]:
                assert time.monotonic() < end_s, "the replica does not come"
                time.sleep(0.02)

    port = free_port()
    with (
        serving("--appendonly", "yes", port=port) as primary,
        serving("--replicaof", f"127.0.0.1 {port}", port=free_port()),
    ):
        monkeypatch.setenv("REDIS_URL", primary.url)
        wait_for_a_replica(primary)
        assert risks(type_) == {"set min-replicas-to-write 1 (docs/redis.md)": "note"}
        with primary.client() as client:
            client.config_set("min-replicas-to-write", 1)
        assert risks(type_) == {}


@pytest.mark.package("faketime")
def test_doctor_tells_of_servers_of_a_cluster_whose_clocks_differ(
    type_: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def told() -> list[tuple[str, str]]:
        found = [one for one in type_("doctor").json if one["check"] == "clock"]
        return [(one["verdict"], one["found"]) for one in found if "Cluster" in one["found"]]

    clock = Clock(tmp_path / "clock")
    with cluster_of(3, environs=[{}, {}, clock.environ]) as servers:
        monkeypatch.setenv("REDIS_URL", clients_of(servers))
        assert told() == []
        clock.set(-30.0)
        end_s = time.monotonic() + 20
        while not (found := told()):
            assert time.monotonic() < end_s, "the server does not look at its clock"
    forget(servers[2].process.pid)
    ((verdict, what),) = found
    assert verdict == "bad"
    assert re.fullmatch(r"the clocks of the servers of the Cluster are (29|30)\.\d s apart", what)
