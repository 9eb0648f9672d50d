"""Print once what is the same again and again but for a few values, which are left blank and filled in each time."""

import re
import secrets
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

Pieces: TypeAlias = tuple[str, ...]
"""Text and the name of a blank in turn, text first and last."""


class Blanks:
    """What stands for values by name. Nobody else can write it: it is drawn anew in each process.

    `given` are blanks that have to have a form of their own, such as that of an id.
    """

    def __init__(self, *names: str, **given: str) -> None:
        self._texts = {name: f"{secrets.token_hex(8)}{name}" for name in names} | given
        self._named = {text: name for name, text in self._texts.items()}
        self._places = re.compile("|".join(map(re.escape, self._texts.values())))

    def __getitem__(self, name: str) -> str:
        """Return the text that stands for a value."""
        return self._texts[name]

    def cut(self, text: str) -> Pieces:
        """Cut what was printed with blanks in it into pieces."""
        return tuple(self._cut(text))

    def _cut(self, text: str) -> Iterator[str]:
        start = 0
        for found in self._places.finditer(text):
            yield text[start : found.start()]
            yield self._named[found.group()]
            start = found.end()
        yield text[start:]


def filled_in(pieces: Pieces, values: Mapping[str, str]) -> SafeString:
    """Fill in the blanks of pieces that a template printed; what is put in is escaped."""
    escaped = {name: conditional_escape(value) for name, value in values.items()}
    texts = [piece if index % 2 == 0 else escaped[piece] for index, piece in enumerate(pieces)]
    return mark_safe("".join(texts))  # noqa: S308 - rendered by a template, with what is escaped above
