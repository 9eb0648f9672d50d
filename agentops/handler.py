"""The ASGI application of a web process: static files, and Django's pages with fewer changes of thread.

Without long collections of garbage.
"""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, cast

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix
from django.utils.http import parse_header_parameters

from agentops.static_files import StaticFiles
from agentops.tenancy.links import tenant_urlconf
from agentops.wire.parse import MAX_BYTES

THREADS: Final = 64
"""So many requests of one process can be under way; more wait for their turn. Open streams need no thread."""

SWITCH_S: Final = 0.0005
"""How long a thread may go on while others wait for their turn. A page asks the database a dozen times, and after each
answer it would wait for whole turns of the others, which are ten times as long by default.
"""

TURNS: Final = 2
TURN_S: Final = 0.05
"""So many requests of one process begin at a time, first come first served, and have so long until the next begins
whether they are done or not. If all began at once, each would wait for all others in the middle of its work, and some
far longer than the rest; two keep the processor busy while one of them waits for the database. Where that is many
milliseconds away, more processes do.
"""

API_BYTES: Final = MAX_BYTES + 1
PAGE_BYTES: Final = 2 * 1024 * 1024 + 512 * 1024 + 1
UPLOAD_BYTES: Final = 33 * 1024 * 1024
"""So much of a body is kept: below `/api/`, for pages of no tenant, and below `/t/`, where people import files. It is
more than any view takes, so that the view is what says that it is too large, to whoever may know.
"""

LINGER_BYTES: Final = 8 * 1024 * 1024
"""So much more is listened to and thrown away: who hears nothing while sending may never read the answer."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Handler(ASGIHandler):
    """Answer a request in one piece, in one thread.

    Nearly every view and the middleware around it are synchronous. Django would start a thread for each request, and go
    there and back for each part of it: the signal that it begins, the middleware, its view, the signal that it has
    ended. On a busy machine each way costs milliseconds. Here threads are kept, and one way there and back is all. A
    view that is asynchronous (the event stream) still runs on the loop, and its stream does not need the thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self.static_files = StaticFiles()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        self._turns = asyncio.Semaphore(TURNS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: for a static file at once."""
        file = self.static_files.find(scope["path"]) if scope["type"] == "http" else None
        if file is None:
            await super().__call__(scope, receive, send)
        else:
            await self.static_files.answer(file, scope, send)

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the chain for `get_response`, which is synchronous."""
        super().load_middleware(is_async=False)

    def create_request(
        self, scope: Mapping[str, Any], body_file: IO[bytes]
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponseBase]:
        """Return the request, or the answer to one that cannot be read.

        A media type that cannot be read, or names another character set than UTF-8, is none; Django would fail, here
        or when the form is read.
        """
        headers = [one for one in scope["headers"] if one[0] != b"content-type" or _readable(one[1])]
        return super().create_request({**scope, "headers": headers}, body_file)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a page; a stream ends when nobody listens any more."""
        try:
            body = await self._read(receive, _most(scope["path"].removeprefix(scope.get("root_path", ""))))
        except RequestAborted:
            return
        try:
            response = await self._in_turn(scope, body)
            if response.streaming:
                await self._stream(response, receive, send)
            else:
                await self.send_response(response, send)
        finally:
            body.close()

    async def _read(self, receive: Receive, most: int) -> IO[bytes]:
        """Return the body, of one that is larger than `most` bytes the beginning. Raises RequestAborted.

        Django would keep all of it, in memory and then on the disk, before anybody is asked who sends it.
        """
        body = SpooledTemporaryFile(settings.FILE_UPLOAD_MAX_MEMORY_SIZE)  # noqa: SIM115 - `handle` closes it
        come, more = 0, True
        while more and come <= most + LINGER_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                body.close()
                raise RequestAborted
            piece = message.get("body", b"")
            if come < most:
                body.write(piece[: most - come])
            come += len(piece)
            more = message.get("more_body", False)
        body.seek(0)
        return cast(IO[bytes], body)

    async def _in_turn(self, scope: Scope, body: IO[bytes]) -> HttpResponseBase:
        answer = sync_to_async(self._answer, thread_sensitive=False, executor=self._threads)
        async with self._turns:
            answering = asyncio.ensure_future(answer(scope, body))
            try:
                await asyncio.wait((answering,), timeout=TURN_S)
            except asyncio.CancelledError:
                answering.cancel()
                raise
        return await answering

    def _answer(self, scope: Scope, body: IO[bytes]) -> HttpResponseBase:
        """Return the response to one request, whose thread is free again: a stream is closed by whoever sends it."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refused = self.create_request(scope, body)
        response: Any = self.get_response(request) if request is not None else refused
        response._handler_class = self.__class__  # noqa: SLF001 - as Django's own does
        if not response.streaming:
            response.close()
        return cast(HttpResponseBase, response)

    async def _stream(self, response: HttpResponseBase, receive: Receive, send: Send) -> None:
        """Send a response that has no end of its own until it has one or the browser has gone."""
        sending = asyncio.create_task(self.send_response(response, send))
        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            ended = await asyncio.gather(sending, leaving, return_exceptions=True)
            await sync_to_async(response.close)()
        if isinstance(ended[0], Exception):
            raise ended[0]


def _readable(media_type: bytes) -> bool:
    if b";" not in media_type:
        return True
    try:
        _, parameters = parse_header_parameters(media_type.decode("latin-1"))
    except ValueError:
        return False
    return parameters.get("charset", "utf-8").lower() in {"utf-8", "utf8"}


def _most(path: str) -> int:
    if path.startswith("/t/"):
        return UPLOAD_BYTES
    return API_BYTES if path == "/api" or path.startswith("/api/") else PAGE_BYTES


def web_application() -> Handler:
    """Set Django up and return the application."""
    django.setup(set_prefix=False)
    return Handler()


def settle() -> None:
    """Leave what is loaded by now, and stays until the process ends, out of every later garbage collection.

    A collection that looks at all of it takes a tenth of a second, in the middle of somebody's request.
    """
    import_module(tenant_urlconf())
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    sys.setswitchinterval(SWITCH_S)
