"""Arguments in the fields of a form: what stands in each, and what comes back from what somebody typed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentops.runs.fields import CURRENCY, SchemaField, UnreadableValue, schema_fields
from agentops.wire.parse import JSON, JSONObject
from tools.contracts import ToolContract

ARGUMENT: Final = "arg:"
"""What the names of such fields begin with; the JSON pointer follows."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The arguments a person wants. `errors` are what could not be read, by pointer."""

    arguments: JSONObject
    errors: Mapping[str, str]


def read_edit(contract: ToolContract | None, current: JSONObject, values: Mapping[str, str]) -> Edit:
    """Read an edit from what was typed (`typed_values`); what was not sent, or not touched, stays as it is."""
    arguments: JSONObject = dict(current)
    errors: dict[str, str] = {}
    if contract is None:
        return Edit(arguments, {"": "The tool of this proposal is not there any more."})
    before = _currency_of(current)
    now = values.get(f"/{CURRENCY}", before)
    for field in schema_fields(contract.input_schema):
        raw = values.get(field.pointer)
        if raw is None:
            continue
        try:
            arguments[field.name] = field.keep_or_read(raw, current.get(field.name), before, now)
        except UnreadableValue as problem:
            errors[field.pointer] = str(problem)
    return Edit(arguments, errors)


def typed_values(posted: Mapping[str, str]) -> dict[str, str]:
    """Return what stands in the argument fields of a posted form, by JSON pointer."""
    return {name.removeprefix(ARGUMENT): posted[name] for name in posted if name.startswith(ARGUMENT)}


def shown_value(field: SchemaField, arguments: JSONObject) -> str:
    """Return what an edit form shows for an argument."""
    value: JSON = arguments.get(field.name)
    return field.show(value, _currency_of(arguments))


def _currency_of(arguments: JSONObject) -> str:
    value = arguments.get(CURRENCY)
    return value if isinstance(value, str) else ""
