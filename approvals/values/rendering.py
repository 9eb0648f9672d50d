"""One argument as a reviewer reads it, by what it is: money, an address, a URL, a statement, a path, a list of paths.

Every renderer returns a plain dictionary with `kind` and what `templates/approvals/_value.html` prints for it; texts in
it are raw and made inert there. Pure, never raises.
"""

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from django.utils.dateparse import parse_date, parse_datetime

from agentops.wire.money import currency_exponent, format_money
from agentops.wire.parse import JSON, JSONObject, pointer_token
from approvals.values.hosts import domain_of, host_of, split_host
from approvals.values.kinds import masked
from approvals.values.statements import read_command, read_sql

NODES_SHOWN: Final = 200
WORDS_FROM: Final = 1_000
"""Major units from which an amount is written out in words as well."""

Shown = dict[str, Any]


def shown(kind: str, value: JSON, siblings: JSONObject) -> Shown:
    """Return how a value is shown; `kind` is empty, `money`, or one of `tools.contracts.SHOWN_AS`."""
    if value is None:
        return {"kind": "none"}
    match kind, value:
        case "secret", _:
            return {"kind": "secret", "text": masked(value)}
        case "money", int() if not isinstance(value, bool):
            return money(value, siblings.get("currency"))
        case "email.to" | "email.cc" | "email.bcc" | "email.from" | "email.reply_to", str() | list():
            return {"kind": "addresses", "addresses": list(addresses(value))}
        case "http.url" | "url", str():
            return url(value)
        case "sql.statement", str():
            return {"kind": "sql", "text": value, **asdict(read_sql(value))}
        case "file.path", str():
            return path(value)
        case "command", str():
            return {"kind": "command", "text": value, **asdict(read_command(value))}
        case "date", str():
            return date(value)
        case "http.headers", dict() | list():
            return {"kind": "headers", "headers": list(headers(value))}
        case _, str():
            return {"kind": "text", "text": value}
        case _, bool():
            return {"kind": "text", "text": "yes" if value else "no"}
        case _, int() | float():
            return {"kind": "text", "text": number(value)}
        case _:
            return paths(value)


def money(minor: int, currency: JSON) -> Shown:
    """Return an amount in figures, and from a thousand on in words as well."""
    if not isinstance(currency, str):
        return {"kind": "text", "text": f"{minor} minor units of no currency"}
    try:
        exponent = currency_exponent(currency)
    except ValueError:
        return {"kind": "text", "text": f"{minor} minor units of {currency}"}
    major = abs(minor) // 10**exponent
    said = f"{in_words(major)} {currency}" if WORDS_FROM <= major < 10**12 else ""
    if said and (rest := abs(minor) % 10**exponent):
        said += f" and {rest}/{10**exponent}"
    return {"kind": "money", "text": format_money(minor, currency), "words": said, "negative": minor < 0}


def addresses(value: JSON) -> Iterator[Shown]:
    """Yield each address with its domain apart, the registered part of that apart, and what it is in plain ASCII."""
    listed = value if isinstance(value, list) else [value]
    for one in (part.strip() for each in listed for part in str(each).split(",")):
        if not one:
            continue
        domain = domain_of(one)
        start = one.lower().rfind(domain) if domain else len(one)
        before, owned = split_host(one[start : start + len(domain)])
        yield {
            "before": one[:start] + before,
            "owned": owned,
            "after": one[start + len(domain) :],
            "really": really(domain),
            "text": one,
            "domain": domain,
        }


def url(value: str) -> Shown:
    """Return a URL in parts, with the host that is really asked; one that cannot be read stays text and says so."""
    host = host_of(value)
    start = value.lower().find(host) if host else -1
    if "@" in value.partition("://")[2].partition("/")[0]:
        start = value.lower().rfind(host, 0, len(value.partition("://")[0]) + 3 + len(_authority(value)))
    if start < 0:
        warning = "The address cannot be taken apart; read it as it is."
        return {"kind": "url", "text": value, "before": value, "owned": "", "after": "", "warning": warning}
    sub, owned = split_host(value[start : start + len(host)])
    warnings = []
    if "@" in _authority(value):
        warnings.append(f"What stands before the @ is a user name; the host is {host}.")
    if not value.lower().startswith("https://"):
        warnings.append("Not encrypted." if value.lower().startswith("http://") else "Not an address of the web.")
    return {
        "kind": "url",
        "text": value,
        "before": value[:start] + sub,
        "owned": owned,
        "after": value[start + len(host) :],
        "really": really(host),
        "warning": " ".join(warnings),
    }


def _authority(value: str) -> str:
    try:
        return urlsplit(value.replace("\\", "/")).netloc
    except ValueError:
        return ""


def really(host: str) -> str:
    """Return the other spelling of an internationalised host: punycode for letters, letters for punycode."""
    try:
        if not host.isascii():
            return host.encode("idna").decode("ascii")
        if "xn--" in host:
            return host.encode("ascii").decode("idna")
    except UnicodeError:
        return ""
    return ""


def path(value: str) -> Shown:
    """Return a file path in segments, and where it leads once its dots are resolved."""
    real = posixpath.normpath(value) if value else ""
    warnings = []
    if "\\" in value or "\x00" in value:
        warnings.append("It contains characters that another system reads as a separator or an end.")
    if ".." in value.split("/"):
        warnings.append("It climbs out of its directory." if real.startswith("..") else "It goes up and down again.")
    return {
        "kind": "path",
        "text": value,
        "segments": value.split("/"),
        "real": real if real != value.rstrip("/") else "",
        "warning": " ".join(warnings),
    }


def date(value: str) -> Shown:
    """Return a date or moment with its zone spelled out; what is no ISO 8601 date stays text."""
    try:
        moment = parse_datetime(value)
        day = None if moment is not None else parse_date(value)
    except ValueError:
        moment = day = None
    if moment is not None:
        zone = "UTC" if moment.tzinfo is not None else "no time zone given"
        utc = moment.astimezone(UTC) if moment.tzinfo is not None else moment
        return {"kind": "date", "text": f"{utc:%-d %B %Y, %H:%M:%S} {zone}", "moment": _aware(moment), "raw": value}
    if day is not None:
        return {"kind": "date", "text": f"{day:%A, %-d %B %Y}", "moment": None, "raw": value}
    return {"kind": "text", "text": value}


def _aware(moment: datetime) -> datetime | None:
    return moment if moment.tzinfo is not None else None


_SECRET_HEADERS: Final = ("authorization", "cookie", "token", "secret", "key", "password", "signature")


def headers(value: JSON) -> Iterator[Shown]:
    """Yield (name, value) of HTTP headers; values that let somebody in are masked."""
    pairs: list[tuple[str, JSON]] = []
    if isinstance(value, Mapping):
        pairs = [(str(name), each) for name, each in value.items()]
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, Mapping):
                pairs.append((str(each.get("name", "")), each.get("value")))
            else:
                name, _, rest = str(each).partition(":")
                pairs.append((name.strip(), rest.strip()))
    for name, each in pairs:
        secret = any(mark in name.lower() for mark in _SECRET_HEADERS)
        yield {"name": name, "value": masked(each) if secret else leaf(each), "secret": secret}


def paths(value: JSON, *, after: int = 0, find: str = "") -> Shown:
    """Return the leaves of an object or array from number `after` on, 200 of them, whose path contains `find`."""
    rows, total = [], 0
    for at, member in _leaves(value, ""):
        if find and find.casefold() not in at.casefold():
            continue
        total += 1
        if after < total <= after + NODES_SHOWN:
            rows.append({"path": at or "/", "text": leaf(member), "type": _type(member)})
    return {"kind": "paths", "rows": rows, "total": total, "after": after, "more": max(0, total - after - len(rows))}


def _leaves(value: JSON, at: str) -> Iterator[tuple[str, JSON]]:
    match value:
        case dict() if value:
            for name, member in value.items():
                yield from _leaves(member, f"{at}/{pointer_token(name)}")
        case list() if value:
            for index, member in enumerate(value):
                yield from _leaves(member, f"{at}/{index}")
        case _:
            yield at, value


def leaf(value: JSON) -> str:
    """Return one JSON value as text; what is no text is written so that it cannot be taken for one."""
    match value:
        case str():
            return value
        case bool():
            return "yes" if value else "no"
        case None:
            return "not set"
        case int() | float():
            return number(value)
        case _:
            return json.dumps(value, ensure_ascii=False, default=str) if value else "empty"


def number(value: int | float) -> str:
    """Return a number exactly: every digit of an integer, the shortest text that reads back for a float."""
    return str(value) if isinstance(value, int) else repr(value)


def _type(value: JSON) -> str:
    match value:
        case str():
            return "text"
        case bool():
            return "yes or no"
        case int() | float():
            return "number"
        case None:
            return "nothing"
        case dict():
            return "object"
        case _:
            return "list"


_ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS: Final = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES: Final = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"))


def in_words(whole: int) -> str:
    """Return a whole number below a trillion in English words."""
    for scale, name in _SCALES:
        if whole >= scale:
            rest = whole % scale
            joint = " and " if 0 < rest < 100 else " "
            return f"{in_words(whole // scale)} {name}{joint + in_words(rest) if rest else ''}"
    if whole >= 100:
        rest = whole % 100
        return f"{_ONES[whole // 100]} hundred{f' and {in_words(rest)}' if rest else ''}"
    if whole >= 20:
        return _TENS[whole // 10] + (f"-{_ONES[whole % 10]}" if whole % 10 else "")
    return _ONES[whole]
