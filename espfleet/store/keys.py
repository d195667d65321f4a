"""Every key of the fleet, with its type and lifetime.

What stands in braces decides the slot on a Cluster; scripts and transactions stay within one pair of braces:
``{reg}`` the registry, ``{sN}`` shard N of groups, ``{pN}`` partition N of devices, ``{work}`` workers, ``{lead}``
duties that one worker has at a time, ``{events}`` what happened, ``{readings}`` what devices report, ``{tags}`` what
cameras recognised, ``{answers}`` what was answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: What the registry has a table for.
KINDS = ("devices", "rooms", "groups", "targets", "tokens", "jobs", "sensors")
#: Keys that neither expire nor are cut, as they are named after the prefix: what the user has set up, counters that
#: must never go back, and tables with one row for each group or device.
PERMANENT = (
    r"\{reg\}:(settings|version|devices|rooms|groups|targets|tokens|jobs|sensors)",
    r"\{s\d+\}:(levels|seq|fence)",
    r"\{lead\}:[a-z0-9_.-]+:fence",
    r"\{p\d+\}:(due|gone)",
)
#: Streams that are cut at every write, as they are named after the prefix.
BOUNDED = (r"\{reg\}:audit", r"\{s\d+\}:samples", r"\{events\}:log", r"\{metrics\}:(outbox|dead)")


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of the keys of one fleet. ``shard`` and ``part`` are numbers from 0.

    Attributes:
        prefix: What they all begin with.
        db: Number of the database; channels carry it too, for a server tells its messages over all databases.
    """

    prefix: str = "espfleet:"
    db: int = 0

    # --- the registry

    def settings(self) -> str:
        """Hash, permanent: ``schema`` and ``shards``, written by whoever opens the fleet first."""
        return f"{self.prefix}{{reg}}:settings"

    def version(self) -> str:
        """String, permanent: version of the registry; grows with every change."""
        return f"{self.prefix}{{reg}}:version"

    def table(self, kind: str) -> str:
        """Hash, permanent: one row of JSON for each thing of a kind; ``KINDS`` lists them."""
        return f"{self.prefix}{{reg}}:{kind}"

    def audit(self) -> str:
        """Stream, cut at about 10,000 entries of up to 8 KiB: who changed what, and told devices to do what."""
        return f"{self.prefix}{{reg}}:audit"

    def registry_channel(self) -> str:
        """Channel: the registry's new version."""
        return self._channel("{reg}:channel")

    # --- samples and levels, by shard

    def samples(self, shard: int) -> str:
        """Stream, cut at each write: packed samples."""
        return f"{self.prefix}{{s{shard}}}:samples"

    def layout(self, shard: int, layout_id: str) -> str:
        """String, 2 h: the layout that packed samples refer to, as JSON."""
        return f"{self.prefix}{{s{shard}}}:layout:{layout_id}"

    def levels(self, shard: int) -> str:
        """Hash, permanent: latest level of each group of the shard, with its number."""
        return f"{self.prefix}{{s{shard}}}:levels"

    def seq(self, shard: int) -> str:
        """String, permanent: number of the latest publication of the shard."""
        return f"{self.prefix}{{s{shard}}}:seq"

    def beat(self, shard: int) -> str:
        """String, 3 s: exists while somebody keeps the shard's levels fresh."""
        return f"{self.prefix}{{s{shard}}}:beat"

    def snapshot(self, shard: int) -> str:
        """String, 3 s: summary of the shard's targets, packed."""
        return f"{self.prefix}{{s{shard}}}:snapshot"

    def history(self, shard: int, resolution: str, run: int, target: str) -> str:
        """String, as long as its resolution is kept and one run more: points of a target, packed."""
        return f"{self.prefix}{{s{shard}}}:history:{resolution}:{run}:{target}"

    def levels_channel(self, shard: int) -> str:
        """Channel: levels that changed, and a beat each second."""
        return self._channel(f"{{s{shard}}}:channel")

    # --- leases; a duty is a shard ("s3") or one of "lead:…"

    def owner(self, duty: str) -> str:
        """String, as long as the lease: who has the duty."""
        return f"{self.prefix}{_duty(duty)}:owner"

    def fence(self, duty: str) -> str:
        """String, permanent: number of the latest take-over of the duty."""
        return f"{self.prefix}{_duty(duty)}:fence"

    # --- devices, by partition

    def alive(self, part: int, device_id: str) -> str:
        """String, as long as the watchdog has left: the gateway a living device is connected to."""
        return f"{self.prefix}{{p{part}}}:alive:{device_id}"

    def due(self, part: int) -> str:
        """Sorted set, permanent: until when each connected device is alive unless it is heard again."""
        return f"{self.prefix}{{p{part}}}:due"

    def gone(self, part: int) -> str:
        """Sorted set, permanent: devices found offline whose event is not recorded yet; mostly empty."""
        return f"{self.prefix}{{p{part}}}:gone"

    def session(self, part: int, device_id: str) -> str:
        """Hash, 7 days: the device's latest session."""
        return f"{self.prefix}{{p{part}}}:session:{device_id}"

    def readings(self, part: int, device_id: str) -> str:
        """Hash, 24 h: latest value of each reading."""
        return f"{self.prefix}{{p{part}}}:readings:{device_id}"

    def readings_channel(self) -> str:
        """Channel: readings as devices report them, each second those of many together."""
        return self._channel("{readings}:channel")

    def visits(self, part: int, device_id: str) -> str:
        """List, 30 days and cut at 20: when the device came and went, the latest first."""
        return f"{self.prefix}{{p{part}}}:visits:{device_id}"

    def commands_channel(self, part: int) -> str:
        """Channel: commands for the partition's devices."""
        return self._channel(f"{{p{part}}}:commands")

    def result(self, part: int, command_id: str) -> str:
        """List, 30 s: what a device answered to one command."""
        return f"{self.prefix}{{p{part}}}:result:{command_id}"

    # --- boards: locks, state, history

    def lock(self, part: int, device_id: str, purpose: str) -> str:
        """String, as long as the lock (10 s): token of the one who holds it.

        ``lock.lua`` lets four more begin with this name: ``:fence``, 24 h; ``:queue`` and ``:until``, 60 s, of those
        who wait; ``:turn:TOKEN``, 5 s, which ``lock_turn`` names too.
        """
        return f"{self.prefix}{{p{part}}}:lock:{device_id}:{purpose}"

    def lock_turn(self, part: int, device_id: str, purpose: str, token: str) -> str:
        """List, 5 s: tells one who waits for a lock that it is theirs."""
        return f"{self.lock(part, device_id, purpose)}:turn:{token}"

    def cooldown(self, part: int, device_id: str, what: str) -> str:
        """String, as long as the cooldown: its length in ms; exists while something must not be done again."""
        return f"{self.prefix}{{p{part}}}:cooldown:{device_id}:{what}"

    def board(self, part: int, device_id: str) -> str:
        """Hash, 24 h: state of a board as it was read last, with the fence of the reader."""
        return f"{self.prefix}{{p{part}}}:board:{device_id}"

    def wishes(self, part: int, device_id: str) -> str:
        """Hash, 7 days: what each job of a device wishes, since when and why."""
        return f"{self.prefix}{{p{part}}}:wishes:{device_id}"

    def minutes(self, part: int, device_id: str) -> str:
        """Hash, 24 h: what readings of a device were, each at most once a minute, packed by name and hour."""
        return f"{self.prefix}{{p{part}}}:minutes:{device_id}"

    def minutes_before(self, part: int, device_id: str) -> str:
        """Stream, 24 h: the same as earlier versions wrote it; read until it expires."""
        return f"{self.prefix}{{p{part}}}:past:{device_id}"

    # --- cameras

    def picture(self, part: int, device_id: str) -> str:
        """String, 10 min: newest picture of a camera."""
        return f"{self.prefix}{{p{part}}}:picture:{device_id}"

    def video(self, part: int, device_id: str) -> str:
        """Hash, 24 h: counts of a camera's pictures, their size, and the interval it was told."""
        return f"{self.prefix}{{p{part}}}:video:{device_id}"

    def arrivals(self, part: int, device_id: str) -> str:
        """List, 1 min and cut at 21: when the latest pictures of a camera came, newest first."""
        return f"{self.prefix}{{p{part}}}:arrivals:{device_id}"

    def pictures_channel(self, part: int, device_id: str) -> str:
        """Channel: pictures of one camera, as they come."""
        return self._channel(f"{{p{part}}}:pictures:{device_id}")

    def tags(self) -> str:
        """Hash, 24 h: latest AprilTag that each camera recognised."""
        return f"{self.prefix}{{tags}}:latest"

    def tags_channel(self) -> str:
        """Channel: AprilTags as cameras recognise them."""
        return self._channel("{tags}:channel")

    # --- firmware

    def release(self, release_id: str) -> str:
        """Hash, 1 h: a release of the lamp's program, its manifest and its files."""
        return f"{self.prefix}{{releases}}:{release_id}"

    def update(self, part: int, device_id: str) -> str:
        """Hash, 30 days: what became of a lamp's last update."""
        return f"{self.prefix}{{p{part}}}:update:{device_id}"

    # --- metrics

    def outbox(self) -> str:
        """Stream, cut at about 20,000 entries of up to 500 points: metrics on their way out."""
        return f"{self.prefix}{{metrics}}:outbox"

    def dead_metrics(self) -> str:
        """Stream, cut at about 1,000: metrics that nobody takes, and why."""
        return f"{self.prefix}{{metrics}}:dead"

    # --- workers

    def worker(self, role: str, name: str) -> str:
        """String, 3 s at most: exists while the worker lives; JSON that it tells about itself."""
        return f"{self.prefix}{{work}}:{role}:{name}"

    def workers(self, role: str) -> str:
        """Sorted set, 1 h: names of the role's workers and when each was last heard; an index of ``worker``."""
        return f"{self.prefix}{{work}}:{role}"

    # --- events

    def events(self) -> str:
        """Stream, cut at 10,000: what happened in the fleet."""
        return f"{self.prefix}{{events}}:log"

    def recorded(self, mark: str) -> str:
        """String, 1 h: exists when the event with this mark is recorded."""
        return f"{self.prefix}{{events}}:recorded:{mark}"

    def events_channel(self) -> str:
        """Channel: events as they happen."""
        return self._channel("{events}:channel")

    # --- answers that may be asked for again

    def answered(self, mark: str) -> str:
        """String, 10 min: what was answered to the request with this mark, or that it is being answered."""
        return f"{self.prefix}{{answers}}:{mark}"

    def _channel(self, name: str) -> str:
        return f"{self.prefix}{name}:{self.db}" if self.db else f"{self.prefix}{name}"

    # --- for tests and ``doctor``

    def may_stay(self, key: str) -> bool:
        """Whether a key of this fleet may be without a lifetime: it is permanent, or cut at every write."""
        rest = key.removeprefix(self.prefix)
        return rest != key and any(re.fullmatch(pattern, rest) for pattern in (*PERMANENT, *BOUNDED))


def _duty(duty: str) -> str:
    tag, _, name = duty.partition(":")
    return f"{{{tag}}}:{name}" if name else f"{{{tag}}}"
