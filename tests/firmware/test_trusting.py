"""A real lamp on a real gateway over TLS is handed another token and another authority, and is never lost."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path

from espfleet.certificates.contexts import ServerSide
from espfleet.certificates.folder import Folder
from espfleet.domain.devices import Device, Presence
from espfleet.services import device_tokens, trusting
from espfleet.store import presence, registry
from tests.conftest import wait_until
from tests.firmware.test_certificates import kept, put
from tests.firmware.together import Boards
from tests.gateway.conftest import Fleet, Start, lamp_of

NOW_MS = 1_700_000_000_000


async def live(fleet: Fleet, device: Device) -> bool:
    return (await presence.read_presence(fleet.store, [device.id]))[device.id].presence is Presence.LIVE


async def test_a_lamp_takes_another_token_and_another_authority_over_its_link(
    fleet: Fleet, start: Start, boards: Boards, tmp_path: Path
) -> None:
    folder = Folder(tmp_path, lambda: datetime.datetime.now(datetime.UTC))
    folder.make(["127.0.0.1"])
    server = ServerSide(folder.server)
    gateway = await start(tls=server.context)
    device, old = await fleet.add("porch")
    board = boards(gateway=gateway.url.replace("ws:", "wss:"), token=old)
    put(board.folder / "ca.der", kept(folder.for_lamps))
    board.world("id", device.id)
    board.power_on()
    await board.line("link: connected as porch", 0, 20)
    await wait_until(lambda: live(fleet, device))

    await device_tokens.rotate(fleet.store, name="porch", now_ms=NOW_MS)
    folder.rotate()
    server.context.load_cert_chain(folder.server)
    both = base64.b64encode(kept(folder.for_lamps)).decode()
    assert await trusting.tell(fleet.store, trusted=both, already=set(), now_ms=NOW_MS) == (["porch"], [])
    folder.finish()
    server.context.load_cert_chain(folder.server)
    await board.power_off()
    board.power_on()
    await board.line("link: connected as porch", board.at, 20)

    async def only_the_new_one() -> bool:
        hashes = (await registry.load(fleet.store)).device(device.id).token_hashes
        return len(hashes) == 1 and hashes != device.token_hashes

    await wait_until(only_the_new_one)
    assert await trusting.tell(fleet.store, trusted=both, already={device.id}, now_ms=NOW_MS) == (["porch"], [])


async def test_who_is_away_is_named_and_simulated_lamps_are_asked_only_if_they_run_the_real_program(
    fleet: Fleet, start: Start
) -> None:
    gateway = await start()
    await fleet.add("porch")
    await fleet.add("demo", 2, labels=("simulated",))
    program, token = await fleet.add("program", 3, labels=("simulated",))
    async with lamp_of(gateway, program, token, chip="ESP32") as lamp:
        await lamp.until(type="welcome")
        await wait_until(lambda: live(fleet, program))

    async def gone() -> bool:
        return not await live(fleet, program)

    await wait_until(gone)
    assert await trusting.tell(fleet.store, trusted="", already=set(), now_ms=NOW_MS) == ([], ["porch", "program"])
