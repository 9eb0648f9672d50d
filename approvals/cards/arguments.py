"""The arguments of a call as a reviewer reads them: by type, with where each came from and what changed. Pure."""

from collections.abc import Mapping
from typing import Any

from agentops.guardrails.provenance import Provenance
from agentops.runs.fields import CURRENCY, SchemaField, is_money, schema_fields
from agentops.wire.money import format_money
from agentops.wire.parse import JSON, JSONObject, pointer_token
from approvals.cards.drafts import Draft
from approvals.models import Proposal
from approvals.values import rendering
from approvals.values.entries import ARGUMENT, shown_value
from approvals.values.kinds import kinds_of, masked
from approvals.values.leaves import leaves
from approvals.values.origins import origin_of, way_of, within
from approvals.values.previews import compared
from tools.contracts import ToolContract
from tools.registry import registry


def arguments_of(
    proposal: Proposal, draft: Draft, order: Mapping[str, int], unsupported: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return every argument of a proposal; documented in `approvals/_card.html`.

    `order` ranks the calls of the run, `unsupported` are pointers of arguments that nothing on record supports.
    """
    contract = registry.get(proposal.tool, proposal.contract_version)
    now, original = proposal.argument_values, proposal.original_values
    provenance = {path: Provenance.from_json(raw) for path, raw in proposal.provenance.items()}
    properties = contract.input_schema.get("properties") if contract is not None else None
    schemas: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    fields = {f.name: f for f in schema_fields(contract.input_schema)} if contract is not None else {}
    must_see = contract.must_see if contract is not None else ()
    kinds = kinds_of(contract) if contract is not None else {}
    shown = []
    for name, value in now.items():
        pointer = f"/{pointer_token(name)}"
        found = fields.get(name)
        changed = name in original and original[name] != value
        secret = kinds.get(name) == "secret"
        shown.append(
            {
                "path": pointer,
                "name": name,
                "role": str(contract.roles.get(name, "")) if contract is not None else "",
                "type": _type_words(name, schemas),
                "value": value,
                "text": masked(value) if secret else text_of(name, value, now, schemas),
                "shown": rendering.shown(kinds.get(name, ""), value, now),
                "provenance": origin_of(pointer, provenance, order),
                "way": way_of(pointer, provenance, order),
                "attacked": any(within(path, pointer) for path in proposal.attacked),
                "unsupported": unsupported.get(pointer, ""),
                "must_see": name in must_see,
                "editable": found is not None and not secret,
                "changed_from": "",
                "changed_lines": None,
                "field": _field(found, now, draft) if found is not None and not secret else None,
                **(_change(name, original, value, now, schemas) if changed and not secret else {}),
            }
        )
    return shown


def shown_arguments(
    contract: ToolContract | None,
    arguments: JSONObject,
    provenance: Mapping[str, Provenance],
    order: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Return the arguments of a call to read: [{name, type, role, text, provenance {label, sources}}]."""
    properties = contract.input_schema.get("properties") if contract is not None else None
    schemas: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    kinds = kinds_of(contract) if contract is not None else {}
    return [
        {
            "name": name,
            "type": _type_words(name, schemas),
            "role": str(contract.roles.get(name, "")) if contract is not None else "",
            "value": value,
            "text": masked(value) if kinds.get(name) == "secret" else text_of(name, value, arguments, schemas),
            "provenance": origin_of(f"/{pointer_token(name)}", provenance, order),
        }
        for name, value in arguments.items()
    ]


def _field(found: SchemaField, arguments: JSONObject, draft: Draft) -> dict[str, Any]:
    typed = draft.values.get(found.pointer)
    currency = arguments.get(CURRENCY)
    value = shown_value(found, arguments) if typed is None else typed
    kind = {"json": "textarea"}.get(found.kind, found.kind)
    if kind == "text" and "\n" in value:
        kind = "textarea"  # one line cannot hold it, and the browser would cut it silently
    return {
        "kind": kind,
        "name": f"{ARGUMENT}{found.pointer}",
        "value": value,
        "choices": found.choices,
        "currency": draft.values.get(f"/{CURRENCY}") or currency if found.kind == "money" else "",
        "help": "A decimal amount." if found.kind == "money" else found.description,
        "error": draft.errors.get(found.pointer, ""),
    }


def _change(
    name: str, original: JSONObject, value: JSON, now: JSONObject, schemas: Mapping[str, Any]
) -> dict[str, Any]:
    row = compared(name, original[name], value)
    return {"changed_from": text_of(name, original[name], original, schemas), "changed_lines": row["lines"]}


def text_of(name: str, value: JSON, siblings: JSONObject, schemas: Mapping[str, Any]) -> str:
    """Return an argument as plain text; amounts beside a currency as money, the leaves of an object one per line."""
    currency = siblings.get(CURRENCY)
    schema = schemas.get(name)
    money = isinstance(schema, Mapping) and is_money(name, schema, schemas)
    match value:
        case bool():
            return "yes" if value else "no"
        case int() if money and isinstance(currency, str):
            try:
                return format_money(value, currency)
            except ValueError:
                return f"{value} minor units of {currency}"
        case None:
            return ""
        case str():
            return value
        case int() | float():
            return str(value)
        case _:
            return "\n".join(f"{path}: {_leaf(leaf)}" for path, leaf in leaves(value)) or "empty"


def _leaf(value: JSON) -> str:
    match value:
        case None:
            return "not set"
        case dict() | list():
            return "empty"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _type_words(name: str, schemas: Mapping[str, Any]) -> str:
    schema = schemas.get(name)
    if not isinstance(schema, Mapping):
        return "not declared"
    if is_money(name, schema, schemas):
        return "money"
    if "enum" in schema:
        return "one of a list"
    declared = schema.get("type")
    types = [str(one) for one in (declared if isinstance(declared, list) else [declared])]
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no", "array": "list"}
    said = " or ".join(words.get(one, one) for one in types if one not in ("null", "None")) or "any"
    return f"{schema['format']}" if isinstance(schema.get("format"), str) else said
