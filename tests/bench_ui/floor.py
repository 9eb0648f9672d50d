"""The floor: a page of a few words without style or script, served by the same kind of server on the same machine."""

from collections.abc import Awaitable, Callable
from typing import Any

PAGE = (
    b"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Floor</title><p>The least that a page can be.</p></html>"
)
HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-length", str(len(PAGE)).encode()),
    (b"cache-control", b"no-store"),
]


async def application(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """Answer every request with the page."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": PAGE})
