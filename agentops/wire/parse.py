"""Strict JSON at the edge: bounded in size and depth, exact numbers, no characters a database refuses."""

import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NoReturn, TypeAlias

JSON: TypeAlias = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None
JSONObject: TypeAlias = dict[str, JSON]

MAX_BYTES = 262_144
MAX_DEPTH = 64
MAX_INTEGER = 2**53 - 1

# RFC 8785 prints whole floats below this bound as plain digits, which read back as an integer.
_FIRST_EXPONENT = 1e21
_TOKEN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
_BAD_CHARACTER = re.compile("[\x00\ud800-\udfff]")


class WireCode(StrEnum):
    """Why a text or value was refused."""

    INVALID_JSON = "invalid_json"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    NOT_FINITE = "not_finite"
    BAD_CHARACTER = "bad_character"
    DUPLICATE_KEY = "duplicate_key"
    NOT_JSON = "not_json"


class WireError(ValueError):
    """Say why something from outside is not acceptable JSON.

    `code` is one of `WireCode`, `path` a JSON pointer (RFC 6901; empty when the place is not known); `line` and
    `column` count from 1 where the text is no JSON, and are 0 otherwise. The message never repeats more than 40
    characters of the input and is plain ASCII there, so it is safe to store and show.
    """

    def __init__(self, code: WireCode, message: str, path: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message if not path else f"{message} (at {path})")
        self.code = code
        self.message = message
        self.path = path
        self.line = line
        self.column = column


def parse_json(raw: str | bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> JSON:
    """Parse one JSON text that nobody vouches for.

    Size is checked first (bytes of UTF-8), depth next by a linear scan, so neither a huge nor a deeply nested text ever
    reaches the recursive parser. Whole numbers come back as `int` (see `guard`). Raises `WireError`.
    """
    text = _decode(raw, max_bytes)
    _scan_depth(text, max_depth)
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_integer, parse_float=float
        )
    except json.JSONDecodeError as error:
        said = f"Not valid JSON: {error.msg}, character {error.pos}."
        raise WireError(WireCode.INVALID_JSON, said, "", error.lineno, error.colno) from None
    return guard(value, max_depth=max_depth, max_bytes=None)


def guard(value: object, *, max_depth: int = MAX_DEPTH, max_bytes: int | None = MAX_BYTES) -> JSON:
    """Return `value` as plain JSON data, exactly as its canonical text would read back, or refuse it.

    Accepts None, bool, int, float, str (also enums of these), lists, tuples and mappings with string keys. Tuples
    become lists and whole floats integers, because canonical text does not distinguish them. Refused with
    `WireError`: NaN and infinities, NUL and lone surrogates, integers beyond +-(2**53-1) and floats that would read
    back as such, nesting beyond `max_depth` containers, more than `max_bytes` bytes (counted without escapes; None
    means no limit), any other type. What is plain already is returned as it is, not copied.
    """
    if is_plain(value, max_depth) and (max_bytes is None or _far_below(value, max_bytes)):
        return value  # type: ignore[return-value]  # plain is JSON
    return _Guard(max_depth, max_bytes).take(value, "", 0)


def is_plain(value: object, max_depth: int = MAX_DEPTH) -> bool:
    """Say quickly whether a value is what `guard` would return for it: exact JSON types, but no floats, ASCII keys.

    False says nothing: `guard` decides then. So it does for values of more than `_MOST_MEMBERS` members, because one
    list that holds another twice, and so on, has few objects and no end.
    """
    level: list[Any] = [value]
    members = 0
    for _ in range(max_depth + 1):
        below: list[Any] = []
        for one in level:
            kind = type(one)
            if kind is str:
                if not _is_plain_text(one):
                    return False
            elif kind is int:
                if not -MAX_INTEGER <= one <= MAX_INTEGER:
                    return False
            elif kind is dict:
                for key in one:
                    if type(key) is not str or not key.isascii() or "\x00" in key:
                        return False
                below.extend(one.values())
            elif kind is list:
                below.extend(one)
            elif kind is not bool and one is not None:
                return False
            if members + len(below) > _MOST_MEMBERS:
                return False
        if not below:
            return True
        members += len(below)
        level = below
    return False


_MOST_MEMBERS = 20_000


def _far_below(value: object, max_bytes: int) -> bool:
    """Say whether a plain value is so small that counting exactly cannot make it too large."""
    return 4 * len(_text_of(value)) <= max_bytes


_text_of = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _is_plain_text(text: str) -> bool:
    return "\x00" not in text if text.isascii() else _BAD_CHARACTER.search(text) is None


def clean(value: object, *, max_depth: int = MAX_DEPTH) -> JSON:
    """Return JSON data that `guard` accepts, with what it would refuse replaced visibly; never refuse hostile content.

    NUL and lone surrogates become U+FFFD and the string gets a note that says so; numbers outside the exact range
    become strings; what is nested deeper than `max_depth` becomes a note. Keys that become equal get a counter.
    Raises `WireError` (not_json) only for a Python type that is not JSON, which is a mistake in the calling code and
    not in the content. What is clean already is returned as it is, not copied.
    """
    if is_plain(value, max_depth):
        return value  # type: ignore[return-value]  # plain is JSON
    match value:
        case None | bool():
            return value
        case str():
            return clean_text(value)
        case int():
            return int(value) if abs(value) <= MAX_INTEGER else hex(value)[:80]
        case float():
            return _whole(value) if math.isfinite(value) and not _misread(value) else repr(float(value))
        case list() | tuple() | Mapping() if max_depth <= 0:
            return "[nested too deeply, cut here]"
        case list() | tuple():
            return [clean(member, max_depth=max_depth - 1) for member in value]
        case Mapping():
            cleaned: JSONObject = {}
            for key, member in value.items():
                if not isinstance(key, str):
                    raise WireError(WireCode.NOT_JSON, f"An object key is a {type(key).__name__}, not a string.")
                cleaned[_free_key(_BAD_CHARACTER.sub("\ufffd", key), cleaned)] = clean(member, max_depth=max_depth - 1)
            return cleaned
        case _:
            raise WireError(WireCode.NOT_JSON, f"A {type(value).__name__} is not a JSON value.")


def clean_text(text: str) -> str:
    """Return `text` with NUL and lone surrogates replaced by U+FFFD and a closing note that names them."""
    found = sorted({f"U+{ord(character):04X}" for character in _BAD_CHARACTER.findall(text)})
    if not found:
        return str.__str__(text)
    names = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
    return f"{_BAD_CHARACTER.sub(chr(0xFFFD), text)} [replaced: {names}]"


class _Guard:
    def __init__(self, max_depth: int, max_bytes: int | None) -> None:
        self.max_depth = max_depth
        self.max_bytes = max_bytes
        self.size = 0

    def take(self, value: object, path: str, depth: int) -> JSON:
        match value:
            case None | bool():
                self._count(4, path)
                return value
            case str():
                return self._text(value, path)
            case int():
                self._count(len(hex(value)), path)
                if abs(value) > MAX_INTEGER:
                    raise WireError(WireCode.NOT_JSON, "An integer is beyond 2^53-1 and would lose digits.", path)
                return int(value)
            case float():
                self._count(len(repr(value)), path)
                if not math.isfinite(value):
                    raise WireError(WireCode.NOT_FINITE, "A number is not finite.", path)
                if _misread(value):
                    raise WireError(WireCode.NOT_JSON, "A number is beyond 2^53-1 and would lose digits.", path)
                return _whole(value)
            case list() | tuple():
                self._enter(depth, path)
                self._count(2 + len(value), path)
                return [self.take(member, f"{path}/{index}", depth + 1) for index, member in enumerate(value)]
            case Mapping():
                self._enter(depth, path)
                return self._object(value, path, depth)
            case _:
                raise WireError(WireCode.NOT_JSON, f"A {type(value).__name__} is not a JSON value.", path)

    def _object(self, value: Mapping[object, object], path: str, depth: int) -> JSONObject:
        taken: JSONObject = {}
        self._count(2 + 2 * len(value), path)
        for key, member in value.items():
            if not isinstance(key, str):
                raise WireError(WireCode.NOT_JSON, f"An object key is a {type(key).__name__}, not a string.", path)
            name = self._text(key, path)
            taken[name] = self.take(member, f"{path}/{pointer_token(name)}", depth + 1)
        return taken

    def _text(self, text: str, path: str) -> str:
        self._count(2 + len(text), path)
        if bad := _BAD_CHARACTER.search(text):
            raise WireError(WireCode.BAD_CHARACTER, f"Character U+{ord(bad[0]):04X} is not allowed in text.", path)
        if not text.isascii():
            self._count(len(text.encode()) - len(text), path)
        return str.__str__(text)

    def _count(self, size: int, path: str) -> None:
        self.size += size
        if self.max_bytes is not None and self.size > self.max_bytes:
            raise WireError(WireCode.TOO_LARGE, f"The value is larger than {self.max_bytes} bytes.", path)

    def _enter(self, depth: int, path: str) -> None:
        if depth >= self.max_depth:
            raise WireError(WireCode.TOO_DEEP, f"Nested deeper than {self.max_depth} levels.", path)


def pointer_token(name: str) -> str:
    """Escape one member name for a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _decode(raw: str | bytes, max_bytes: int) -> str:
    if len(raw) > max_bytes:
        raise WireError(WireCode.TOO_LARGE, f"The text is larger than {max_bytes} bytes.")
    try:
        if isinstance(raw, bytes):
            return raw.decode("utf-8")
        size = len(raw.encode("utf-8"))
    except UnicodeDecodeError as error:
        raise WireError(WireCode.BAD_CHARACTER, f"Not valid UTF-8, byte {error.start}.") from None
    except UnicodeEncodeError as error:
        raise WireError(WireCode.BAD_CHARACTER, f"A lone surrogate in the text, character {error.start}.") from None
    if size > max_bytes:
        raise WireError(WireCode.TOO_LARGE, f"The text is larger than {max_bytes} bytes.")
    return raw


def _scan_depth(text: str, max_depth: int) -> None:
    depth = 0
    inside_string = False
    for token in _TOKEN.finditer(text):
        match token[0]:
            case '"':
                inside_string = not inside_string
            case "[" | "{" if not inside_string:
                depth += 1
                if depth > max_depth:
                    raise WireError(WireCode.TOO_DEEP, f"Nested deeper than {max_depth} levels.")
            case "]" | "}" if not inside_string:
                depth -= 1


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise WireError(WireCode.DUPLICATE_KEY, f"The key {key[:40]!a} occurs twice in one object.")
            seen.add(key)
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise WireError(WireCode.NOT_FINITE, f"{name} is not a JSON number.")


def _integer(digits: str) -> int:
    # int() of a very long literal is quadratic and refused by Python itself; nothing above 17 characters is in range.
    if len(digits) > 17:
        raise WireError(WireCode.NOT_JSON, "An integer is beyond 2^53-1 and would lose digits.")
    return int(digits)


def _misread(value: float) -> bool:
    return MAX_INTEGER < abs(value) < _FIRST_EXPONENT


def _whole(value: float) -> int | float:
    number = float(value)
    return int(number) if abs(number) <= MAX_INTEGER and number.is_integer() else number


def _free_key(key: str, taken: Mapping[str, object]) -> str:
    name, count = key, 1
    while name in taken:
        count += 1
        name = f"{key}~{count}"
    return name


def as_object(value: JSON) -> JSONObject:
    """Return `value` when it is a JSON object; raise `WireError` (not_json) otherwise."""
    if not isinstance(value, dict):
        raise WireError(WireCode.NOT_JSON, "A JSON object is expected.")
    return value
