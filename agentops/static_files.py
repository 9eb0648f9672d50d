"""Styles, scripts and fonts: put together where they are collected, and answered before Django is asked."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from functools import cache
from typing import Any, Final
from wsgiref.headers import Headers
from wsgiref.types import WSGIApplication

from django.conf import settings
from django.core.files.base import ContentFile
from whitenoise.base import WhiteNoise
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage
from whitenoise.string_utils import decode_path_info

PIECE = 2**16
BUNDLES: Final[Mapping[str, tuple[str, ...]]] = {
    "css/desk.css": (
        "css/base.css",
        "css/tokens.css",
        "css/layout.css",
        "css/frame.css",
        "css/components.css",
        "css/queue.css",
        "css/states.css",
    ),
    "js/pages.js": ("js/desk.js", "js/list.js", "js/keys.js", "js/live.js", "js/card.js"),
}
"""Name -> the files that every page of the desk asks for together, in this order."""
_FOR_READERS: Final = re.compile(rb"^(?:\s+|/\*.*?\*/)+", re.MULTILINE | re.DOTALL)


class BundledStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Collected files under names that change with what is in them, compressed, and with the bundles among them.

    A browser that knows nothing yet pays for every file: a request, a turn of the server, a place in one of its six
    connections. Addresses are looked up once in a process: a page prints a dozen, and they stay as they are collected.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._address = cache(super().url)

    def url(self, name: str, force: bool = False) -> str:
        """Return the address of a file."""
        return str(self._address(name, force))

    def post_process(self, paths: dict[str, Any], dry_run: bool = False, **options: Any) -> Iterator[Any]:
        """Write the bundles, then do with them what is done with every file."""
        if not dry_run:
            for bundle, names in BUNDLES.items():
                text = b"\n".join(spare(_content(*paths[name])) for name in names)
                self.delete(bundle)
                self.save(bundle, ContentFile(text))
                paths[bundle] = (self, bundle)
        yield from super().post_process(paths, dry_run=dry_run, **options)


def spare(text: bytes) -> bytes:
    """Return a style sheet or a script without what is for its readers: comments that begin a line, and indentation.

    What spans several lines in our own files is code and nothing else, so the beginning of a line is never in a text.
    """
    return _FOR_READERS.sub(b"", text)


def _content(storage: Any, path: str) -> bytes:
    with storage.open(path) as file:
        return bytes(file.read())


def parts(bundle: str) -> tuple[str, ...]:
    """Return the files to ask for to have a bundle: itself where files are collected, elsewhere what it is made of."""
    return (bundle,) if settings.STATIC_ROOT else BUNDLES[bundle]


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """WhiteNoise without Django around it.

    As middleware it would take its turn in the one thread that answers pages: a dozen files, each behind whatever page
    is being made.
    """

    def __init__(self) -> None:
        super().__init__(None)

    def add_cache_headers(self, headers: Headers, path: str, url: str) -> None:
        """Say how long a file is good for, and of what a page tells browsers that which can matter for a file."""
        super().add_cache_headers(headers, path, url)
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = settings.SECURE_REFERRER_POLICY
        headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
        if settings.SECURE_HSTS_SECONDS:
            headers["Strict-Transport-Security"] = f"max-age={settings.SECURE_HSTS_SECONDS}; includeSubDomains; preload"

    def before(self, application: WSGIApplication) -> WSGIApplication:
        """Return the WSGI application that answers for the files, and lets another answer everything else."""

        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            file = self.find(decode_path_info(environ.get("PATH_INFO", "")))
            if file is None:
                return application(environ, start_response)
            return WhiteNoise.serve(file, environ, start_response)

        return answer

    def find(self, path: str) -> Any:
        """Return the file at a path, or None."""
        return self.find_file(path) if self.autorefresh else self.files.get(path)

    async def answer(
        self, file: Any, scope: Mapping[str, Any], send: Callable[[Mapping[str, Any]], Awaitable[None]]
    ) -> None:
        """Answer a request for a file that was found. It is small and local: reading it does not hold the loop up."""
        asked = {b"HTTP_" + name.upper().replace(b"-", b"_"): value for name, value in scope["headers"]}
        meta = {name.decode("latin-1"): value.decode("latin-1") for name, value in asked.items()}
        response = file.get_response(scope["method"], meta)
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
        if response.file is None:
            await send({"type": "http.response.body", "body": b""})
            return
        with closing(response.file) as opened:
            piece = opened.read(PIECE)
            while True:
                following = opened.read(PIECE)
                await send({"type": "http.response.body", "body": piece, "more_body": bool(following)})
                if not following:
                    return
                piece = following
