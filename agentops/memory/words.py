"""What of a text can be searched for. Pure.

Both databases index and are asked for what this returns, so that their own tokenizers have nothing left to decide and
the same question finds the same facts on either.
"""

import re
import unicodedata
from typing import Final

MAX_WORD: Final = 64
"""Characters of a word that count: PostgreSQL refuses to be asked for very long ones."""

MAX_ASKED: Final = 32
"""Different words of one question."""

_WORD: Final = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Return the words of a text in order: letters and digits, normalised (NFKC) and without case."""
    return [found[:MAX_WORD] for found in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())]


def asked(query: str) -> list[str]:
    """Return the different words of a question, at most 32, in order."""
    return list(dict.fromkeys(words(query)))[:MAX_ASKED]
