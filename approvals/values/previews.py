"""What a call would do, put together from its arguments: the letter, the request, the statement, the file, the record.

Pure. What our own records say about it (`Consequence.changes`, counts) was frozen with the proposal.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from agentops.guardrails.text import html_text
from agentops.wire.parse import JSON, JSONObject, parse_json
from approvals.values import rendering
from approvals.values.difference import MAX_CHARS, difference

_HEADERS: Final = (
    ("email.from", "From"),
    ("email.reply_to", "Reply-To"),
    ("email.to", "To"),
    ("email.cc", "Cc"),
    ("email.bcc", "Bcc"),
)
_LONG: Final = 60

Preview = dict[str, Any]


def previews(kinds: Mapping[str, str], arguments: JSONObject, consequence: JSONObject) -> list[Preview]:
    """Return what there is to see of a call, each with `kind` (email, http, sql, file, record) and `title`."""
    parts = {kind: arguments[name] for name, kind in kinds.items() if name in arguments}
    return [
        *_email(parts, consequence),
        *_http(parts),
        *_sql(parts, consequence),
        *_file(parts, consequence),
        *_record(consequence, skip=_paths_of(parts)),
    ]


def _email(parts: Mapping[str, JSON], consequence: JSONObject) -> Iterator[Preview]:
    if not {"email.to", "email.subject", "email.body"} <= parts.keys():
        return
    known = dict(_recipients(consequence))
    headers = []
    for kind, name in _HEADERS:
        found = [
            one | {"note": known.get(one["text"].casefold(), "")}
            for one in rendering.addresses(parts.get(kind))
            if parts.get(kind)
        ]
        if found:
            headers.append({"name": name, "addresses": found})
    warnings = []
    one, other = parts.get("email.from"), parts.get("email.reply_to")
    if one and other and _domains(one) != _domains(other):
        warnings.append("Answers go to another domain than it comes from.")
    html, body = parts.get("email.html"), rendering.leaf(parts["email.body"])
    if isinstance(html, str) and html:
        seen = html_text(html)
        if seen.hidden:
            warnings.append("The HTML part hides text; it is shown below as it is written.")
        if " ".join(seen.text.split()) != " ".join(body.split()):
            warnings.append("The HTML part says something else than the text part.")
    yield {
        "kind": "email",
        "title": "The letter",
        "headers": headers,
        "subject": rendering.leaf(parts["email.subject"]),
        "body": body,
        "html": html if isinstance(html, str) else "",
        "attachments": list(_attachments(parts.get("email.attachments"))),
        "warnings": warnings,
    }


def _domains(value: JSON) -> set[str]:
    return {one["domain"] for one in rendering.addresses(value)}


def _recipients(consequence: JSONObject) -> Iterator[tuple[str, str]]:
    """Yield (address, internal or external) for what our own records say about who gets it."""
    blast = consequence.get("blast")
    for one in blast if isinstance(blast, list) else ():
        if not isinstance(one, Mapping):
            continue
        note = str(one.get("kind", "")).partition(" ")[0]
        if note in ("internal", "external"):
            for address in str(one.get("detail", "")).split(","):
                yield address.strip().casefold(), note


def _attachments(value: JSON) -> Iterator[dict[str, str]]:
    for one in value if isinstance(value, list) else ():
        if isinstance(one, Mapping):
            yield {name: rendering.leaf(one.get(name)) for name in ("name", "type", "size", "sha256") if name in one}
        else:
            yield {"name": rendering.leaf(one)}


def _http(parts: Mapping[str, JSON]) -> Iterator[Preview]:
    if "http.url" not in parts or "http.method" not in parts:
        return
    address = rendering.leaf(parts["http.url"])
    body = parts.get("http.body")
    yield {
        "kind": "http",
        "title": "The request",
        "method": rendering.leaf(parts["http.method"]).upper(),
        "url": rendering.url(address),
        "query": list(_query(address)),
        "headers": list(rendering.headers(parts.get("http.headers"))),
        "body": None if body in (None, "") else _body(body),
    }


def _query(address: str) -> Iterator[dict[str, str]]:
    _, mark, rest = address.partition("?")
    for pair in rest.partition("#")[0].split("&")[:50] if mark else ():
        name, _, value = pair.partition("=")
        yield {"name": name, "value": value}


def _body(body: JSON) -> rendering.Shown:
    if not isinstance(body, str):
        return rendering.paths(body)
    if body.lstrip()[:1] in ("{", "["):
        try:
            return rendering.paths(parse_json(body))
        except ValueError:
            pass
    return {"kind": "text", "text": body}


def _sql(parts: Mapping[str, JSON], consequence: JSONObject) -> Iterator[Preview]:
    statement = parts.get("sql.statement")
    if not isinstance(statement, str):
        return
    bound = parts.get("sql.parameters")
    yield {
        "kind": "sql",
        "title": "The statement",
        **rendering.shown("sql.statement", statement, {}),
        "parameters": rendering.paths(bound)["rows"] if bound not in (None, [], {}) else [],
        "predicted": [
            one
            for one in _listed(consequence.get("blast"))
            if isinstance(one, Mapping) and "row" in str(one.get("kind", ""))
        ],
    }


def _file(parts: Mapping[str, JSON], consequence: JSONObject) -> Iterator[Preview]:
    content = parts.get("file.content")
    if "file.path" not in parts or not isinstance(content, str):
        return
    where = rendering.leaf(parts["file.path"])
    before = next((c.get("before") for c in _changes(consequence) if c.get("field") == where), None)
    known = isinstance(before, str)
    yield {
        "kind": "file",
        "title": "The file",
        "path": rendering.path(where),
        "mode": rendering.leaf(parts["file.mode"]) if parts.get("file.mode") is not None else "",
        "known": known,
        "size_before": len(before.encode("utf-8", "surrogatepass")) if isinstance(before, str) else None,
        "size_after": len(content.encode("utf-8", "surrogatepass")),
        "content": content,
        "lines": _lines(before if isinstance(before, str) else "", content) if known else None,
    }


def _paths_of(parts: Mapping[str, JSON]) -> str:
    return rendering.leaf(parts["file.path"]) if "file.path" in parts else ""


def _record(consequence: JSONObject, *, skip: str) -> Iterator[Preview]:
    rows, same = [], 0
    for change in _changes(consequence):
        if skip and change.get("field") == skip:
            continue
        if change.get("before") == change.get("after"):
            same += 1
            continue
        rows.append(compared(str(change.get("field", "")), change.get("before"), change.get("after")))
    if rows:
        yield {"kind": "record", "title": "The record", "rows": rows, "unchanged": same}


def compared(field: str, before: JSON, after: JSON) -> dict[str, Any]:
    """Return one field before and after; texts of several lines, or long ones, as a difference."""
    row: dict[str, Any] = {"field": field, "before": _told(before), "after": _told(after), "lines": None}
    if isinstance(before, str) and isinstance(after, str) and before and after:
        long = len(before) > _LONG or len(after) > _LONG or "\n" in before + after
        row["lines"] = _lines(before, after) if long else None
    return row


def _lines(before: str, after: str) -> list[dict[str, Any]] | None:
    if len(before) + len(after) > MAX_CHARS:
        return None
    return [asdict(line) for line in difference(before, after)]


def _told(value: JSON) -> str:
    return "nothing" if value in (None, "") else rendering.leaf(value)


def _changes(consequence: JSONObject) -> Iterator[Mapping[str, JSON]]:
    for one in _listed(consequence.get("changes")):
        if isinstance(one, Mapping):
            yield one


def _listed(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []
