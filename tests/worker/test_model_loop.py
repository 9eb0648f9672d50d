"""One loop thread per process: bounded, counted, stopped without leaving anything behind."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from agentops.worker import model_loop


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    model_loop.close()
    yield
    model_loop.close()


class Gate:
    """Something to wait at; counts who is there."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.open: asyncio.Event | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    async def wait(self, value: int = 0) -> int:
        self.loop = asyncio.get_running_loop()
        self.open = self.open or asyncio.Event()
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.open.wait()
        finally:
            self.inside -= 1
        return value

    def let_all_in(self) -> None:
        assert self.open is not None
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.open.set)


def until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_no_more_than_the_bound_run_at_once_and_the_others_follow(settings: Any) -> None:
    settings.MODEL_IN_FLIGHT = 3
    gate = Gate()
    waiting: list[Future[int]] = [model_loop.submit(gate.wait(number)) for number in range(8)]
    until(lambda: gate.inside == 3)
    assert (model_loop.in_flight(), model_loop.room()) == (8, 0)
    waiting[0].cancel()
    gate.let_all_in()
    assert [future.result(30) for future in waiting[1:]] == [1, 2, 3, 4, 5, 6, 7]
    assert gate.most == 3
    until(lambda: model_loop.in_flight() == 0)
    assert model_loop.room() == 3


def test_what_is_cancelled_before_its_turn_never_begins_and_is_not_counted(settings: Any) -> None:
    settings.MODEL_IN_FLIGHT = 1
    gate = Gate()
    first = model_loop.submit(gate.wait())
    until(lambda: gate.inside == 1)
    never = model_loop.submit(gate.wait())
    never.cancel()
    until(lambda: model_loop.in_flight() == 1)
    first.cancel()
    until(lambda: model_loop.in_flight() == 0)
    assert gate.most == 1


def test_closing_cancels_what_is_in_flight_and_stops_the_thread(settings: Any) -> None:
    gate = Gate()
    ended: list[str] = []

    async def close_connections() -> None:
        ended.append("connections")

    model_loop.on_close(close_connections)
    future = model_loop.submit(gate.wait())
    until(lambda: gate.inside == 1)
    model_loop.close()
    with pytest.raises(CancelledError):
        future.result(0)
    assert gate.inside == 0
    assert ended == ["connections"]
    assert model_loop.THREAD_NAME not in {thread.name for thread in threading.enumerate()}
    assert model_loop.in_flight() == 0


def test_a_failure_comes_back_to_whoever_asked() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        model_loop.submit(fail()).result(30)
