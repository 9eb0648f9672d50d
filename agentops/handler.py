"""The ASGI application of a web process: static files, and Django's pages with fewer changes of thread.

Without long collections of garbage.
"""

import gc
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from agentops.static_files import StaticFiles
from agentops.tenancy.links import tenant_urlconf


class Handler(ASGIHandler):
    """Answer a request in one piece, in one thread.

    Nearly every view and the middleware around it are synchronous. Django would go from the thread back to the event
    loop between the two, and back into the thread; on a busy machine each way costs milliseconds. A view that is
    asynchronous (the event stream) still runs on the loop, and its stream does not need the thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self.static_files = StaticFiles()

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request: for a static file at once."""
        file = self.static_files.find(scope["path"]) if scope["type"] == "http" else None
        if file is None:
            await super().__call__(scope, receive, send)
        else:
            await self.static_files.answer(file, scope, send)

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the chain for `get_response`, which is synchronous."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response to one request."""
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)


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
