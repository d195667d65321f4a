"""A simulated board answers as EspNet's firmware does, and the client of boards understands it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from espfleet.boards.client import Board
from espfleet.boards.exchange import exchange
from espfleet.errors import BoardClosedError, BoardOtherError, BoardRefusedError, InvalidError
from espfleet.simulator.boards import BoardSimulator, SimulatedBoard, new_boards
from tests.conftest import wait_until


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedBoard]:
    """One board that is being served."""
    simulator = BoardSimulator(new_boards(1))
    running = asyncio.create_task(simulator.run())
    await wait_until(simulator.started.is_set)
    yield next(iter(simulator.boards.values()))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def board_of(simulated: SimulatedBoard, **more: str) -> Board:
    return Board(**{"address": simulated.address, "id": simulated.id, **more})


async def test_a_pin_that_was_set_is_high_until_a_reset(simulated: SimulatedBoard) -> None:
    board = board_of(simulated)
    await asyncio.to_thread(board.set_gpio, [22, 23], 1)
    info = await asyncio.to_thread(board.get_basic)
    assert (info.gpio[22], info.gpio[23], info.gpio[21]) == (1, 1, 0)
    await asyncio.to_thread(board.flip_gpio, 22)
    assert (await asyncio.to_thread(board.get_basic)).gpio[22] == 0
    simulated.electronics.reset()
    assert not any((await asyncio.to_thread(board.get_basic)).gpio.values())


async def test_several_pins_are_switched_all_or_none(simulated: SimulatedBoard) -> None:
    with pytest.raises(BoardRefusedError, match="pin 39 cannot be switched"):
        await asyncio.to_thread(board_of(simulated).set_gpio, [22, 39], 1)
    assert simulated.electronics.pins[22] == 0


async def test_its_sensors_measure_what_they_are_told(simulated: SimulatedBoard) -> None:
    simulated.electronics.warm(18.5)
    simulated.electronics.apply(34, 1234)
    board = board_of(simulated)
    assert (await asyncio.to_thread(board.get_dht22, 4)).temp_c == 18.5
    measured = await asyncio.to_thread(board.read_adc, 34)
    assert (measured.data, measured.ticks_us) == ((1234.0,), 200_000)
    with pytest.raises(BoardRefusedError, match="no DHT22 answers at pin 5"):
        await asyncio.to_thread(board.get_dht22, 5)


async def test_it_can_be_told_its_fleet(simulated: SimulatedBoard) -> None:
    await asyncio.to_thread(board_of(simulated).set_host, "192.0.2.1")
    assert simulated.host == "192.0.2.1"
    with pytest.raises(InvalidError):
        board_of(simulated).set_host("fleet.example")


async def test_a_board_with_a_token_answers_only_to_those_who_show_it(simulated: SimulatedBoard) -> None:
    simulated.token = "secret"
    with pytest.raises(BoardRefusedError, match="set_board_token"):
        await asyncio.to_thread(board_of(simulated).get_basic)
    assert (await asyncio.to_thread(board_of(simulated, token="secret").get_basic)).id == simulated.id
    assert "secret" not in repr(board_of(simulated, token="secret"))


async def test_another_board_at_the_address_is_told_apart(simulated: SimulatedBoard) -> None:
    with pytest.raises(BoardOtherError, match="not 3c71bff93720: has the board another IP now") as refused:
        await asyncio.to_thread(board_of(simulated, id="3c71bff93720").get_basic)
    assert refused.value.device_id == simulated.id


async def test_its_page_shows_its_id_and_temperature(simulated: SimulatedBoard) -> None:
    status, body = await asyncio.to_thread(exchange, "GET", simulated.address, "/ui")
    assert (status, f"<h1>{simulated.id}</h1>".encode() in body, b"board_temp" in body) == (200, True, True)


async def test_a_board_that_is_gone_refuses_the_connection() -> None:
    with pytest.raises(BoardClosedError):
        await asyncio.to_thread(Board(address="127.0.0.1:9").get_basic)
