"""The registry: everything the user has set up, as one value, and how the parts hang together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from espfleet.domain.devices import Device
from espfleet.domain.groups import Group
from espfleet.domain.jobs import Job
from espfleet.domain.names import check_device_id, nearest
from espfleet.domain.rooms import Room
from espfleet.domain.sensors import Sensor
from espfleet.domain.shards import shard_of
from espfleet.domain.targets import Target
from espfleet.errors import InvalidError, NotFoundError


@dataclass(frozen=True)
class Registry:
    """Everything the user has set up.

    Attributes:
        version: Grows with every change.
        devices: By hardware id.
        rooms, groups, targets: By name.
        jobs, sensors: By hardware id, ``/`` and name.
    """

    version: int = 0
    devices: Mapping[str, Device] = field(default_factory=dict)
    rooms: Mapping[str, Room] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    targets: Mapping[str, Target] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    sensors: Mapping[str, Sensor] = field(default_factory=dict)

    @cached_property
    def device_ids(self) -> dict[str, str]:
        """Hardware id of each device name."""
        return {device.name: device.id for device in self.devices.values()}

    @cached_property
    def groups_of_target(self) -> dict[str, tuple[str, ...]]:
        """Groups that each target is in; targets in no group are absent."""
        found: dict[str, list[str]] = {}
        for group in self.groups.values():
            for target in group.targets:
                found.setdefault(target, []).append(group.name)
        return {target: tuple(sorted(names)) for target, names in found.items()}

    @cached_property
    def devices_by_name(self) -> tuple[Device, ...]:
        """All devices in the order of their names."""
        return tuple(sorted(self.devices.values(), key=lambda device: device.name))

    @cached_property
    def jobs_of(self) -> dict[str, tuple[Job, ...]]:
        """Jobs of each device by its hardware id, in the order of their names; devices without are absent."""
        found: dict[str, list[Job]] = {}
        for key in sorted(self.jobs):
            found.setdefault(self.jobs[key].device_id, []).append(self.jobs[key])
        return {device_id: tuple(jobs) for device_id, jobs in found.items()}

    @cached_property
    def sensors_of(self) -> dict[str, tuple[Sensor, ...]]:
        """Sensors of each device by its hardware id, in the order of their names; devices without are absent."""
        found: dict[str, list[Sensor]] = {}
        for key in sorted(self.sensors):
            found.setdefault(self.sensors[key].device_id, []).append(self.sensors[key])
        return {device_id: tuple(sensors) for device_id, sensors in found.items()}

    def device(self, name: str) -> Device:
        """Return the device with this name or hardware id.

        Raises:
            NotFoundError: If there is none; it carries names that look alike.
        """
        device_id = self.device_ids.get(name)
        if device_id is None:
            try:
                device_id = check_device_id(name)
            except InvalidError:
                device_id = ""
        if device_id not in self.devices:
            raise NotFoundError("device", name, nearest(name, self.device_ids))
        return self.devices[device_id]

    def room(self, name: str) -> Room:
        """Return the room with this name.

        Raises:
            NotFoundError: If there is none.
        """
        if name not in self.rooms:
            raise NotFoundError("room", name, nearest(name, self.rooms))
        return self.rooms[name]

    def group(self, name: str) -> Group:
        """Return the group with this name.

        Raises:
            NotFoundError: If there is none.
        """
        if name not in self.groups:
            raise NotFoundError("group", name, nearest(name, self.groups))
        return self.groups[name]

    def target(self, name: str) -> Target:
        """Return the target with this name.

        Raises:
            NotFoundError: If there is none.
        """
        if name not in self.targets:
            raise NotFoundError("target", name, nearest(name, self.targets))
        return self.targets[name]

    def group_of(self, device: Device) -> str | None:
        """Return the name of the group whose level a device shows: its own choice, else its room's."""
        if device.group is not None:
            return device.group
        room = self.rooms.get(device.room or "")
        return room.group if room else None

    def brightness_of(self, device: Device) -> int:
        """Return the brightness of a device in percent: its own, else its room's, else 100."""
        if device.brightness is not None:
            return device.brightness
        room = self.rooms.get(device.room or "")
        return room.brightness if room else 100

    def shards_of_target(self, target: str, shards: int) -> tuple[int, ...]:
        """Return the shards a target's samples go to: those of its groups, or its own while it is in none."""
        groups = self.groups_of_target.get(target)
        if not groups:
            return (shard_of(target, shards),)
        return tuple(sorted({shard_of(group, shards) for group in groups}))
