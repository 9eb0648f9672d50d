"""Static files: put together where they are collected, answered before Django, with what browsers have to be told."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.staticfiles import finders
from django.core.signals import request_started
from django.template import engines

from agentops.handler import web_application
from agentops.static_files import BUNDLES, PIECE, BundledStorage, StaticFiles, spare

ROOT = Path(__file__).resolve().parents[2]
CARD = ROOT / "static" / "js" / "card.js"
SOURCES = [ROOT / "static" / name for names in BUNDLES.values() for name in names]
LARGE = Path(str(finders.find("django_htmx/htmx-2.js"))).read_bytes()


def asked(path: str, method: str = "GET", **headers: str) -> Any:
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    return ApplicationCommunicator(web_application(), scope)  # type: ignore[no-untyped-call]


async def answered(conversation: Any) -> tuple[int, dict[str, str], bytes]:
    await conversation.send_input({"type": "http.request"})
    head = await conversation.receive_output(10)
    body, more = b"", True
    while more:
        piece = await conversation.receive_output(10)
        body, more = body + piece["body"], piece.get("more_body", False)
    await conversation.wait(10)
    return head["status"], {name.decode().lower(): value.decode() for name, value in head["headers"]}, body


@pytest.fixture
def started() -> Iterator[list[Any]]:
    """What Django began to answer."""
    heard: list[Any] = []

    def hear(**sent: Any) -> None:
        heard.append(sent)

    request_started.connect(hear)
    yield heard
    request_started.disconnect(hear)


@pytest.mark.asyncio
async def test_a_file_is_answered_without_django(started: list[Any]) -> None:
    status, headers, body = await answered(asked("/static/js/card.js"))
    assert (status, body) == (200, CARD.read_bytes())
    assert int(headers["content-length"]) == len(body)
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert started == []


@pytest.mark.asyncio
async def test_a_file_larger_than_a_piece_comes_whole() -> None:
    _, _, body = await answered(asked("/static/django_htmx/htmx-2.js"))
    assert body == LARGE
    assert len(body) > PIECE


@pytest.mark.asyncio
async def test_what_a_browser_has_is_not_sent_again(started: list[Any]) -> None:
    _, headers, _ = await answered(asked("/static/js/card.js"))
    status, _, body = await answered(asked("/static/js/card.js", if_none_match=headers["etag"]))
    assert (status, body) == (304, b"")
    status, headers, body = await answered(asked("/static/js/card.js", "HEAD"))
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) == CARD.stat().st_size
    assert (await answered(asked("/static/js/card.js", "POST")))[0] == 405
    assert started == []


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/static/js/none.js", "/static/../agentops/settings.py", "/static/js/", "/static"])
async def test_what_is_no_file_is_left_to_django(path: str, started: list[Any]) -> None:
    status, _, _ = await answered(asked(path, host="localhost"))
    assert status in (302, 404)
    assert len(started) == 1


@pytest.mark.asyncio
async def test_browsers_are_told_to_come_back_over_https(settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS = 60
    _, headers, _ = await answered(asked("/static/js/card.js"))
    assert headers["strict-transport-security"].startswith("max-age=60;")


def test_the_synchronous_site_answers_files_too() -> None:
    def pages(environ: Any, start_response: Any) -> list[bytes]:
        return [b"a page"]

    site = StaticFiles().before(pages)
    told: list[Any] = []

    def get(path: str) -> bytes:
        environ: dict[str, Any] = {"PATH_INFO": path}
        setup_testing_defaults(environ)
        answer: Any = site(environ, lambda *head: told.append(head))  # type: ignore[arg-type]
        body = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        return body

    assert get("/static/js/card.js") == CARD.read_bytes()
    assert told[0][0] == "200 OK"
    assert get("/healthz") == b"a page"


# --- Bundles ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def collected(tmp_path: Path, settings: Any) -> BundledStorage:
    """Collect our own files."""
    settings.STATIC_ROOT = str(tmp_path)
    storage = BundledStorage()
    paths: dict[str, Any] = {}
    for finder in finders.get_finders():
        for path, found in finder.list(["admin", "drf_spectacular_sidecar", "rest_framework", "django_htmx"]):
            if Path(found.path(path)).is_relative_to(ROOT / "static"):
                with found.open(path) as file:
                    storage.save(path, file)
                paths[path] = (found, path)
    for _, _, failed in storage.post_process(paths):
        assert not isinstance(failed, Exception)
    return storage


def first_code_of(path: Path) -> str:
    """The first line of a file that is no comment and no frame around the rest, as it stands in a bundle."""
    lines = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL).split("\n")
    return next(line.strip() for line in lines if line.strip() not in ("", '"use strict";', "(() => {"))


def test_what_is_for_readers_is_left_out_of_a_bundle_and_nothing_else() -> None:
    text = b"/* Words\n   of two lines. */\n@layer a {\n\n  /* -- One { -- */\n  .b { color: red; } /* kept */\n}\n"
    assert spare(text) == b"@layer a {\n.b { color: red; } /* kept */\n}\n"
    assert spare(b'const a = "x /* y */";\n  // z\n') == b'const a = "x /* y */";\n// z\n'


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_text_of_ours_spans_lines(path: Path) -> None:
    """Otherwise a bundle would change it."""
    code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    for line in code.split("\n"):
        assert line.count("`") % 2 == 0
        assert not line.endswith("\\")


def test_a_bundle_is_its_files_in_their_order_under_a_name_of_its_own(collected: BundledStorage) -> None:
    for bundle, names in BUNDLES.items():
        stored = collected.stored_name(bundle)
        assert stored != bundle
        with collected.open(stored) as file:
            text = file.read().decode()
        assert text.startswith(first_code_of(ROOT / "static" / names[0]))
        at = 0
        for name in names:
            at = text.index(first_code_of(ROOT / "static" / name), at) + 1
        assert "/*" not in text
        assert gzip.decompress(Path(f"{collected.path(stored)}.gz").read_bytes()).decode() == text
    with collected.open(collected.stored_name("css/desk.css")) as file:
        [font] = [line for line in file.read().decode().splitlines() if "@font-face" in line]
    assert "ascii-400-normal.woff2" not in font


def test_a_bundle_made_anew_leaves_nothing_of_the_old_one(collected: BundledStorage) -> None:
    before = collected.stored_name("js/pages.js")
    other = BUNDLES["js/pages.js"][0]
    changed = Path(collected.path(other))
    changed.write_text("window.changed = 1;")
    paths = {name: (collected, name) for names in BUNDLES.values() for name in names}
    fonts = [f"fonts/{path.name}" for path in (ROOT / "static" / "fonts").glob("*.woff2")]
    paths |= {name: (collected, name) for name in fonts}
    assert list(collected.post_process(paths))
    after = collected.stored_name("js/pages.js")
    assert after != before
    assert Path(collected.path(after)).read_text().startswith("window.changed = 1;")


def test_pages_ask_for_the_bundle_where_files_are_collected_and_for_its_files_elsewhere(settings: Any) -> None:
    page = engines["django"].from_string('{% load bundles %}{% styles "css/desk.css" %}{% scripts "js/pages.js" %}')
    text = page.render()
    for names in BUNDLES.values():
        for name in names:
            assert f'"/static/{name}"' in text
    settings.STATIC_ROOT = "/somewhere"
    assert page.render() == (
        '<link rel="stylesheet" href="/static/css/desk.css"><script src="/static/js/pages.js" defer></script>'
    )
