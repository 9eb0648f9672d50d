"""A web process answers a page in one thread, from the signal that it begins to the one that it has ended."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.signals import request_finished, request_started
from django.urls import get_script_prefix

from agentops.handler import TURNS, web_application

HOST = (b"host", b"localhost")


@pytest.fixture
def heard() -> Iterator[list[tuple[str, str, str]]]:
    """Which signals came, in which thread, with which prefix of addresses."""
    told: list[tuple[str, str, str]] = []

    def begin(**_: Any) -> None:
        told.append(("started", threading.current_thread().name, get_script_prefix()))

    def end(**_: Any) -> None:
        told.append(("finished", threading.current_thread().name, get_script_prefix()))

    request_started.connect(begin)
    request_finished.connect(end)
    yield told
    request_started.disconnect(begin)
    request_finished.disconnect(end)


PAGES = 20


async def status_of(application: Any, path: str, **more: Any) -> int:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [HOST], **more}
    conversation: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]
    await conversation.send_input({"type": "http.request"})
    head = await conversation.receive_output(10)
    await conversation.wait(10)
    return int(head["status"])


@pytest.mark.asyncio
async def test_a_page_begins_and_ends_in_one_thread_which_is_kept(heard: list[tuple[str, str, str]]) -> None:
    application = web_application()
    for _ in range(PAGES):
        assert await status_of(application, "/not-there") in (302, 404)
    assert [name for name, _, _ in heard] == ["started", "finished"] * PAGES
    threads = [thread for _, thread, _ in heard]
    assert threads[::2] == threads[1::2]
    # One that has just answered may not be back yet when the next page is asked for.
    assert len(set(threads)) < PAGES / 2
    assert threads[0] != threading.current_thread().name


@pytest.mark.asyncio
async def test_a_thread_that_is_kept_keeps_nothing_of_the_page_before(heard: list[tuple[str, str, str]]) -> None:
    application = web_application()
    await status_of(application, "/below/sign-in-not-there", root_path="/below")
    await status_of(application, "/sign-in-not-there")
    assert [prefix for _, _, prefix in heard] == ["/below/", "/below/", "/", "/"]


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_refused_and_ends_too(heard: list[tuple[str, str, str]]) -> None:
    assert await status_of(web_application(), "/not-there", query_string=b"\xff") == 400
    assert [name for name, _, _ in heard] == ["started", "finished"]


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What requests for /held... wait for."""
    let_go = threading.Event()

    def begin(scope: Any, **_: Any) -> None:
        if scope["path"].startswith("/held"):
            assert let_go.wait(60)

    request_started.connect(begin)
    yield let_go
    let_go.set()
    request_started.disconnect(begin)


@pytest.mark.asyncio
async def test_requests_that_take_long_keep_nobody_from_beginning(held: threading.Event) -> None:
    application = web_application()
    slow = [asyncio.ensure_future(status_of(application, f"/held/{number}")) for number in range(3 * TURNS)]
    await asyncio.sleep(0)
    assert await status_of(application, "/not-there") in (302, 404)
    assert not any(one.done() for one in slow)
    held.set()
    assert len(await asyncio.gather(*slow)) == 3 * TURNS


@pytest.mark.asyncio
async def test_a_browser_that_leaves_gives_its_turn_to_the_next(held: threading.Event) -> None:
    application = web_application()
    gone = [asyncio.ensure_future(status_of(application, "/held")) for _ in range(TURNS)]
    await asyncio.sleep(0.01)
    for one in gone:
        one.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    assert await status_of(application, "/not-there") in (302, 404)
    held.set()
