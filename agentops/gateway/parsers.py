"""Request bodies: strict JSON, bounded before it is read."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from agentops.wire.parse import JSON, MAX_BYTES, parse_json


class StrictJSONParser(BaseParser):
    """Parse a body with `wire.parse.parse_json`; raises `WireError`.

    At most one byte more than allowed is read, whatever the body's length is said to be.
    """

    media_type = "application/json"

    def parse(  # type: ignore[override] # the stubs know objects only, and any JSON value may come
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> JSON:
        """Return the JSON value."""
        return parse_json(stream.read(MAX_BYTES + 1))
