"""A whole fleet in processes of its own, behind proxies, with lamps and a board in this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import IO
from urllib.parse import unquote, urlsplit

from redis.exceptions import RedisError

from espfleet.domain.devices import Device, Kind
from espfleet.domain.jobs import DAY_S, Job, JobKind
from espfleet.domain.rooms import Room
from espfleet.domain.tokens import hash_token, new_token
from espfleet.errors import StoreError
from espfleet.services import devices, groups, jobs, targets
from espfleet.simulator.boards import BoardSimulator, SimulatedBoard, new_boards
from espfleet.simulator.fleet import Simulator
from espfleet.simulator.specs import new_lamps
from espfleet.store import registry
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server, revive
from espfleet.store.registry import Change
from tests.chaos import clocks
from tests.chaos.clocks import Clock
from tests.chaos.failover import Servers, cluster_six, sentinel_trio
from tests.chaos.proxy import Backend, FaultProxy
from tests.chaos.slopes import Curve, look
from tests.ports import free_port
from tests.whole.fleet import ROOT
from tests.workers.test_sender import Sink

#: How many of each worker run.
CAST = {"gateway": 3, "prober": 3, "leveler": 2, "steward": 2}
#: The room whose lamps watch a target that the driver opens and closes.
DOOR = "door"
CALM = ("wan", "lan", "dns")
PIN = 22
#: A worker that has died is started again after this time, as a supervisor would.
RESTART_S = 0.5


@dataclass(eq=False)
class Worker:
    """One worker process and those that were started in its place."""

    role: str
    number: int
    environ: dict[str, str]
    clock: Clock
    log: IO[bytes]
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    frozen: bool = False
    died_s: float | None = None
    curves: list[Curve] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.role}-{self.number}"

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        clocks.forget(self.pid)
        words = [sys.executable, "-P", "-m", "espfleet", "run", self.role]
        self.process = subprocess.Popen(
            words, env=self.environ | self.clock.environ, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        self.died_s = None
        self.curves.append(Curve())

    def signal(self, number: int) -> None:
        if self.process is not None and self.lives:
            self.process.send_signal(number)


class Door:
    """A TCP target that answers while it is open. Closed, it neither accepts nor refuses: its queue is full."""

    def __init__(self) -> None:
        self.closed_s: float | None = None
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(0)
        self._listening.setblocking(False)
        self._waiting: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]

    def open(self) -> None:
        asyncio.get_running_loop().add_reader(self._listening, self._accept)
        for one in self._waiting:
            one.close()
        self._waiting.clear()
        self.closed_s = None

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listening)
        for _ in range(2):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))
            self._waiting.append(one)
        self.closed_s = time.monotonic()

    def end(self) -> None:
        self.open()
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.accept()[0].close()


class World:
    """Everything that a run breaks.

    Attributes:
        fronts: Proxies between lamps and gateways.
        back, side: Proxies between Redis and the gateways, and Redis and all other workers.
        direct: The fleet, past all proxies.
        on: Which Redis: ``single``, behind proxies, or ``sentinel`` or ``cluster``, whose clients find their own way.
        servers: Those of a Sentinel or a Cluster.
    """

    def __init__(self, random: Random, lamps: int, on: str = "single") -> None:
        self.on = on
        self.servers: Servers | None = None
        self.random = random
        self.lamps = lamps
        self.home = Path(tempfile.mkdtemp(prefix="ch"))
        self.workers: list[Worker] = []
        self.fronts: list[FaultProxy] = []
        self.simulators: list[Simulator] = []
        self.door = Door()
        self.sink = Sink()
        self.redis_down = False
        #: When Redis was killed, monotonic seconds.
        self.kills_s: list[float] = []
        self.redis_clock = Clock(self.home / "clock-redis")
        self.redis_curve = Curve()
        self.restarts = 0
        self._began_s = time.monotonic()
        self._redis_pid = 0
        self.back: FaultProxy
        self.side: FaultProxy
        self.direct: Store
        self.board: SimulatedBoard
        self.direct_url: str

    @property
    def data(self) -> Path:
        return self.home / ".espfleet"

    @property
    def redis_pid(self) -> int:
        return int((self.data / "redis.pid").read_text())

    @property
    def proxies(self) -> list[FaultProxy]:
        return [*self.fronts, self.back, self.side]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """Run everything; afterwards nothing of it is left."""
        async with AsyncExitStack() as stack:
            stack.callback(self._forget)
            url, behind = self._serve_redis(stack)
            self.direct_url = url
            self.direct = await stack.enter_async_context(open_store(url, name="chaos"))
            gateway_ports = [free_port() for _ in range(CAST["gateway"])]
            for _ in range(CAST["gateway"]):
                self.fronts.append(FaultProxy(gateway_ports, self.random))
            self.back, self.side = FaultProxy(behind, self.random), FaultProxy(behind, self.random)
            for proxy in self.proxies:
                await proxy.start()
                stack.push_async_callback(proxy.stop)
            self.door.open()
            stack.callback(self.door.end)
            self._serve_sink(stack)
            await self._serve_board(stack)
            await self._set_up()
            log = stack.enter_context((self.home / "log").open("ab"))
            for role, count in CAST.items():
                for number in range(count):
                    port = gateway_ports[number] if role == "gateway" else 0
                    clock = Clock(self.home / f"clock-{role}-{number}")
                    self.workers.append(Worker(role, number, self._environ(role, port or 1), clock, log, port))
            stack.callback(self._end_workers)
            for worker in self.workers:
                worker.start()
            for simulator in self.simulators:
                stack.push_async_callback(_ended, asyncio.create_task(simulator.run()))
            stack.push_async_callback(_ended, asyncio.create_task(self._supervise()))
            yield self

    def _serve_redis(self, stack: AsyncExitStack) -> tuple[str, list[Backend]]:
        """Start Redis; return its URL, and what proxies lead to: nothing where clients are told of servers."""
        if self.on == "single":
            with _with_environ(self.redis_clock.environ):
                url = stack.enter_context(embedded_server(self.data))
            self._redis_pid = self.redis_pid
            return url, [Path(unquote(urlsplit(url).path))]
        if self.on == "sentinel":
            url, self.servers = stack.enter_context(sentinel_trio(self.home))
        else:
            url, self.servers = stack.enter_context(cluster_six(self.home))
        return url, []

    def _environ(self, role: str, port: int) -> dict[str, str]:
        proxy = self.back if role == "gateway" else self.side
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.home),
            "ESPFLEET_HOME": str(self.home),
            "REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0" if self.servers is None else self.direct_url,
            "SERVER_PORT": str(port),
            "DATADOG_URL": self.sink.url,
            "DATADOG_API_KEY": "k3y",
        }

    def _serve_sink(self, stack: AsyncExitStack) -> None:
        serving = asyncio.get_running_loop().run_in_executor(None, self.sink.server.serve_forever, 0.1)
        stack.push_async_callback(asyncio.wait, [serving])
        stack.callback(self.sink.server.server_close)
        stack.callback(self.sink.server.shutdown)

    async def _serve_board(self, stack: AsyncExitStack) -> None:
        boards = BoardSimulator(new_boards(1))
        stack.push_async_callback(_ended, asyncio.create_task(boards.run()))
        await boards.started.wait()
        self.board = next(iter(boards.boards.values()))

    async def _set_up(self) -> None:
        """Make groups, targets, rooms and lamps: a third of them in the room with the door."""
        store = self.direct
        for group in (*CALM, DOOR):
            await groups.add(store, name=group)
        for number, group in enumerate(CALM * 4):
            await targets.add(store, name=f"t{number}", address=f"sim://calm?seed={number}", group=group)
        await targets.add(
            store, name=DOOR, address=f"tcp://127.0.0.1:{self.door.port}", group=DOOR, interval_ms=200, timeout_ms=500
        )
        specs = [replace(spec, token=new_token()) for spec in new_lamps(self.lamps, seed=1)]
        rooms = (*CALM, DOOR, DOOR)
        rows = [
            Device(
                id=spec.id, name=spec.name, room=rooms[n % len(rooms)], token_hashes=(hash_token(str(spec.token)),)
            ).to_dict()
            for n, spec in enumerate(specs)
        ]
        made = [Change("rooms", room, Room(name=room, group=room).to_dict()) for room in (*CALM, DOOR)]
        await registry.change(store, lambda _: [*made, *(Change("devices", row["id"], row) for row in rows)])
        for number, front in enumerate(self.fronts):
            some = specs[number :: len(self.fronts)]
            self.simulators.append(Simulator(some, f"ws://127.0.0.1:{front.port}", seed=number))
        await devices.register(
            store, device_id=self.board.id, name="relay", now_ms=1, address=self.board.address, kinds=(Kind.BOARD,)
        )
        await jobs.add(store, Job(device_id=self.board.id, name="lit", pin=PIN, kind=JobKind.TIMER, duration_s=DAY_S))

    async def _supervise(self) -> None:
        """Start dead workers again, and look at what the living ones use."""
        looked_s = 0.0
        while True:
            await asyncio.sleep(0.1)
            now_s = time.monotonic()
            for worker in self.workers:
                if worker.process is None or worker.process.poll() is None:
                    continue
                if worker.died_s is None:
                    worker.died_s = now_s
                elif now_s - worker.died_s >= RESTART_S:
                    self.restarts += 1
                    worker.start()
            if now_s - looked_s >= 1.0:
                looked_s = now_s
                for worker in self.workers:
                    used = look(worker.pid, worker.port)
                    if used is not None and not worker.frozen and worker.died_s is None:
                        worker.curves[-1].times_s.append(now_s - self._began_s)
                        worker.curves[-1].values.append(used)
                await self._look_at_redis(now_s - self._began_s)

    async def _look_at_redis(self, at_s: float) -> None:
        """Note what Redis keeps, whichever process of it it is, and its files beside its clients."""
        # It may be killed while it answers.
        with contextlib.suppress(StoreError, RedisError, OSError, ValueError):
            if self.servers is None and not self.redis_down and (used := look(self.redis_pid)) is not None:
                told = await asyncio.wait_for(self.direct.redis.info("memory", "clients"), 1.0)
                self.redis_curve.times_s.append(at_s)
                # How many clients there are is the workers' matter, whose own files are counted.
                files = used[1] - told["connected_clients"]
                self.redis_curve.values.append((told["used_memory"] / 1e6, files, used[2]))

    def kill_redis(self) -> None:
        self.redis_down = True
        pid = self.redis_pid
        os.kill(pid, signal.SIGKILL)
        self.kills_s.append(time.monotonic())
        clocks.forget(pid)

    async def revive_redis(self) -> None:
        with _with_environ(self.redis_clock.environ):
            await asyncio.to_thread(revive, self.data)
        self._redis_pid = self.redis_pid
        self.redis_down = False

    def stop_redis(self) -> None:
        self.redis_down = True
        os.kill(self.redis_pid, signal.SIGSTOP)

    def go_on_redis(self) -> None:
        os.kill(self.redis_pid, signal.SIGCONT)
        self.redis_down = False

    def log_text(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def _forget(self) -> None:
        for worker in self.workers:
            clocks.forget(worker.pid)
        clocks.forget(self._redis_pid)

    def _end_workers(self) -> None:
        for worker in self.workers:
            worker.signal(signal.SIGCONT)
            worker.signal(signal.SIGTERM)
        for worker in self.workers:
            if worker.process is not None:
                try:
                    worker.process.wait(10)
                except subprocess.TimeoutExpired:
                    worker.process.kill()
                    worker.process.wait()


@contextlib.contextmanager
def _with_environ(more: Mapping[str, str]) -> Iterator[None]:
    """Let what is started meanwhile inherit these names and values; they are new ones."""
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
