"""What each argument of a tool is, for those who show it: declared in the contract, or told by its name and schema.

A contract's own word counts. Where it has none, the few parameter names that leave no doubt are used. Pure.
"""

from collections.abc import Mapping
from typing import Any, Final

from agentops.runs.fields import is_money
from agentops.wire.parse import JSON
from tools.contracts import ToolContract

_EMAIL: Final = ("to", "cc", "bcc", "from", "reply_to", "subject", "body", "html", "attachments")
_HTTP: Final = ("method", "url", "headers", "body")
_SECRETS: Final = frozenset({"password", "passphrase", "secret", "token", "api_key", "access_token", "private_key"})


def kinds_of(contract: ToolContract) -> dict[str, str]:
    """Return the kind of each parameter that has one: a member of `SHOWN_AS`, or `money`."""
    names = frozenset(contract.parameters)
    found: dict[str, str] = {}
    if {"to", "subject", "body"} <= names:
        found |= {name: f"email.{name}" for name in _EMAIL if name in names}
    elif {"method", "url"} <= names:
        found |= {name: f"http.{name}" for name in _HTTP if name in names}
    elif {"path", "content"} <= names:
        found |= {"path": "file.path", "content": "file.content"}
    raw = contract.input_schema.get("properties")
    properties: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
    for name, schema in properties.items():
        if not isinstance(schema, Mapping):
            continue
        if is_money(name, schema, properties):
            found[name] = "money"
        elif name in _SECRETS and name not in found:
            found[name] = "secret"
        elif schema.get("format") in ("date", "date-time"):
            found.setdefault(name, "date")
        elif schema.get("format") in ("uri", "uri-reference", "iri") or name in ("url", "uri"):
            found.setdefault(name, "url")
    return found | dict(contract.shows)


def masked(value: JSON) -> str:
    """Say that there is a secret and how long it is; its characters are shown nowhere."""
    return f"a secret of {len(value)} characters" if isinstance(value, str) else "a secret"
