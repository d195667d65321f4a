"""What requests may hold: checked for shape here, for sense by the services."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from espfleet.domain.devices import Dialect
from espfleet.domain.jobs import Side
from espfleet.domain.roles import Role

Name = Annotated[str, Field(max_length=64, examples=["porch"])]
Names = Annotated[list[Name], Field(max_length=1_000)]
Percent = Annotated[int, Field(ge=0, le=100)]
Millis = Annotated[int, Field(ge=1, le=3_600_000)]


class Wish(BaseModel):
    """Base of all: a field that nobody knows is an error, so that a typing slip is not silently ignored."""

    model_config = ConfigDict(extra="forbid", str_max_length=300)


class NewDevice(Wish):
    """A device to register: with an address it is asked who it is; with an id it need not be reachable yet."""

    name: Name
    address: str = Field("", examples=["192.0.2.7"], description="IP or IP:PORT of the device's own HTTP server")
    id: str = Field("", examples=["3c71bff93720"], description="hardware id; the device is then not asked")
    room: Name | None = None
    labels: Names = []
    dialect: Dialect | None = None
    new_token: bool = Field(False, description="give it another token; the old one ends at once")


class DeviceEdit(Wish):
    """What shall be different; what is left out stays, and `null` gives the room's choice back."""

    name: Name | None = None
    room: Name | None = None
    group: Name | None = None
    brightness: Percent | None = None


class NewRoom(Wish):
    """A room to make."""

    name: Name
    group: Name | None = Field(None, examples=["internet"])
    brightness: Percent = 100
    labels: Names = []


class RoomEdit(Wish):
    """What shall be different; what is left out stays."""

    group: Name | None = None
    brightness: Percent | None = None


class NewGroup(Wish):
    """A group to make."""

    name: Name
    targets: Names = []
    preset: str = Field("broadband", examples=["lan"])
    combine: str = Field("worst", examples=["median"])
    quorum: int = Field(1, ge=1, le=1_000_000)
    labels: Names = []


class GroupEdit(Wish):
    """What shall be different; what is left out stays."""

    preset: str | None = None
    combine: str | None = None
    quorum: int | None = Field(None, ge=1, le=1_000_000)
    thresholds: dict[str, float | str | None] = Field(
        default={}, max_length=32, examples=[{"latency_orange_ms": 30}], description="the word `preset` gives it back"
    )
    include: Names = []
    exclude: Names = []
    paused: bool | None = None


class NewTarget(Wish):
    """A host to measure."""

    name: Name
    address: str = Field(examples=["192.0.2.1", "tcp://router.lan:443"])
    group: Name | None = None
    interval_ms: Millis = 1_000
    timeout_ms: Millis = 1_000
    labels: Names = []


class TargetEdit(Wish):
    """What shall be different; what is left out stays."""

    address: str | None = None
    interval_ms: Millis | None = None
    timeout_ms: Millis | None = None


class Command(Wish):
    """Something for a device to do now."""

    action: str = Field(examples=["identify"])
    arguments: dict[str, Any] = Field(default={}, max_length=32, examples=[{}])
    timeout_ms: int = Field(5_000, ge=100, le=30_000, description="how long to wait for the answer")


class Login(Wish):
    """A token, to be kept in a cookie."""

    token: str = Field(min_length=1, max_length=128)


class NewToken(Wish):
    """A token to make."""

    name: Name = Field(examples=["tv"])
    role: Role = Field(Role.VIEWER, examples=["viewer"])


class NewJob(Wish):
    """A job: its pin is on for a while each day; with a `source`, only while that value is beyond the border."""

    name: Name = Field(examples=["lights"])
    pin: int = Field(ge=0, le=48, examples=[22])
    start: str = Field("00:00", max_length=8, examples=["18:30"], description="by the clock of `zone`")
    hours: float = Field(24.0, gt=0, le=24, examples=[4.5])
    days: str = Field("all", max_length=32, examples=["mon-fri"])
    zone: str = Field("UTC", max_length=64, examples=["Europe/Berlin"])
    source: str = Field("", max_length=200, examples=[""], description="DEVICE/READING, or key:NAME of Redis")
    border: float = Field(0.0, ge=-1e9, le=1e9)
    hysteresis: float = Field(0.0, ge=0, le=1e9, description="how far beyond the border the pin goes off")
    side: Side = Field(Side.BELOW, description="where the value is while the pin is on")
    unit: str = Field("C", max_length=16, description="C, F, or any word")
    least_ms: int = Field(0, ge=0, le=86_400_000, description="shortest time between two changes")


class NewSensor(Wish):
    """A sensor to read again and again."""

    name: Name = Field(examples=["air"])
    kind: str = Field(examples=["dht22"])
    pin: int = Field(ge=0, le=48, examples=[4])
    interval_s: float = Field(30.0, gt=0, le=86_400)
    power_pin: int | None = Field(None, ge=0, le=48, description="high while it is read, of an adc")


class Question(Wish):
    """What to ask a board, past its lock."""

    question: str = Field(examples=["get_basic"])
    arguments: dict[str, int | str | list[int]] = Field(default={}, max_length=4, examples=[{}])


class LockWish(Wish):
    """How long to lock."""

    ttl_ms: int = Field(1_000, ge=1, le=600_000)


class PinglampValues(Wish):
    """The names and values of a PING_LAMP `.env`."""

    values: dict[str, str] = Field(
        max_length=256, examples=[{"PING_TARGET_1_HOST": "192.0.2.1", "PING_TARGET_1_INTERVAL_S": "1"}]
    )


class FirmwareWish(Wish):
    """How to update."""

    downgrade: bool = Field(False, description="also onto a lamp that runs a newer version")


class BoardToken(Wish):
    """What a device's own HTTP server wants to see."""

    token: str | None = Field(None, max_length=128)
