"""JSON Schema 2020-12 behind a guard: no references fetched, linear-time patterns, capped size and depth.

jsonschema-rs fetches remote references by default and overflows the stack on deep values, so neither a schema
nor a value reaches it before `agentops.wire.parse.guard` has walked it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn

import jsonschema_rs

from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, WireError, as_object, guard, parse_json

from .contracts import ContractError

MAX_ISSUES = 50
MAX_MESSAGE_CHARS = 300


@dataclass(frozen=True, slots=True)
class Issue:
    """One reason why a value does not fit: a JSON pointer, the schema keyword (or wire code), a sentence."""

    path: str
    code: str
    message: str


class SchemaError(ContractError):
    """Raised when a schema cannot be used."""


class Validator:
    """A compiled schema. Safe to share between threads."""

    def __init__(self, schema: JSONObject) -> None:
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                as_object(guard(schema)),
                validate_formats=True,
                retriever=_refuse,
                mask="the value",
                pattern_options=jsonschema_rs.RegexOptions(),
            )
        except WireError as error:
            raise SchemaError(f"unusable schema: {error.message}") from error
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise SchemaError(f"unusable schema: {error}") from error

    def validate(self, value: JSON) -> list[Issue]:
        """Return what is wrong with a value, at most 50 issues; an empty list means it fits. Never raises."""
        try:
            guard(value)
        except WireError as error:
            return [Issue(error.path or "", error.code, error.message)]
        issues = []
        for found in self._validator.iter_errors(value):
            issues.append(Issue(_pointer(found.instance_path), _keyword(found), found.message[:MAX_MESSAGE_CHARS]))
            if len(issues) == MAX_ISSUES:
                break
        return issues


_MOST_KNOWN: Final = 1024
_known: dict[int, tuple[JSONObject, "Validator"]] = {}


def compile(schema: JSONObject) -> Validator:  # noqa: A001 - read as schema.compile
    """Return the validator of a schema, from a cache keyed by its canonical text. Raises `SchemaError`.

    A schema is never changed after it was first compiled; contracts keep theirs for ever and find it by identity.
    """
    known = _known.get(id(schema))
    if known is not None and known[0] is schema:
        return known[1]
    try:
        text = canonical(guard(schema))
    except WireError as error:
        raise SchemaError(f"unusable schema: {error.message}") from error
    validator = _compiled(text)
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[id(schema)] = (schema, validator)
    return validator


@lru_cache(maxsize=512)
def _compiled(text: str) -> Validator:
    return Validator(as_object(parse_json(text)))


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"references to other documents are refused: {uri}")


def _pointer(path: list[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _keyword(error: jsonschema_rs.ValidationError) -> str:
    return str(error.schema_path[-1]) if error.schema_path else "schema"


def assert_strict(schema: JSONObject, *, where: str = "schema") -> None:
    """Raise `SchemaError` unless every part of a schema is closed and bounded.

    Objects allow no further properties and require all they name; strings, arrays and numbers have an upper
    bound (and numbers a lower one); nothing refers elsewhere. Nullable stands in for optional.
    """
    if schema.get("type") != "object":
        raise SchemaError(f"{where}: the top level must be an object")
    problems = list(_loose(schema, ""))
    if problems:
        raise SchemaError(f"{where}: " + "; ".join(problems))


_ALLOWED = frozenset(
    [
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"),
        *("minLength", "maxLength", "pattern", "format", "minimum", "maximum", "minItems", "maxItems", "uniqueItems"),
        *("title", "description"),
    ]
)


def _loose(schema: Any, path: str) -> Iterator[str]:
    at = path or "/"
    if not isinstance(schema, dict):
        yield f"{at} must be an object schema"
        return
    for keyword in sorted(set(schema) - _ALLOWED):
        yield f"{at} uses {keyword}, which strict schemas do not"
    if "enum" in schema or "const" in schema:
        return
    if "anyOf" in schema:
        for index, branch in enumerate(schema["anyOf"]):
            yield from _loose(branch, f"{path}/anyOf/{index}")
        return
    declared = schema.get("type")
    types = set(declared) if isinstance(declared, list) else {declared}
    if not types <= {"object", "array", "string", "integer", "number", "boolean", "null"}:
        yield f"{at} has no type"
    if "object" in types:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            yield f"{at} names no properties"
            properties = {}
        if schema.get("additionalProperties") is not False:
            yield f"{at} allows additional properties"
        if sorted(schema.get("required", [])) != sorted(properties):
            yield f"{at} must require all its properties"
        for name, part in properties.items():
            yield from _loose(part, f"{path}/{name}")
    if "array" in types:
        if "maxItems" not in schema:
            yield f"{at} has no maxItems"
        yield from _loose(schema.get("items"), f"{path}/*")
    if "string" in types and "maxLength" not in schema:
        yield f"{at} has no maxLength"
    if types & {"integer", "number"} and not {"minimum", "maximum"} <= set(schema):
        yield f"{at} has no minimum and maximum"
