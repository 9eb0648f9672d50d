"""Names that look like other names: letters of other alphabets, digits for letters, one letter changed. Pure.

After UTS 39: two names are confusable when their skeletons are equal. A name that is one letter away from a known one
counts as well, because that is how it is usually done.
"""

import contextlib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from confusable_homoglyphs import confusables


def _letters() -> dict[int, str]:
    """Return the ASCII letter or digit that each other character of the Unicode confusables is drawn like."""
    letters: dict[int, str] = {}
    for char, alike in confusables.confusables_data.items():
        drawn = [one["c"] for one in alike if len(one["c"]) == 1 and one["c"].isascii() and one["c"].isalnum()]
        if len(char) == 1 and not char.isascii() and drawn:
            letters[ord(char)] = min(drawn, key=lambda latin: (not latin.isalpha(), latin)).lower()
    return letters


_LETTERS: Final = _letters() | {
    ord("0"): "o",
    ord("1"): "l",
    ord("|"): "l",
    ord("3"): "e",
    ord("5"): "s",
}
_GROUPS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("nn", "m"))
_SHORTEST: Final = 5
MAX_CHARS: Final = 253


@lru_cache(maxsize=4096)
def skeleton(name: str) -> str:
    """Return what a name looks like in plain Latin letters; names that look alike have the same skeleton."""
    drawn = _decoded(name[:MAX_CHARS]).translate(_LETTERS).casefold().translate(_LETTERS)
    folded = unicodedata.normalize("NFKD", drawn)
    plain = "".join(char for char in folded if not unicodedata.combining(char))
    for written, seen in _GROUPS:
        plain = plain.replace(written, seen)
    return plain


def looks_like(name: str, known: Iterable[str]) -> str:
    """Return the first known name that this one could be taken for, or nothing; a known name is not a look-alike."""
    wanted, names = name.casefold(), sorted({one.casefold() for one in known})
    if wanted in names:
        return ""
    seen = skeleton(wanted)
    for one in names:
        if skeleton(one) == seen:
            return one
    for one in names:
        if len(one) >= _SHORTEST and _one_edit_apart(wanted, one):
            return one
    return ""


def _decoded(name: str) -> str:
    """Turn the labels of an internationalised domain back into the letters they stand for."""
    labels = []
    for label in name.split("."):
        if label.lower().startswith("xn--"):
            with contextlib.suppress(UnicodeError, ValueError):
                label = label[4:].encode("ascii").decode("punycode")
        labels.append(label)
    return ".".join(labels)


def _one_edit_apart(one: str, other: str) -> bool:
    """Say whether one letter was changed, added, left out or swapped with its neighbour. Linear."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    rest, others = one[start:], other[start:]
    swapped = rest[:2] == others[1::-1] and rest[2:] == others[2:] and len(rest) > 1
    return swapped or rest[1:] == others[1:] or rest[1:] == others or rest == others[1:]
