"""Links and images that carry data out, and links to hosts that nobody has listed.

Opening a link sends its query, its path and its host names to whoever owns the host; an image does so by being shown.
Addresses are read as browsers read them: with back slashes, without slashes, with user names and codes in the host.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import re2

from agentops.guardrails.output.found import Found, Kind
from agentops.guardrails.output.views import View, percent_decoded

_URL: Final = re2.compile(
    r"(?i)(?P<data>\b(?:data:[a-z]{0,20}/?[a-z0-9.+-]{0,60}[;,]|javascript:|vbscript:|blob:)[^\s<>\"'`)]*)"
    r"|(?P<mail>\bmailto:[^\s<>\"'`)]*)"
    r"|(?P<url>(?:\b(?:https?|ftps?|wss?|file|smb)\\?:[/\\]*|//|\\\\|\bwww\.)[^\s<>\"'`]+)"
)
_IMAGE_BEFORE: Final = re2.compile(
    r"(?is)(?:\b(?:src|srcset|poster|background|data-src|xlink:href|ping|action|formaction)"
    r"\s{0,5}=\s{0,5}[\"'`]?|url\(\s*[\"']?|@import\s+[\"']?)\z"
)
_DESTINATION_BEFORE: Final = re2.compile(r"\]\(\s*<?\z")
_REFERENCE_BEFORE: Final = re2.compile(r"(?m)^\s{0,3}\[[^\]]{1,200}\]:\s{0,5}<?\z")
_REMOTE_TAG: Final = re2.compile(
    r"(?i)<(?:img|image|iframe|embed|object|video|audio|source|link|script|svg|form|input|base|meta)\b"
)
_TRAILING: Final = ".,;:!?)]}*_~\"'»”’"
_LONGEST_SEGMENT: Final = 40
_LONGEST_LABEL: Final = 30
_BEFORE: Final = 600
_WORDS_BEFORE: Final = 1_500
_FULL_STOPS: Final = str.maketrans("\u3002\uff0e\uff61", "...")
"""Full stops of other scripts, which browsers read as dots of a host."""
_RANDOM: Final = re2.compile(r"^[A-Za-z0-9+/_=-]{24,}$")
_SCHEME: Final = re2.compile(r"(?i)^[a-z]+\\?:[/\\]*|^[/\\]{2,}")
_NUMBER: Final = re2.compile(r"[0-9]+|0x[0-9a-f]+")


def links_in(view: View, hosts: Sequence[str], *, untrusted: bool) -> Iterator[Found]:
    """Yield carriers, and of untrusted text every other link to a host that is not listed."""
    text = view.text
    shown_by_tag = _REMOTE_TAG.search(text) is not None
    for match in _URL.finditer(text):
        start, end = match.span()
        if text[start : start + 2] == "//" and start and text[start - 1] in ":/":
            continue  # of another scheme
        written = text[start:end]
        end -= len(written) - len(_without_trailing(written))
        written = text[start:end]
        offset, length = view.span(start, end)
        if match.group("data"):
            yield Found(Kind.CARRIER, "data_url", offset, length, "an address that is content itself")
            continue
        if match.group("mail"):
            if "?" in written:
                yield Found(Kind.CARRIER, "mail_with_content", offset, length, "a mail link with content")
            continue
        host = host_in(written)
        if not _is_host(host) or listed(host, hosts):
            continue
        code = _carries(written, host, text[max(0, start - _WORDS_BEFORE) : start], shown_by_tag=shown_by_tag)
        if code:
            yield Found(Kind.CARRIER, code, offset, length, f"{code.replace('_', ' ')} at {_short(host)}")
        elif untrusted:
            yield Found(Kind.LINK, "untrusted_link", offset, length, f"a link to {_short(host)}")


def _without_trailing(written: str) -> str:
    """Drop what ends the sentence around an address and not the address."""
    if "(" in written:
        return written.rstrip(".,;:!?*_~\"'»”’")
    cut = written.find(")")
    return (written if cut < 0 else written[:cut]).rstrip(_TRAILING)


def _carries(written: str, host: str, before: str, *, shown_by_tag: bool) -> str:
    if _IMAGE_BEFORE.search(before[-_BEFORE:]) or _is_image(before):
        return "image"
    rest = _after_host(written)
    path, _, query = rest.partition("?")
    if query:
        return "link_with_query"
    if "@" in _authority(written):
        return "link_with_user"
    segments = percent_decoded(path.partition("#")[0]).replace("\\", "/").split("/")
    if any(len(part) >= _LONGEST_SEGMENT or _looks_random(part) for part in segments):
        return "link_with_long_path"
    if any(len(label) >= _LONGEST_LABEL or _looks_random(label) for label in host.split(".")):
        return "link_with_long_host"
    if _REFERENCE_BEFORE.search(before[-_BEFORE:]):
        return "link_by_reference"
    return "link_in_markup" if shown_by_tag else ""


def _is_image(before: str) -> bool:
    """Say whether the text before an address makes it the one of a Markdown image, whose words may hold brackets.

    Words that began before that text are taken for those of an image.
    """
    opening = _DESTINATION_BEFORE.search(before[-_BEFORE:])
    if opening is None:
        return False
    depth = 0
    for index in range(max(0, len(before) - _BEFORE) + opening.start(), -1, -1):
        if before[index] not in "[]" or _escaped(before, index):
            continue
        depth += 1 if before[index] == "]" else -1
        if not depth:
            return before[max(0, index - 1) : index] == "!"
    return len(before) == _WORDS_BEFORE


def _escaped(text: str, index: int) -> bool:
    """Say whether an odd number of back slashes stands before a place."""
    first = index
    while first and text[first - 1] == "\\":
        first -= 1
    return (index - first) % 2 == 1


def _looks_random(part: str) -> bool:
    """Say whether a piece looks like encoded data: long, without breaks, and digits among letters."""
    if _RANDOM.search(part) is None:
        return False
    words = part.replace("_", "-").split("-")
    longest = max(words, key=len)
    return len(longest) >= 20 and any(c.isdigit() for c in longest) and any(c.isalpha() for c in longest)


def host_in(written: str) -> str:
    """Return the host of an address as a browser would ask it, in lower case; empty when there is none."""
    host = percent_decoded(_authority(written).rpartition("@")[2]).translate(_FULL_STOPS)
    if host.startswith("["):
        return host.partition("]")[0].lstrip("[").casefold()
    return host.partition(":")[0].strip(".").casefold()


def _authority(written: str) -> str:
    rest = str(_SCHEME.sub("", written, 1))
    for index, char in enumerate(rest):
        if char in "/\\?#":
            return rest[:index]
    return rest


def _after_host(written: str) -> str:
    rest = str(_SCHEME.sub("", written, 1))
    return rest[len(_authority(written)) :]


def _is_host(host: str) -> bool:
    return bool(host) and ("." in host or ":" in host or host == "localhost" or _NUMBER.fullmatch(host) is not None)


def listed(host: str, hosts: Sequence[str]) -> bool:
    """Say whether a host is on a list; `*.example.com` stands for everything below it, and for nothing else."""
    name = host.casefold().strip(".")
    return any(name == one or (one.startswith("*.") and name.endswith(one[1:])) for one in hosts)


def _short(host: str) -> str:
    """Return a host for a sentence; a long one may itself carry what must not leave."""
    plain = "".join(char if char.isprintable() else "\ufffd" for char in host)
    return plain if len(plain) <= 40 else f"...{plain[-24:]}"
