"""The written form of events: `type` plus a JSON object.

A later version of a payload adds a reader to `decode`; the reader of an earlier one stays for ever.
"""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import MISSING, asdict, fields
from typing import Any, Final, get_args

from agentops.engine.events import EVENT_TYPES, Event, Usage
from agentops.wire.parse import JSON, JSONObject

EVENT_VERSION: Final = 1


class UnknownEvent(ValueError):
    """A recorded event has a type or version this program does not read, or a payload that does not fit."""


Reader = Callable[[object, str], Any]


def _scalar(kind: type) -> Reader:
    def read(value: object, where: str) -> Any:
        if type(value) is not kind:
            raise UnknownEvent(f"{where} must be {kind.__name__}")
        return value

    return read


def _any(value: object, where: str) -> Any:
    return value


def _choice(choices: tuple[object, ...]) -> Reader:
    def read(value: object, where: str) -> Any:
        if value not in choices:
            raise UnknownEvent(f"{where} must be one of {choices}")
        return value

    return read


def _mapping(child: Reader) -> Reader:
    def read(value: object, where: str) -> Any:
        if not isinstance(value, dict):
            raise UnknownEvent(f"{where} must be an object")
        return {str(key): child(member, f"{where}.{key}") for key, member in value.items()}

    return read


def _list(child: Reader) -> Reader:
    def read(value: object, where: str) -> Any:
        if not isinstance(value, list):
            raise UnknownEvent(f"{where} must be a list")
        return [child(member, f"{where}[]") for member in value]

    return read


def _usage(value: object, where: str) -> Usage:
    if not isinstance(value, dict):
        raise UnknownEvent(f"{where} must be an object")
    try:
        return Usage(**{key: _scalar(int)(member, f"{where}.{key}") for key, member in value.items()})
    except TypeError as error:
        raise UnknownEvent(f"{where}: {error}") from error


_ANY_OBJECT: Final = _mapping(_any)
_READERS: Final[Mapping[object, tuple[Reader, object]]] = {
    str: (_scalar(str), ""),
    int: (_scalar(int), MISSING),
    bool: (_scalar(bool), MISSING),
    JSON: (_any, None),
    JSONObject: (_ANY_OBJECT, {}),
    dict[str, int]: (_mapping(_scalar(int)), {}),
    dict[str, str]: (_mapping(_scalar(str)), {}),
    dict[str, JSONObject]: (_mapping(_ANY_OBJECT), {}),
    list[JSONObject]: (_list(_ANY_OBJECT), []),
    list[str]: (_list(_scalar(str)), []),
    Usage | None: (_usage, None),
    int | None: (_scalar(int), None),
    JSONObject | None: (_ANY_OBJECT, None),
}
"""Type of a member -> how to read it and the value that `encode` leaves out."""


def _members(cls: type[Event]) -> tuple[tuple[str, Reader, object], ...]:
    members: list[tuple[str, Reader, object]] = []
    for f in fields(cls):
        reader, empty = _READERS[f.type] if f.type in _READERS else (_choice(get_args(f.type)), MISSING)
        members.append((f.name, reader, empty))
    return tuple(members)


_MEMBERS: Final = {cls: _members(cls) for cls in EVENT_TYPES.values()}


def encode(event: Event) -> JSONObject:
    """Return the JSON payload of an event; empty text, lists and objects are left out."""
    payload: JSONObject = {}
    for name, _, empty in _MEMBERS[type(event)]:
        value = getattr(event, name)
        if empty is not MISSING and value == empty:
            continue
        payload[name] = _spent(value) if isinstance(value, Usage) else value
    return payload


def _spent(usage: Usage) -> JSONObject:
    """What was counted later is left out where it is zero, so that earlier records are written as they were."""
    return {name: count for name, count in asdict(usage).items() if count or name not in ("cached_tokens", "unpriced")}


def decode(type_: str, data: Mapping[str, JSON], version: int = EVENT_VERSION) -> Event:
    """Read a recorded event; raises UnknownEvent."""
    cls = EVENT_TYPES.get(type_)
    if cls is None or version != EVENT_VERSION:
        raise UnknownEvent(f"{type_} version {version} is not known")
    members = _MEMBERS[cls]
    values: dict[str, Any] = {}
    for name, read, empty in members:
        if name in data:
            values[name] = read(data[name], f"{type_}.{name}")
        elif empty is not MISSING:
            values[name] = copy(empty)
        else:
            raise UnknownEvent(f"{type_}.{name} is missing")
    if unknown := set(data) - set(values):
        raise UnknownEvent(f"{type_} has no {min(unknown)}")
    event: Event = cls(**values)
    return event
