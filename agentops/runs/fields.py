"""Form fields of a strict JSON Schema: each value typed by a person, shown and read back without losing its type.

Used for the task a person submits and for the arguments a reviewer edits. What a field reads is still only a guess at
what is meant; the schema decides afterwards.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from agentops.wire.money import currency_exponent
from agentops.wire.parse import JSON, MAX_INTEGER, WireError, parse_json, pointer_token
from tools.schema import Issue

Kind = Literal["text", "textarea", "number", "money", "select", "json"]

MONEY_SUFFIX: Final = "_minor"
CURRENCY: Final = "currency"
_ONE_LINE: Final = 254  # an e-mail address


class UnreadableValue(ValueError):
    """What a person typed is not a value of the field's type; the message is for that person."""


@dataclass(frozen=True, slots=True)
class SchemaField:
    """One top-level member of an object schema as a form field.

    `kind` money: an integer of minor units beside a member `currency`, typed as a decimal amount. `choices` are
    (form value, label) pairs of a select. `nullable`: an empty field means null.
    """

    name: str
    label: str
    kind: Kind
    types: frozenset[str]
    description: str = ""
    nullable: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    values: tuple[JSON, ...] = ()
    max_length: int | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    may_be_empty: bool = True

    @property
    def pointer(self) -> str:
        """The JSON pointer of the member."""
        return f"/{pointer_token(self.name)}"

    @property
    def long(self) -> bool:
        """Whether the field needs several lines."""
        return self.kind in ("textarea", "json")

    def show(self, value: JSON, currency: str = "") -> str:
        """Return what stands in the form field for a value."""
        if value is None:
            return ""
        if self.kind == "select":
            return next((key for key, known in zip(self.keys, self.values, strict=True) if known == value), "")
        if self.kind == "money" and isinstance(value, int) and not isinstance(value, bool):
            return _decimal(value, currency)
        if self.kind == "json":
            return _text_of(value)
        return value if isinstance(value, str) else _text_of(value)

    @property
    def keys(self) -> tuple[str, ...]:
        """The form values of a select, in order."""
        return tuple(key for key, _ in self.choices)

    def read(self, raw: str, currency: str = "") -> JSON:
        """Return the JSON value a person typed; raises UnreadableValue."""
        text = raw.replace("\r\n", "\n")
        if self.kind == "select":
            return self._choice(text)
        if self.nullable and not text.strip():
            return None
        if self.kind == "json":
            return _json(text)
        if self.kind == "money":
            return _minor_units(text, currency)
        if self.kind == "number":
            return _number(text, whole="number" not in self.types)
        return text

    def keep_or_read(self, raw: str, original: JSON, original_currency: str, currency: str) -> JSON:
        """Read an edit, and return the original value exactly if the person did not change what was shown.

        A browser normalises line ends and drops a first empty line; neither is an edit.
        """
        shown = self.show(original, original_currency).replace("\r\n", "\n").replace("\r", "\n")
        typed = raw.replace("\r\n", "\n").replace("\r", "\n")
        if typed in (shown, shown.removeprefix("\n")) and (self.kind != "money" or currency == original_currency):
            return original
        return self.read(raw, currency)

    def _choice(self, text: str) -> JSON:
        for key, value in zip(self.keys, self.values, strict=True):
            if key == text:
                return value
        raise UnreadableValue("Choose one of the values.")


def schema_fields(schema: Mapping[str, Any]) -> tuple[SchemaField, ...]:
    """Return the fields of an object schema, in the order of `required` (a database may lose that of the members)."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return ()
    required = schema.get("required")
    listed = [name for name in required if name in properties] if isinstance(required, list) else []
    parts = {name: properties[name] for name in (*listed, *properties)}
    return tuple(_field(str(name), part, properties) for name, part in parts.items() if isinstance(part, Mapping))


def is_money(name: str, schema: Mapping[str, Any], siblings: Mapping[str, Any]) -> bool:
    """Whether a member is an amount of minor units with its currency beside it (`amount_minor` and `currency`)."""
    return name.endswith(MONEY_SUFFIX) and "integer" in _types(schema) and CURRENCY in siblings


def issue_messages(issues: "tuple[Issue, ...] | list[Issue]") -> dict[str, str]:
    """Return the first message for each top-level member, keyed by its pointer; "" collects the rest."""
    messages: dict[str, str] = {}
    for issue in issues:
        parts = issue.path.split("/")
        key = f"/{parts[1]}" if len(parts) > 1 else ""
        messages.setdefault(key, issue.message)
    return messages


def _field(name: str, schema: Mapping[str, Any], siblings: Mapping[str, Any]) -> SchemaField:
    branch, nullable = _without_null(schema)
    types = _types(branch)
    values = _enumerated(branch, types, nullable=nullable)
    plain = name.removesuffix(MONEY_SUFFIX) if is_money(name, branch, siblings) else name
    label = str(branch.get("title") or schema.get("title") or _words(plain))
    description = str(branch.get("description") or schema.get("description") or "")
    if values:
        choices = tuple((_key(value), _label(value, types)) for value in values)
        return SchemaField(
            name, label, "select", types, description, nullable, choices, values, may_be_empty=None in values
        )
    maximum_length = branch.get("maxLength")
    length = maximum_length if isinstance(maximum_length, int) else None
    return SchemaField(
        name=name,
        label=label,
        kind=_kind(name, branch, siblings, types, length),
        types=types,
        description=description,
        nullable=nullable,
        max_length=length,
        minimum=branch.get("minimum"),
        maximum=branch.get("maximum"),
        may_be_empty=nullable or (types == frozenset({"string"}) and not branch.get("minLength")),
    )


def _kind(
    name: str, schema: Mapping[str, Any], siblings: Mapping[str, Any], types: frozenset[str], length: int | None
) -> Kind:
    if is_money(name, schema, siblings):
        return "money"
    if types <= {"integer", "number"} and types:
        return "number"
    if types == {"string"}:
        return "textarea" if length is None or length > _ONE_LINE else "text"
    return "json"


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    declared = schema.get("type")
    if isinstance(declared, list):
        return frozenset(str(one) for one in declared if one != "null")
    return frozenset({declared}) if isinstance(declared, str) else frozenset()


def _without_null(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Take the null out of a nullable schema, written as a list of types, an enum or an anyOf of two."""
    declared = schema.get("type")
    nullable = (isinstance(declared, list) and "null" in declared) or declared == "null"
    branches = schema.get("anyOf")
    if isinstance(branches, list):
        rest = [b for b in branches if isinstance(b, Mapping) and b.get("type") != "null"]
        if len(rest) == 1:
            return rest[0], nullable or len(rest) < len(branches)
    listed = schema.get("enum")
    return schema, nullable or (isinstance(listed, list) and None in listed)


def _enumerated(schema: Mapping[str, Any], types: frozenset[str], *, nullable: bool) -> tuple[JSON, ...]:
    listed = schema.get("enum")
    if isinstance(listed, list):
        values: list[JSON] = list(listed)
    elif "const" in schema:
        values = [schema["const"]]
    elif types == {"boolean"}:
        values = [False, True]
    else:
        return ()
    if nullable and None not in values:
        values.insert(0, None)
    return tuple(values)


def _key(value: JSON) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _text_of(value)


def _label(value: JSON, types: frozenset[str]) -> str:
    if value is None:
        return "not set"
    if types == {"boolean"}:
        return "yes" if value else "no"
    return _key(value)


def _words(name: str) -> str:
    return name.replace("_", " ").strip().capitalize() or name


def _text_of(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, indent=None if not isinstance(value, dict | list) else 2)


def _json(text: str) -> JSON:
    try:
        return parse_json(text)
    except WireError as error:
        raise UnreadableValue(error.message) from None


def _number(text: str, *, whole: bool) -> int | float:
    cleaned = text.strip().replace("\N{MINUS SIGN}", "-")
    try:
        number = Decimal(cleaned) if len(cleaned) <= 40 else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number) > MAX_INTEGER:
        raise UnreadableValue("Type a number, such as 42." if whole else "Type a number, such as 42 or 4.2.")
    if number == number.to_integral_value():
        return int(number)
    if whole:
        raise UnreadableValue("Type a whole number, such as 42.")
    return float(number)


def _minor_units(text: str, currency: str) -> int:
    """Read `1,240.50` in a currency as minor units; a decimal comma is accepted when it cannot be a thousands mark."""
    try:
        exponent = currency_exponent(currency)
    except ValueError:
        raise UnreadableValue("Give the currency first; the amount cannot be read without it.") from None
    cleaned = text.strip().removeprefix(currency).strip().replace("\N{NO-BREAK SPACE}", "").replace(" ", "")
    example = f"Type an amount in {currency}, such as {_decimal(1240 * 10**exponent, currency)}."
    if not cleaned or len(cleaned) > 24 or ("," in cleaned and not _grouped(cleaned)):
        raise UnreadableValue(example)
    try:
        amount = Decimal(cleaned.replace(",", ""))
    except InvalidOperation:
        raise UnreadableValue(example) from None
    if not amount.is_finite() or "e" in cleaned.lower():
        raise UnreadableValue(example)
    minor = amount.scaleb(exponent)
    if minor != minor.to_integral_value():
        raise UnreadableValue(f"{currency} has {exponent} decimal places." if exponent else f"{currency} has no cents.")
    if abs(minor) > MAX_INTEGER:
        raise UnreadableValue(example)
    return int(minor)


def _grouped(text: str) -> bool:
    """Whether every comma separates three digits of the whole part, as in 1,240.00; 12,40 is ambiguous and refused."""
    whole, _, fraction = text.partition(".")
    head, *groups = whole.lstrip("-+").split(",")
    return "," not in fraction and 1 <= len(head) <= 3 and all(len(g) == 3 and g.isdigit() for g in groups)


def _decimal(minor: int, currency: str) -> str:
    """Print minor units as the decimal amount a person edits, such as 1240.00; unknown currencies stay minor units."""
    try:
        exponent = currency_exponent(currency)
    except ValueError:
        return str(minor)
    sign = "-" if minor < 0 else ""
    whole, fraction = divmod(abs(minor), 10**exponent)
    return f"{sign}{whole}.{fraction:0{exponent}d}" if exponent else f"{sign}{whole}"
