"""Small building blocks for strict schemas: closed objects, bounded values, nullable instead of optional."""

from agentops.wire.parse import JSON, JSONObject

MAX_MINOR = 100_000_000_000
ORDER_REF = "^[A-Z]{1,4}-[0-9]{1,9}$"
CUSTOMER_REF = "^[A-Z]{1,4}-[0-9]{1,9}$"


def closed(**properties: JSON) -> JSONObject:
    """Return an object schema that allows and requires exactly these properties."""
    required: list[JSON] = [*properties]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def text(maximum: int, *, minimum: int = 0, pattern: str = "", note: str = "") -> JSONObject:
    """Return a string schema of at most `maximum` characters."""
    schema: JSONObject = {"type": "string", "maxLength": maximum}
    if minimum:
        schema["minLength"] = minimum
    if pattern:
        schema["pattern"] = pattern
    if note:
        schema["description"] = note
    return schema


def number(low: int, high: int, *, note: str = "") -> JSONObject:
    """Return an integer schema with both bounds."""
    schema: JSONObject = {"type": "integer", "minimum": low, "maximum": high}
    if note:
        schema["description"] = note
    return schema


def choice(*values: str, note: str = "") -> JSONObject:
    """Return a schema of a closed list of strings."""
    listed: list[JSON] = [*values]
    schema: JSONObject = {"type": "string", "enum": listed}
    if note:
        schema["description"] = note
    return schema


def rows(each: JSONObject, maximum: int) -> JSONObject:
    """Return an array schema of at most `maximum` members."""
    return {"type": "array", "items": each, "maxItems": maximum}


def nullable(schema: JSONObject) -> JSONObject:
    """Return the schema with null allowed."""
    if "enum" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    either: JSONObject = {"type": [schema["type"], "null"]}
    return schema | either


YES_NO: JSONObject = {"type": "boolean"}
CURRENCY: JSONObject = text(3, minimum=3, pattern="^[A-Z]{3}$", note="ISO 4217 code, such as EUR.")
ADDRESS: JSONObject = text(254, minimum=3, note="One e-mail address, without a display name.")
REASON: JSONObject = text(500, minimum=1, note="Why, in one sentence.")
