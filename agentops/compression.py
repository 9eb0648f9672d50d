"""Pages are compressed on their way out; everything else is left as it is."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware


class PageCompressionMiddleware(GZipMiddleware):
    """Compress HTML for browsers that take it, with Django's random padding against guessing by length (BREACH).

    An event stream must not wait for a compressor, an API client can bring its own proxy, and static files come
    compressed from WhiteNoise.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Compress a page or a fragment of one."""
        if response.streaming or not response.headers.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)
