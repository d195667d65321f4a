"""Commands about devices."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from espfleet.boards.client import BoardInfo, identify, provision
from espfleet.cli import output
from espfleet.cli.jobs import PinCommands
from espfleet.cli.opening import gateway_url, settings, with_store, with_time
from espfleet.cli.words import age, level_text, marked, presence_text, presence_word, starred
from espfleet.domain.devices import Dialect, Kind, Presence, check_device_address
from espfleet.errors import BoardError, RefusedError
from espfleet.services import device_tokens
from espfleet.services import devices as service
from espfleet.services.devices import DeviceView, Registered
from espfleet.services.registering import labels_for
from espfleet.store import commands
from espfleet.store.client import Store

if TYPE_CHECKING:
    from rich.console import RenderableType


def to_json(view: DeviceView) -> dict[str, Any]:
    """Return a device as programs see it."""
    device = view.device
    return {
        "name": device.name,
        "id": device.id,
        "address": device.address,
        "room": device.room,
        "group": view.group,
        "level": view.level.level if view.level.band is not None else None,
        "state": view.level.state.value,
        "band": view.level.band.value if view.level.band is not None else None,
        "reason": view.level.reason,
        "presence": view.presence.value,
        "offline_reason": view.reason.value if view.reason is not None else None,
        "last_seen_ms": view.seen_ms,
        "session_since_ms": view.since_ms,
        "gateway": view.gateway,
        "dialect": device.dialect.value,
        "firmware": view.firmware,
        "chip": view.chip,
        "labels": list(device.labels),
        "simulated": device.simulated,
    }


def devices() -> None:
    """List the devices."""
    views, at_ms = with_time(lambda store: service.views(store, now_ms=store.now_ms()))
    output.show([to_json(view) for view in views], lambda: device_table(views, at_ms))


def device_table(views: list[DeviceView], at_ms: int) -> RenderableType:
    """Return the devices as a table for people."""
    listed = output.table(
        ("name", "room", "level", "presence", "heard", "address"),
        [
            (
                marked(view.device.name, view.device.simulated),
                view.device.room or "–",
                level_text(view.level) if view.device.glows else "–",
                presence_text(view),
                age(view.seen_ms, at_ms),
                view.device.address or "–",
            )
            for view in views
        ],
        "No device is registered yet: ./espcli register IP NAME",
        folded=("presence",),
    )
    return starred(listed, any(view.device.simulated for view in views))


def ids() -> None:
    """List the hardware ids."""
    views = with_store(lambda store: service.views(store, now_ms=store.now_ms()))
    output.show(
        {view.device.name: view.device.id for view in views},
        lambda: output.table(
            ("name", "id"), [(view.device.name, view.device.id) for view in views], "No device is registered yet."
        ),
    )


def is_online(name: str) -> None:
    """Say whether a device is there, and leave with 1 if it is not."""
    view = with_store(lambda store: service.view(store, name=name, now_ms=store.now_ms()))
    output.say(presence_word(view.presence, view.reason), view.presence is not Presence.OFFLINE)
    if view.presence is Presence.OFFLINE:
        raise SystemExit(1)


def register(ip: str, name: str, room: str, device_id: str, dialect: str, new_token: bool) -> None:
    """Add a device to the fleet."""
    address, info = check_device_address(ip), None
    if not device_id:
        if dialect not in ("", Dialect.V1):
            device_id = with_store(functools.partial(service.id_at, address=address)) or service.made_up_id()
        else:
            info = identify(address)
            device_id = info.id
    done = with_store(
        lambda store: service.register(
            store,
            device_id=device_id,
            name=name,
            now_ms=store.now_ms(),
            address=address,
            room=room or None,
            labels=() if info is None else labels_for(info, address),
            dialect=dialect or None,
            token_wanted=new_token or bool(info and info.provision),
            # EspNet's boards do not say what they are.
            kinds=None if info is None else (Kind.LAMP,) if info.kind == Kind.LAMP else (Kind.BOARD,),
        )
    )
    handed_over, refusal = _hand_over(address, info, done)
    data = {"name": done.device.name, "id": done.device.id, "room": done.device.room, "new": done.new}
    if done.token and not handed_over:
        data["token"] = done.token
    output.say(_sentence(done, handed_over) + (f"\nIt has not got it yet: {refusal}" if refusal else ""), data)


def _hand_over(address: str, info: BoardInfo | None, done: Registered) -> tuple[bool, str]:
    """Give a device that waits for it its token and the gateway's address; return whether it took them, or why not."""
    if info is None or not info.provision or done.token is None:
        return False, ""
    try:
        provision(address, done.token, gateway_url(settings()))
    except BoardError as exc:
        # The token is shown once, and that is now.
        return False, str(exc)
    return True, ""


def _sentence(done: Registered, handed_over: bool) -> str:
    device = done.device
    what = f"{device.name} ({device.id}) is {'registered' if done.new else 'registered as before'}"
    what += f" in room {device.room}." if device.room else ", in no room."
    if handed_over:
        what += " It has got its token and connects by itself."
    elif done.token and device.dialect is not Dialect.PINGLAMP:
        if device.dialect is Dialect.V1 and not device.glows:
            what += "\nA board that only answers HTTP needs no token; if it connects to the gateway, it needs this one."
        elif device.dialect is Dialect.V1 and device.address:
            what += f"\nEnter its token at http://{device.address}/ui."
        what += f"\nIts token, shown this once: {done.token}"
    return what


def unregister(name: str) -> None:
    """Remove a device."""
    device = with_store(functools.partial(service.unregister, name=name))
    output.say(f"{device.name} ({device.id}) is no longer in the fleet.", {"name": device.name, "id": device.id})


class DeviceCommands(PinCommands):
    """One device, by its name or hardware id. Without a verb it is shown."""

    def __str__(self) -> str:
        view, at_ms = with_time(lambda store: service.view(store, name=self._name, now_ms=store.now_ms()))
        return output.rendered(to_json(view), lambda: _page(view, at_ms))

    def rename(self, new_name: str) -> None:
        """Give the device another name.

        Args:
            new_name: Its new name, such as porch; no other device may have it.
        """
        device = with_store(functools.partial(service.rename, name=self._name, new_name=new_name))
        output.say(f"{self._name} is called {device.name} now.", {"name": device.name, "id": device.id})

    def move(self, room: str) -> None:
        """Put the device into a room.

        Args:
            room: Name of the room, which must be there.
        """
        device = with_store(functools.partial(service.move, name=self._name, room=room))
        output.say(f"{device.name} is in room {device.room} now.", {"name": device.name, "room": device.room})

    def show(self, group: str = "") -> None:
        """Let the device show a group of its own choice; without a group, its room's again.

        Args:
            group: Name of the group.
        """
        device = with_store(functools.partial(service.show_group, name=self._name, group=group or None))
        output.say(
            f"{device.name} shows {f'group {device.group}' if device.group else 'what its room watches'} now.",
            {"name": device.name, "group": device.group},
        )

    def brightness(self, percent: str = "") -> None:
        """Set the device's own brightness, 0 to 100; without a number, its room's again.

        Args:
            percent: Brightness in percent, 0 to 100.
        """
        device = with_store(functools.partial(service.set_brightness, name=self._name, percent=percent or None))
        what = "its room's brightness" if device.brightness is None else f"{device.brightness} percent"
        output.say(f"{device.name} has {what} now.", {"name": device.name, "brightness": device.brightness})

    def kinds(self, kinds: str) -> None:
        """Say what the device is.

        Args:
            kinds: One or more of lamp, board and camera, with commas between: camera,lamp.
        """
        device = with_store(functools.partial(service.set_kinds, name=self._name, kinds=kinds.split(",")))
        output.say(f"{device.name} is {' and '.join(device.kinds)} now.", {"name": device.name, "kinds": device.kinds})

    def rotate_token(self, show: str = "") -> None:
        """Give it another token over its link; the one before ends when the new one has been used.

        Args:
            show: --show makes a token and shows it, this once, for a device that has to be given it by hand.
        """
        if show == "True":
            device, token = with_store(functools.partial(device_tokens.add, name=self._name))
            output.say(
                f"The new token of {device.name}, shown this once: {token}\n"
                "The one before ends when this one has been used.",
                {"name": device.name, "token": token},
            )
            return
        device = with_store(lambda store: device_tokens.rotate(store, name=self._name, now_ms=store.now_ms()))
        output.say(
            f"{device.name} has another token; the one before ends when it has connected with it.",
            {"name": device.name},
        )

    def identify(self) -> None:
        """Let the lamp blink for 10 seconds, so that you find it."""
        result = with_store(self._identify)
        output.say(f"{self._name} blinks for 10 seconds.", result)

    def firmware(self) -> None:
        """Show what firmware the device runs, and what became of its last update."""
        from espfleet.cli.firmware import firmware

        firmware(self._name)

    def update_firmware(self, release: str = "", downgrade: str = "") -> None:
        """Put new firmware onto the lamp, over its connection, and wait until it has proved itself.

        It goes into the slot that does not run, and comes into force only whole. If it does not find its gateway
        within a minute, or fails three times, the lamp goes back by itself.

        Args:
            release: Folder made by esp32/build.py; without, the program that is here is compiled.
            downgrade: --downgrade lets it take a version that is older than the one it runs.
        """
        from espfleet.cli.firmware import update_firmware

        update_firmware(self._name, release, downgrade == "True")

    async def _identify(self, store: Store) -> dict[str, Any]:
        view = await service.view(store, name=self._name, now_ms=store.now_ms())
        if view.presence is Presence.OFFLINE:
            raise RefusedError(f"{view.device.name} cannot be told: {presence_word(view.presence, view.reason)}")
        result = await commands.send(store, view.device.id, {"action": "identify"})
        if result is None:
            raise RefusedError(f"{view.device.name} did not answer in time")
        if not result.get("ok"):
            raise RefusedError(f"{view.device.name} refused: {result.get('error', 'it gave no reason')}")
        return result


def _page(view: DeviceView, at_ms: int) -> RenderableType:
    """Return everything about one device for people."""
    device = view.device
    page = output.plain_table()
    page.show_header = False
    page.add_row("name", device.name + (" (simulated)" if device.simulated else ""))
    page.add_row("id", device.id)
    page.add_row("room", device.room or "–")
    page.add_row("group", f"{view.group or '–'}{' (its own choice)' if device.group else ''}")
    page.add_row("level", level_text(view.level) if device.glows else "– (it has no light)")
    page.add_row("because", (view.level.reason if device.glows else "") or "–")
    page.add_row("presence", presence_text(view))
    page.add_row("heard", age(view.seen_ms, at_ms))
    page.add_row("connected for", age(view.since_ms, at_ms) if view.presence is not Presence.OFFLINE else "–")
    page.add_row("gateway", view.gateway or "–")
    page.add_row("address", device.address or "–")
    page.add_row("its page", f"http://{device.address}/ui" if device.address and device.dialect.has_own_page else "–")
    page.add_row("firmware", output.plain(" ".join(filter(None, (view.firmware, view.chip))) or "–"))
    return page
