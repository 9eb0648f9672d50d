"""Pages go out compressed; streams and what programs read do not."""

import gzip

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory

from agentops.compression import PageCompressionMiddleware

TEXT = "a page of some length " * 40


def answered(response: HttpResponseBase, accepts: str = "gzip, br") -> HttpResponseBase:
    request = RequestFactory().get("/", headers={"Accept-Encoding": accepts})
    return PageCompressionMiddleware(lambda _: response).process_response(request, response)


def test_a_page_is_compressed_for_those_who_take_it() -> None:
    page = answered(HttpResponse(TEXT))
    assert isinstance(page, HttpResponse)
    assert gzip.decompress(page.content).decode() == TEXT
    assert "Accept-Encoding" in page.headers["Vary"]
    assert "Content-Encoding" not in answered(HttpResponse(TEXT), accepts="identity").headers


@pytest.mark.parametrize(
    "response",
    [
        HttpResponse(TEXT, content_type="application/json"),
        StreamingHttpResponse([TEXT], content_type="text/event-stream"),
        StreamingHttpResponse([TEXT], content_type="text/html"),
    ],
)
def test_nothing_else_is(response: HttpResponseBase) -> None:
    assert "Content-Encoding" not in answered(response).headers
