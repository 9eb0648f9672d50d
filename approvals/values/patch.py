"""The difference between two JSON values as a JSON Patch (RFC 6902). Pure."""

from collections.abc import Iterator

from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, pointer_token


def diff(old: JSON, new: JSON) -> list[JSONObject]:
    """Return the operations (add, remove, replace) that turn `old` into `new`; an empty list if they are equal.

    Objects are compared member by member, arrays of one length element by element; an array that grew or shrank is
    replaced as a whole, because that is how a person reads it. Raises `WireError` for values that `guard` refuses.
    """
    return list(_diff(old, new, ""))


def _diff(old: JSON, new: JSON, path: str) -> Iterator[JSONObject]:
    match old, new:
        case dict(), dict():
            for name in sorted(old.keys() | new.keys()):
                at = f"{path}/{pointer_token(name)}"
                if name not in new:
                    yield {"op": "remove", "path": at}
                elif name not in old:
                    yield {"op": "add", "path": at, "value": new[name]}
                else:
                    yield from _diff(old[name], new[name], at)
        case list(), list() if len(old) == len(new):
            for index, (before, after) in enumerate(zip(old, new, strict=True)):
                yield from _diff(before, after, f"{path}/{index}")
        case _ if canonical(old) != canonical(new):
            yield {"op": "replace", "path": path, "value": new}
        case _:
            pass
