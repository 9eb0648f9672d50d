"""A web process answers a page in one thread, from the signal that it begins to the one that it has ended."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers import asgi
from django.core.signals import request_finished, request_started
from django.urls import get_script_prefix

from agentops import handler
from agentops.handler import API_BYTES, LINGER_BYTES, PAGE_BYTES, TURNS, UPLOAD_BYTES, web_application
from agentops.regression.recordings import MAX_BYTES as LARGEST_FILE
from agentops.wire.parse import MAX_BYTES as LARGEST_BODY

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


@pytest.mark.django_db
@pytest.mark.asyncio
@pytest.mark.parametrize(
    "kind",
    [
        b"application/json; a*=bogus''x",
        b"multipart/form-data; boundary*=no such''%41",
        b"application/x-www-form-urlencoded; charset=utf-16",
        b"application/x-www-form-urlencoded; charset=idna",
        b"multipart/form-data; boundary=x; charset=hex",
    ],
)
@pytest.mark.parametrize(("path", "status"), [("/sign-in?a=%ff", 403), ("/api/v1/agent/run", 401), ("/api/v2", 404)])
async def test_a_media_type_in_another_character_set_is_none(path: str, status: int, kind: bytes) -> None:
    headers = [HOST, (b"content-type", kind), (b"content-length", b"0"), (b"cookie", b"csrftoken=" + b"a" * 32)]
    more = {"method": "POST", "headers": headers, "query_string": path.partition("?")[2].encode()}
    assert await status_of(web_application(), path.partition("?")[0], **more) == status


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


PIECE = b"x" * 65_536


async def sent_to(path: str, pieces: int, root_path: str = "") -> tuple[int, str, int]:
    """Send a body of so many pieces that never ends; return status, media type and how many pieces were taken."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{root_path}{path}",
        "root_path": root_path,
        "query_string": b"",
        "headers": [HOST, (b"content-type", b"application/json"), (b"content-length", str(10**12).encode())],
    }
    taken, told = 0, asyncio.Event()
    answer: dict[str, Any] = {}

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if taken == pieces:
            await told.wait()
            return {"type": "http.disconnect"}
        taken += 1
        return {"type": "http.request", "body": PIECE, "more_body": True}

    async def send(message: Any) -> None:
        answer.update(message)
        if message["type"] == "http.response.body":
            told.set()

    await asyncio.wait_for(web_application()(scope, receive, send), 20)
    kinds = [value.decode() for name, value in answer["headers"] if name.lower() == b"content-type"]
    return int(answer["status"]), kinds[0].partition(";")[0], taken


@pytest.mark.django_db
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "most", "status", "kind"),
    [
        ("/api/v1/agent/run", API_BYTES, 401, "application/problem+json"),
        ("/api/v2", API_BYTES, 404, "application/problem+json"),
        ("/sign-in", PAGE_BYTES, 403, "text/html"),
        ("/t/acme/runs/imports", UPLOAD_BYTES, 302, "text/html"),
    ],
)
async def test_a_body_without_end_is_neither_kept_nor_listened_to(
    path: str, most: int, status: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []

    class Counted(tempfile.SpooledTemporaryFile[bytes]):
        def write(self, piece: Any) -> int:
            kept.append(len(piece))
            return super().write(piece)

    for module in (handler, asgi.tempfile):  # type: ignore[attr-defined]  # whichever keeps it
        monkeypatch.setattr(module, "SpooledTemporaryFile", Counted)
    found = await sent_to(path, 2 * (UPLOAD_BYTES + LINGER_BYTES) // len(PIECE))
    assert found[:2] == (status, kind)
    assert found[2] * len(PIECE) <= most + LINGER_BYTES + len(PIECE)
    assert sum(kept) <= most


@pytest.mark.django_db
@pytest.mark.asyncio
async def test_the_bound_is_that_of_the_address_below_a_prefix() -> None:
    status, _, taken = await sent_to("/t/acme/runs/imports", 4 * UPLOAD_BYTES // len(PIECE), "/desk")
    assert status == 302
    assert UPLOAD_BYTES < taken * len(PIECE) <= UPLOAD_BYTES + LINGER_BYTES + len(PIECE)


def test_every_form_says_itself_that_a_file_is_too_large() -> None:
    assert API_BYTES > LARGEST_BODY
    assert UPLOAD_BYTES > LARGEST_FILE + 65_536
