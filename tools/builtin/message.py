"""Read an Internet message (RFC 5322, MIME) that nobody vouches for: tolerant, bounded, and it never raises.

Pure. What a reader does not see (hidden HTML, invisible characters) is kept apart or reported, not dropped.
"""

import codecs
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.policy import EmailPolicy
from typing import Any

from agentops.guardrails.text import html_text, printable, scan, visible

MAX_RAW_BYTES = 32 * 1024 * 1024
MAX_TEXT_BYTES = 64 * 1024
MAX_HTML_BYTES = 64 * 1024
MAX_HIDDEN_BYTES = 16 * 1024
MAX_HEADER_CHARS = 8192
MAX_PARTS = 200
MAX_ATTACHMENTS = 50
MAX_FINDINGS = 50
MAX_SUBJECT_CHARS = 998
MAX_NAME_CHARS = 120


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is a file: name made safe, declared type, size in bytes and SHA-256 of the decoded content."""

    name: str
    type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class MessageFinding:
    """Something a reader would not notice; `offset` counts code points of the part `where` names."""

    code: str
    where: str
    offset: int
    sample: str


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A message as a person would read it, and apart from that what it hides. Empty strings for what is missing."""

    from_address: str
    from_name: str
    reply_to: str
    to: str
    subject: str
    date: str | None
    text: str
    html_text: str
    hidden_text: str
    attachments: tuple[Attachment, ...]
    findings: tuple[MessageFinding, ...]
    truncated: bool


class _TolerantPolicy(EmailPolicy):
    """The default policy, except that a header which cannot be parsed becomes plain text.

    The structured header parser of the standard library raises on some garbage and is quadratic in the length, so
    values are cut at 8,192 characters first.
    """

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """Return the parsed header, or its text with undecodable bytes read as UTF-8 or Latin-1."""
        value = _unescaped(value[:MAX_HEADER_CHARS])
        try:
            return super().header_fetch_parse(name, value)
        except Exception:  # noqa: BLE001 - the parser raises whatever its input makes it stumble over
            return _one_line(value)


_POLICY = _TolerantPolicy()
_TEXT_CODECS = frozenset(
    [
        *("ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "iso2022_jp", "iso2022_jp_1"),
        *("iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_ext", "iso2022_kr", "shift_jis", "cp932", "euc_jp", "euc_kr"),
        *("gb2312", "gbk", "gb18030", "big5", "koi8-r", "koi8-u", "mac-roman", "tis-620"),
        *(f"cp{n}" for n in (437, 850, 852, 866, 874, *range(1250, 1259))),
        *(f"iso8859-{n}" for n in range(1, 17)),
    ]
)
_SINGLE_BYTE = ("ascii", "iso8859-1", "iso8859-15", "cp1252")
_SPACES = re.compile(r"\s+")
_ADDRESS = re.compile(r"[^\s<>\"(),;:@]{1,64}@[^\s<>\"(),;:@]{1,255}")
_UNSAFE_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
_EXECUTABLE = ((b"MZ", "Windows program"), (b"\x7fELF", "Linux program"), (b"#!", "script"))


@dataclass(slots=True)
class _Parts:
    plain: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    findings: list[MessageFinding] = field(default_factory=list)

    def note(self, code: str, where: str, sample: str, offset: int = 0) -> None:
        self.findings.append(MessageFinding(code, where, offset, _clip_chars(printable(sample), 160)))


def parse_message(raw: bytes) -> ParsedMessage:
    """Return what a message says and hides. Accepts any bytes and never raises.

    Texts are cut at 64 KiB (hidden text at 16 KiB) of UTF-8 and then marked as truncated. When there is no plain text
    part, `text` is the HTML part as a person sees it. The finding codes are those of `agentops.guardrails.text.scan`
    and reply_to_differs, several_senders, hidden_html, html_differs, wrong_charset, executable_attachment,
    unsafe_file_name, malformed, truncated.
    """
    parts = _Parts()
    message = _message(raw[:MAX_RAW_BYTES], parts)
    for part in _leaves(message, parts):
        _sort(part, parts)
    sender, reply_to = _addresses(message, "from"), _addresses(message, "reply-to")
    subject = _clip_chars(_header(message, "subject"), MAX_SUBJECT_CHARS)
    html = [html_text(document) for document in parts.html]
    shown = _normal("\n\n".join(part.text for part in html))
    plain = _normal("\n\n".join(parts.plain))
    hidden = _normal("\n".join(part.hidden_text for part in html if part.hidden))
    _compare(parts, sender=sender, reply_to=reply_to, plain=plain, shown=shown, hidden=hidden)
    for where, text in (("subject", subject), ("from_name", sender[0].display_name if sender else "")):
        _scan(parts, where, text)
    for where, text in (("text", plain or shown), ("html_text", shown if plain else ""), ("hidden_text", hidden)):
        _scan(parts, where, text)
    text, cut_text = _clip(plain or shown, MAX_TEXT_BYTES)
    shown, cut_shown = _clip(shown, MAX_HTML_BYTES)
    hidden, cut_hidden = _clip(hidden, MAX_HIDDEN_BYTES)
    truncated = cut_text or cut_shown or cut_hidden or len(raw) > MAX_RAW_BYTES
    if truncated:
        parts.findings.insert(0, MessageFinding("truncated", "text", 0, "only the beginning is shown"))
    return ParsedMessage(
        from_address=_spec(sender),
        from_name=_clip_chars(printable(sender[0].display_name), MAX_NAME_CHARS) if sender else "",
        reply_to=_spec(reply_to),
        to=_clip_chars(", ".join(a.addr_spec for a in _addresses(message, "to")[:20]), 998),
        subject=printable(subject),
        date=_date(message),
        text=printable(text),
        html_text=printable(shown),
        hidden_text=printable(hidden),
        attachments=tuple(parts.attachments[:MAX_ATTACHMENTS]),
        findings=tuple(parts.findings[:MAX_FINDINGS]),
        truncated=truncated,
    )


def _message(raw: bytes, parts: _Parts) -> "Message[Any, Any]":
    try:
        return message_from_bytes(raw, policy=_POLICY)
    except Exception as error:  # noqa: BLE001 - nesting and defects can make the parser itself stumble
        parts.note("malformed", "message", f"read as plain text ({type(error).__name__})")
        bare = EmailMessage(policy=policy.default)
        bare.set_payload(raw.decode("utf-8", "replace").replace("\x00", "\ufffd"))
        return bare


def _leaves(message: "Message[Any, Any]", parts: _Parts) -> "Iterator[Message[Any, Any]]":
    """Yield the parts that hold content, in order, without recursion; forwarded messages stay one part."""
    waiting = [message]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        part = waiting.pop()
        payload = part.get_payload()
        if part.is_multipart() and isinstance(payload, list) and part.get_content_maintype() == "multipart":
            waiting.extend(reversed([p for p in payload if isinstance(p, Message)]))
        else:
            yield part
    if waiting:
        parts.note("malformed", "message", "too many parts; the rest was not read")


def _sort(part: "Message[Any, Any]", parts: _Parts) -> None:
    kind = part.get_content_type()
    named = part.get_filename("")
    if part.get_content_disposition() == "attachment" or named or not kind.startswith("text/"):
        parts.attachments.append(_attachment(part, kind, _text_of(named), parts))
        return
    text = _decoded(_bytes_of(part), _text_of(part.get_param("charset", "") or ""), kind, parts)
    (parts.html if kind == "text/html" else parts.plain).append(text)


def _attachment(part: "Message[Any, Any]", kind: str, name: str, parts: _Parts) -> Attachment:
    content = _bytes_of(part)
    safe = safe_file_name(name) or f"part.{kind.rpartition('/')[2][:20]}"
    if name and safe != name:
        parts.note("unsafe_file_name", "attachments", name)
    for magic, what in _EXECUTABLE:
        if content.startswith(magic):
            parts.note("executable_attachment", "attachments", f"{safe}: {what}")
    declared = _clip_chars(re.sub(r"[^a-z0-9.+/-]", "", kind.lower()), 100)
    return Attachment(safe, declared or "application/octet-stream", len(content), hashlib.sha256(content).hexdigest())


def safe_file_name(name: str) -> str:
    """Return a file name without folders, leading dots and characters that mislead or break; may be empty."""
    last = visible(name.replace("\\", "/").rpartition("/")[2])
    last = _SPACES.sub(" ", _UNSAFE_IN_NAMES.sub("", printable(last))).strip(" .")
    if len(last) > MAX_NAME_CHARS:
        stem, dot, suffix = last.rpartition(".")
        keep = suffix[-12:] if dot else ""
        last = (stem if dot else last)[: MAX_NAME_CHARS - len(keep) - 1] + (f".{keep}" if keep else "")
    return last


def _bytes_of(part: "Message[Any, Any]") -> bytes:
    """Return the decoded content of a leaf; for a forwarded message its own bytes."""
    try:
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            return payload
        nested = part.get_payload()
        if isinstance(nested, list):
            return b"".join(p.as_bytes() for p in nested if isinstance(p, Message))
        return str(nested or "").encode("utf-8", "surrogateescape")
    except Exception:  # noqa: BLE001 - a broken transfer encoding must not hide the rest of the message
        return b""


def _decoded(content: bytes, charset: str, kind: str, parts: _Parts) -> str:
    """Decode text: the declared charset if it fits, UTF-8 where only that can be meant, else Windows-1252."""
    content = content[: 8 * MAX_TEXT_BYTES]
    codec = _codec(charset) or ("utf-8" if charset else "ascii")
    if codec in _SINGLE_BYTE and not content.isascii():
        codec_used, text = _first_fit(content, ("utf-8", codec, "cp1252"))
    else:
        codec_used, text = _first_fit(content, (codec, "utf-8", "cp1252"))
    if charset and codec_used != _codec(charset):
        parts.note("wrong_charset", "html_text" if kind == "text/html" else "text", f"{charset} is not its charset")
    return text


def _first_fit(content: bytes, candidates: tuple[str, ...]) -> tuple[str, str]:
    for codec in candidates:
        decoder = codecs.getincrementaldecoder(codec)("strict")
        try:
            # Not final: the content may have been cut in the middle of a character.
            return codec, decoder.decode(content)
        except (UnicodeError, ValueError):
            continue
    return "latin-1", content.decode("latin-1")


def _codec(charset: str) -> str:
    """Return the codec of a declared charset when it is one that text is written in, else an empty string."""
    try:
        name = codecs.lookup(charset.strip().strip("\"'")[:40]).name
    except (LookupError, ValueError):
        return ""
    return name if name in _TEXT_CODECS else ""


def _compare(
    parts: _Parts, *, sender: list[Address], reply_to: list[Address], plain: str, shown: str, hidden: str
) -> None:
    if len(sender) > 1:
        parts.note("several_senders", "from_address", ", ".join(a.addr_spec for a in sender[:5]))
    if reply_to and sender and _spec(reply_to).lower() != _spec(sender).lower():
        parts.note("reply_to_differs", "reply_to", f"{_spec(reply_to)} instead of {_spec(sender)}")
    if hidden:
        parts.note("hidden_html", "hidden_text", hidden)
    if plain and shown and _unlike(plain, shown):
        parts.note("html_differs", "html_text", "the HTML part says more than the plain text")


def _unlike(plain: str, shown: str) -> bool:
    said = set(re.findall(r"\w{3,}", plain.casefold()))
    words = [word for word in re.findall(r"\w{3,}", shown.casefold()) if not word.startswith("http")]
    extra = [word for word in words if word not in said]
    return len(extra) > 8 and len(extra) > 0.3 * len(words)


def _scan(parts: _Parts, where: str, text: str) -> None:
    for finding in scan(text):
        parts.note(finding.code, where, finding.sample, finding.offset)


def _header(message: "Message[Any, Any]", name: str) -> str:
    return _one_line(_text_of(message.get(name, "")))


def _addresses(message: "Message[Any, Any]", name: str) -> list[Address]:
    header = message.get(name)
    found = [a for a in getattr(header, "addresses", ()) if a.domain and _ADDRESS.fullmatch(a.addr_spec)]
    if found:
        return found
    return [Address(addr_spec=spec) for spec in _plain_addresses(_text_of(header or ""))]


def _plain_addresses(text: str) -> Iterator[str]:
    for match in list(_ADDRESS.finditer(text))[:20]:
        try:
            Address(addr_spec=match.group())
        except Exception:  # noqa: BLE001, S112 - not an address the standard library can hold
            continue
        yield match.group()


def _spec(addresses: list[Address]) -> str:
    return _clip_chars(printable(addresses[0].addr_spec), 320) if addresses else ""


def _date(message: "Message[Any, Any]") -> str | None:
    moment = getattr(message.get("date"), "datetime", None)
    if not isinstance(moment, datetime):
        return None
    try:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return None


def _unescaped(value: str) -> str:
    """Read raw bytes in a header, which the parser carries as lone surrogates, as UTF-8 or else Latin-1."""
    if not any("\udc80" <= char <= "\udcff" for char in value):
        return value
    content = value.encode("ascii", "surrogateescape") if value.isascii() else value.encode("utf-8", "surrogateescape")
    return _first_fit(content, ("utf-8",))[1]


def _text_of(value: object) -> str:
    text = value if isinstance(value, str) else str(value[2]) if isinstance(value, tuple) else str(value)
    return _unescaped(text)


def _one_line(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")


def _clip(text: str, max_bytes: int) -> tuple[str, bool]:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= max_bytes:
        return text, False
    return encoded[:max_bytes].decode("utf-8", "ignore"), True


def _clip_chars(text: str, maximum: int) -> str:
    return text if len(text) <= maximum else text[: maximum - 1] + "…"
