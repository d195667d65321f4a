"""Each process of a fleet works under its own user of Redis, and can do no more than its own work there."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from websockets.sync.client import connect

from espfleet.domain.jobs import Job, JobKind
from espfleet.domain.rooms import new_room
from espfleet.services import jobs
from espfleet.store import events, levels, registry
from espfleet.store.binaries import find_server
from espfleet.store.client import open_store
from espfleet.store.feed import EventSent, Feed, Resync, Topic
from espfleet.store.keys import Keys
from espfleet.store.leases import Lease
from espfleet.store.registry import Change
from tests.ports import free_port
from tests.servers import clients_of, cluster_of, serving
from tests.whole.fleet import Fleet, wait_for

ACL = Path(__file__).parents[2] / "deploy/redis/users.acl"
USERS = ("prober", "leveler", "gateway", "steward", "web", "cli")
KEYS = Keys()


class Server:
    """A Redis with the users of the file, and a fleet that works there."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self.fleet = Fleet(folder)
        self.passwords = {user: secrets.token_urlsafe(16) for user in (*USERS, "root")}
        text = ACL.read_text()
        for user in USERS:
            digest = hashlib.sha256(self.passwords[user].encode()).hexdigest()
            text = text.replace(f"SHA256-OF-{user.upper()}", digest)
        assert "SHA256-OF-P" not in text
        # Only these tests have one who may do everything, to ask what was refused.
        (folder / "users.acl").write_text(f"{text}user root on >{self.passwords['root']} ~* &* +@all\n")
        words = [find_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        self._popen(stack, [*words, "--aclfile", str(folder / "users.acl")], dict(os.environ))
        self.root = self.client("root")
        stack.callback(self.root.close)
        wait_for(self._answers, 15, lambda: (folder / "log").read_text())

    def _answers(self) -> bool:
        try:
            return bool(self.root.ping())
        except redis.ConnectionError:
            return False

    def client(self, user: str) -> redis.Redis:
        return redis.Redis(port=self.port, username=user, password=self.passwords[user], socket_timeout=10)

    def environ(self, user: str) -> dict[str, str]:
        url = f"redis://{user}:{self.passwords[user]}@127.0.0.1:{self.port}/0"
        return {**self.fleet.environ, "REDIS_URL": url}

    def run(self, stack: ExitStack, worker: str, user: str | None = None) -> None:
        self._popen(stack, self.fleet.command("run", worker), self.environ(user or worker))

    def log(self) -> str:
        return (self.fleet.home / "log").read_text()

    def refused(self) -> list[str]:
        """Return what Redis refused."""
        return [str(entry) for entry in self.root.acl_log()]

    def _popen(self, stack: ExitStack, words: list[str], environ: dict[str, str]) -> None:
        log = stack.enter_context((self.fleet.home / "log").open("ab"))
        process = subprocess.Popen(words, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        stack.callback(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with ExitStack() as stack:
        started = Server(tmp_path, stack)
        started.fleet.environ = started.environ("cli")
        yield started


def test_every_process_does_its_work_under_its_own_user(server: Server) -> None:
    fleet = server.fleet
    with ExitStack() as stack:
        assert fleet.type("demo", "add").returncode == 0
        for worker in ("prober", "leveler", "gateway", "steward", "web"):
            server.run(stack, worker)
        server.run(stack, "lamps", "cli")
        wait_for(
            lambda: {row["presence"] for row in fleet.devices_by_web().values()} == {"live"},
            40,
            lambda: f"{server.refused()} {server.log()}",
        )
        wait_for(
            lambda: all(row["state"] == "ok" for row in fleet.levels().values()),
            20,
            lambda: f"{server.refused()} {server.log()}",
        )
        # One after the other: what people do, which each process has a part in.
        devices = fleet.devices()
        assert {row["presence"] for row in devices.values()} == {"live"}
        name = next(iter(devices))
        assert fleet.type("device", name, "identify").returncode == 0
        end_a_token_by_using_the_next(server)
        assert fleet.type("token", "laptop", "add").returncode == 0
        assert fleet.type("token", "laptop", "rotate").returncode == 0
        assert fleet.type("why", name).returncode == 0
        assert fleet.type("backup", str(fleet.home / "b")).returncode == 0
        assert fleet.type("restore", str(fleet.home / "b"), "--force").returncode == 0
        assert fleet.ask("events")
        wait_for(lambda: any(True for _ in server.root.scan_iter("*:history:*")), 30, lambda: str(server.refused()))
    assert server.refused() == []
    assert "does not allow" not in server.log()
    assert "Traceback" not in server.log()


def end_a_token_by_using_the_next(server: Server) -> None:
    """Rotate the token of a device, which the gateway finishes."""
    fleet, device_id = server.fleet, "3c71bff93720"
    fleet.ask("register", "192.0.2.7", "porch", "--id", device_id)
    token = fleet.ask("device", "porch", "rotate_token", "--show")["token"]

    def hashes() -> int:
        return len(json.loads(server.root.hget(KEYS.table("devices"), device_id) or b"{}")["token_hashes"])

    assert hashes() == 2
    with connect(f"ws://127.0.0.1:{fleet.port}/lamp", proxy=None) as lamp:
        lamp.send(json.dumps({"type": "hello", "protocol": 1, "id": device_id, "token": token}))
        assert json.loads(lamp.recv(10))["type"] == "welcome"
        wait_for(lambda: hashes() == 1, 15, lambda: f"{server.refused()} {server.log()[-2_000:]}")


FORBIDDEN: dict[str, list[tuple[str, ...]]] = {
    "prober": [("HSET", KEYS.table("devices"), "a", "{}"), ("HGETALL", KEYS.table("tokens")), ("GET", KEYS.levels(3)),
               ("SPUBLISH", "elsewhere", "x")],
    "leveler": [("HSET", KEYS.table("targets"), "a", "{}"), ("HGETALL", KEYS.table("tokens")),
                ("SET", KEYS.alive(3, "a"), "x"), ("SPUBLISH", KEYS.commands_channel(3), "x")],
    "gateway": [("HSET", KEYS.levels(3), "a", "x"), ("DEL", KEYS.owner("lead:sweep")),
                ("XADD", KEYS.samples(3), "*", "a", "b"), ("DEL", KEYS.owner("s3"))],
    "steward": [("XADD", KEYS.samples(3), "*", "a", "b"), ("HSET", KEYS.levels(3), "a", "x"),
                ("DEL", KEYS.owner("s3"))],
    "web": [("HSET", KEYS.levels(3), "a", "x"), ("XADD", KEYS.samples(3), "*", "a", "b"),
            ("DEL", KEYS.owner("lead:sweep"))],
    "cli": [("GET", "another:program")],
}  # fmt: skip
FOR_NOBODY: list[tuple[str, ...]] = [
    ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "requirepass"), ("CONFIG", "SET", "dir", "/tmp"), ("SHUTDOWN",),
    ("ACL", "LIST"), ("KEYS", "*"), ("MODULE", "LIST"), ("REPLICAOF", "127.0.0.1", "1"),
    ("SAVE",), ("MONITOR",), ("CLIENT", "KILL", "TYPE", "normal"), ("SCRIPT", "FLUSH"), ("GET", "another:program"),
]  # fmt: skip


def test_nobody_can_do_more_than_its_own_work(server: Server) -> None:
    for user in USERS:
        with server.client(user) as client:
            assert client.ping()
            for command in (*FOR_NOBODY, *FORBIDDEN[user]):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command)
    # Asking again and again would not make a friend of a stranger.
    with (
        redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        stranger.ping()


async def test_a_key_that_a_threshold_may_not_read_is_missing_and_ends_no_other_job(server: Server) -> None:
    job = Job(device_id="3c71bff93720", name="heat", pin=22, kind=JobKind.THRESHOLD, source="key:outside")
    server.root.set("outside", "19.5")
    url = server.environ("steward")["REDIS_URL"]
    async with open_store(url, name="steward") as store:
        current = await registry.load(store)
        assert "no fresh value" in (await jobs.judge(store, current, [job], 0))["heat"].why
        # As hardening.md says it.
        server.root.execute_command("ACL", "SETUSER", "steward", "%R~outside")
        assert await jobs.value_of(store, current, job, 0) == 19.5


@pytest.mark.package("redis-server")
@pytest.mark.parametrize("program", ["redis-server", None])
async def test_a_server_with_these_users_has_all_its_data_when_it_starts_again(
    program: str | None, tmp_path: Path
) -> None:
    # Redis 7.0 reads its log as the user 'default': what that one may not do is left out, without a word.
    users = tmp_path / "users.acl"
    users.write_text(ACL.read_text().replace("#SHA256-OF-CLI", f"#{hashlib.sha256(b'secret').hexdigest()}"))
    users.write_text(re.sub("#SHA256-OF-[A-Z]+ ", "", users.read_text()))
    options = ("--appendonly", "yes", "--appendfsync", "always", "--aclfile", str(users))
    with serving(*options, program=program and shutil.which(program), port=free_port()) as server:
        url = f"redis://cli:secret@127.0.0.1:{server.port}/0"
        async with open_store(url, name="test") as store:
            before = await registry.change(store, lambda _: [Change("rooms", "hall", new_room("hall").to_dict())])
        server.end()
        server.start()
        async with open_store(url, name="test") as store:
            assert await registry.load(store) == before


async def test_each_user_can_do_its_work_on_a_cluster_too() -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    with cluster_of(3) as servers, ExitStack() as stack:
        clients = [stack.enter_context(closing(redis.Redis(port=server.port))) for server in servers]
        for line in ACL.read_text().splitlines():
            if line.startswith("user ") and not line.startswith("user default"):
                rights = re.sub("SHA256-OF-[A-Z]+", digest, line).split()[1:]
                for client in clients:
                    client.execute_command("ACL", "SETUSER", *rights)
        url = clients_of(servers)
        async with open_store(url, name="test"), asyncio.timeout(60):
            for user in USERS:
                async with open_store(url.replace("://", f"://{user}:secret@"), name=user) as store:
                    if user == "leveler":
                        lease = await Lease.take(store, "s3", user, 60_000)
                        assert lease is not None
                        assert await levels.publish(store, 3, lease.fence, [], 1)
                    elif user != "prober":
                        async with Feed(store, [Topic.LEVELS, Topic.EVENTS]) as feed:
                            assert await anext(feed) == Resync()
                            await events.add(store, "hello", {})
                            assert isinstance(await anext(feed), EventSent)
        assert [client.acl_log() for client in clients] == [[], [], []]
