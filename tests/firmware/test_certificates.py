"""The fleet's own certificates as the real firmware sees them: without a clock, and while they change."""

from __future__ import annotations

import base64
import datetime
import ssl
from pathlib import Path

from espfleet.certificates.contexts import ServerSide
from espfleet.certificates.folder import Folder
from tests.conftest import wait_until
from tests.firmware.servers import serving
from tests.firmware.test_commands import Told
from tests.firmware.test_link import good, green
from tests.firmware.together import Boards, together


def fleet_of(boards: Boards) -> Folder:
    folder = Folder(boards.folder / "fleet", lambda: datetime.datetime.now(datetime.UTC))
    folder.make(["127.0.0.1", "gateway.example"])
    return folder


def tls(folder: Folder) -> ssl.SSLContext:
    return ServerSide(folder.server).context


def put(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def kept(file: Path) -> bytes:
    return file.read_bytes()


@together
async def test_a_lamp_knows_the_gateway_by_the_certificate_that_the_fleet_made(boards: Boards) -> None:
    folder = fleet_of(boards)
    async with serving(good, tls(folder)) as gateway:
        board = boards(gateway=gateway.url)
        (board.folder / "ca.der").write_bytes(folder.for_lamps.read_bytes())
        board.power_on()
        await green(board)


@together
async def test_while_the_authority_changes_lamps_come_in_that_know_the_old_one_the_new_one_or_both(
    boards: Boards,
) -> None:
    folder = fleet_of(boards)
    known = {"old": folder.for_lamps.read_bytes()}
    folder.rotate()
    known["both"] = folder.for_lamps.read_bytes()
    known["new"] = known["both"].removesuffix(known["old"])
    assert known["new"] != known["both"]
    async with serving(good, tls(folder)) as gateway:
        made = [boards(gateway=gateway.url) for _ in known]
        for board, trusted in zip(made, known.values(), strict=True):
            (board.folder / "ca.der").write_bytes(trusted)
            board.power_on()
        for board in made:
            await green(board)


@together
async def test_a_lamp_is_handed_the_new_authority_and_refuses_what_is_none(boards: Boards) -> None:
    folder = fleet_of(boards)
    older = folder.for_lamps.read_bytes()
    board = boards()
    told = Told(board)
    file: Path = board.folder / "ca.der"
    folder.rotate()
    async with serving(told.serve, tls(folder)) as gateway:
        board.set(gateway=gateway.url)
        put(file, older)
        board.power_on()
        await wait_until(lambda: told.peer)
        for nonsense in ("", "bm9uc2Vuc2U=", "###", base64.b64encode(older[:200]).decode()):
            assert "ca must hold" in await told.refused("trust", ca=nonsense)
        assert kept(file) == older
        both = folder.for_lamps.read_bytes()
        assert await told.done("trust", ca=base64.b64encode(both).decode()) == {"bytes": len(both)}
        assert kept(file) == both
    folder.finish()
    async with serving(good, tls(folder)) as gateway:
        board.set(gateway=gateway.url)
        await board.power_off()
        board.power_on()
        await green(board)
