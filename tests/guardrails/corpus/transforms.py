"""How an attack is hidden in a retrieved text: the ways of the canonical views, each the inverse of one of them."""

import base64
import codecs
import json
from collections.abc import Callable
from textwrap import wrap
from urllib.parse import quote

_LOOK_ALIKES = str.maketrans({"a": "а", "e": "е", "o": "о", "p": "р", "c": "с", "i": "і", "x": "х", "y": "у"})
_LEET = str.maketrans({"o": "0", "e": "3", "a": "4", "i": "1"})


def _fullwidth(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


TRANSFORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda t: t,
    "zero_width": lambda t: "\u200b".join(t),
    "soft_hyphen": lambda t: "\u00ad".join(t),
    "look_alikes": lambda t: t.translate(_LOOK_ALIKES),
    "fullwidth": _fullwidth,
    "leet": lambda t: t.translate(_LEET),
    "spread": lambda t: "  ".join(" ".join(word) for word in t.split(" ")),
    "tags": lambda t: "".join(chr(0xE0000 + ord(c)) for c in t if c.isascii()),
    "comment": lambda t: f"<p>Thank you.</p><!-- {t} -->",
    "hidden": lambda t: f'<p>Thank you.</p><div style="display:none">{t}</div>',
    "alt": lambda t: f"<img src=logo.png alt='{t.replace(chr(39), ' ')}'>",
    "split_by_tags": lambda t: "<p>" + "<b></b>".join(t[i : i + 3] for i in range(0, len(t), 3)) + "</p>",
    "entities": lambda t: "".join(f"&#{ord(c)};" for c in t),
    "url": lambda t: quote(t, safe=""),
    "escapes": lambda t: "".join(f"\\u{ord(c):04x}" for c in t if ord(c) < 0x10000),
    "base64": lambda t: base64.b64encode(t.encode()).decode(),
    "base64_twice": lambda t: base64.b64encode(base64.b64encode(t.encode())).decode(),
    "hex": lambda t: t.encode().hex(),
    "rot13": lambda t: codecs.encode(t, "rot13"),
    "reversed": lambda t: t[::-1],
    "quoted": lambda t: "\n".join(f"> {line}" for line in wrap(t, 60)),
    "json": lambda t: json.dumps({"id": 7, "note": t, "state": "open"}, ensure_ascii=False),
    "yaml": lambda t: "note: >\n" + "\n".join(f"  {line}" for line in wrap(t, 70)),
    "code": lambda t: "\n".join(f"# {line}" for line in wrap(t, 60)),
    "emphasis": lambda t: " ".join(f"**{word}**" for word in t.split(" ")),
    "hyphens": lambda t: " ".join(f"{w[:3]}-{w[3:]}" if len(w) > 6 else w for w in t.split(" ")),
}
ASCII_ONLY = frozenset({"look_alikes", "leet", "tags", "fullwidth", "spread", "rot13", "reversed"})
"""Transforms that say nothing about a text in another script."""
