"""How a lamp starts, stops, and comes back from what should never happen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re

from tests.conftest import wait_until
from tests.firmware.boards import RESET, Board
from tests.firmware.servers import CLOSE, Peer, serving
from tests.firmware.together import Boards, together


def dark(board: Board) -> bool:
    """Tell whether all LEDs are off and their pins outputs that are low."""
    tail = [line for line in board.lines if line.startswith(("@pwm", "@deinit", "@pin"))]
    low = {f"@pin {pin} 0" for pin in (18, 19, 4)}
    return low <= {line.rpartition(" ")[0] for line in tail[-9:]} and board.light() == (0, 0, 0)


@together
async def test_ctrl_c_leaves_a_dark_light_and_says_goodbye(boards: Boards) -> None:
    goodbyes: list[bytes] = []

    async def server(peer: Peer) -> None:
        await peer.welcome()
        levels = asyncio.create_task(peer.levels(100))
        try:
            while True:
                opcode, data = await peer.frame()
                if opcode == CLOSE:
                    goodbyes.append(data)
        finally:
            levels.cancel()

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await board.line("@pwm 4 65535", timeout_s=30)
        board.interrupt()
        await board.line("The lamp is off. Ctrl-D starts it again.")
        await wait_until(lambda: board.exit_code == 0)
        assert dark(board)
        assert not [line for line in board.lines if line.startswith("@watchdog")]
        await wait_until(lambda: goodbyes == [b"\x03\xe9"])


@together
async def test_after_ctrl_c_there_is_a_prompt_that_works(boards: Boards) -> None:
    """On a terminal, for that is where somebody presses Ctrl-C."""
    ours, theirs = pty.openpty()
    firmware = boards.firmware
    command = firmware.command(firmware.folder / "main.py")
    process = await asyncio.create_subprocess_exec(
        command[0], "-i", *command[1:], cwd=boards.folder, env=firmware.environment(boards.folder),
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)
    said = b""

    def says(text: bytes) -> bool:
        nonlocal said
        with contextlib.suppress(BlockingIOError):
            said += os.read(ours, 65_536)
        return text in said

    try:
        await wait_until(lambda: says(b"no settings"))
        process.send_signal(2)
        await wait_until(lambda: says(b"The lamp is off"))
        await wait_until(lambda: says(b">>> "))
        os.write(ours, b"import asyncio; print(6 * 7 * asyncio.run(asyncio.Lock().acquire()))\r")
        await wait_until(lambda: says(b"\n42\r"))
        os.write(ours, b"\x04")
        await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)


@together
async def test_a_lamp_that_is_told_to_restart_says_so_in_its_next_hello(boards: Boards) -> None:
    hellos = []
    results = []

    async def server(peer: Peer) -> None:
        hellos.append(await peer.welcome())
        if len(hellos) == 1:
            await peer.say({"type": "command", "id": "c-1", "action": "reboot", "arguments": {}, "expires_ms": 5_000})
            results.append(await peer.hear("result"))
            while (found := await peer.frame())[0] != CLOSE:
                pass
            assert found[1] == b"\x03\xe9"
            return
        await peer.levels(0)

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: len(hellos) == 2)
    assert results == [{"type": "result", "id": "c-1", "ok": True, "data": {}}]
    assert [hello["boot"] for hello in hellos] == [
        {"reason": "power-on", "count": 1},
        {"reason": "reboot", "count": 2},
    ]
    assert dark(board) or board.starts == 2


@together
async def test_a_task_that_crashes_restarts_the_lamp_and_the_gateway_is_told_why(boards: Boards) -> None:
    hellos = []

    async def server(peer: Peer) -> None:
        hellos.append(await peer.welcome())
        await peer.levels(100)

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await board.line("@pwm 4 65535", timeout_s=30)
        board.world("fault", "pwm")
        await board.line(r"lamp: light: machine.py:\d+ RuntimeError: the hardware is broken")
        await board.line("@reset")
        board.world("fault", "")
        await wait_until(lambda: len(hellos) == 2)
    assert hellos[1]["boot"]["count"] >= 2
    assert hellos[1]["boot"]["reason"].startswith("light: machine.py:")
    assert hellos[1]["boot"]["reason"].endswith("RuntimeError: the hardware is broken")
    assert len(hellos[1]["boot"]["reason"]) <= 64


@together
async def test_a_lamp_that_cannot_even_start_tries_again_ever_more_seldom(boards: Boards) -> None:
    board = boards()
    board.world("fault", "pwm")
    board.power_on()
    await wait_until(lambda: board.starts == 3)
    _, crashes, why, _ = json.loads((board.folder / "rtc").read_text())
    assert crashes >= 2
    assert why == "" or "the hardware is broken" in why
    board.world("fault", "")
    await board.line("light: no settings", timeout_s=30)


@together
async def test_a_task_that_makes_no_progress_is_found_out(boards: Boards) -> None:
    for how, says in (
        ("hangs", "bad hangs"),
        ("ends", "bad: ended"),
        ("fails", r"bad: supervise.py:\d+ ValueError: no good"),
    ):
        out = await boards.firmware.run("supervise.py", how, folder=boards.folder)
        (told,) = [line for line in out.splitlines() if line.startswith("@fail")]
        assert re.fullmatch(f"@fail {says}", told)


@together
async def test_the_watchdog_restarts_what_stands_still(boards: Boards) -> None:
    """The hardware does it; what is left to the lamp is to say so afterwards."""
    hellos = []

    async def server(peer: Peer) -> None:
        hellos.append(await peer.welcome())
        await peer.levels(0)

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: hellos)
        await board.power_off()
        board.world("cause", "3")
        board.restart()
        await wait_until(lambda: len(hellos) == 2)
    assert hellos[1]["boot"] == {"reason": "watchdog", "count": 2}


@together
async def test_a_frozen_lamp_is_no_trouble_when_it_thaws(boards: Boards) -> None:
    async def server(peer: Peer) -> None:
        await peer.welcome()
        await peer.levels(0)

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url)
        board.power_on()
        await board.line("light: level")
        board.signal(19)
        await asyncio.sleep(2.5)
        before = len(board.lines)
        board.signal(18)
        # Whether it shows itself as stale first depends on what it comes to first, the light or what waits to be read.
        await wait_until(lambda: len(board.lines) > before)
        await wait_until(lambda: [line for line in board.lines if " light: " in line][-1].endswith("light: level"))
        assert board.exit_code in (None, RESET)
        assert board.starts == 1
