"""A patch leads from what the agent proposed to what the person approved (RFC 6902)."""

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject
from approvals.values.patch import diff

values: st.SearchStrategy[JSON] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def apply(value: JSON, patch: list[JSONObject]) -> JSON:
    """Follow RFC 6902, as far as `diff` uses it."""
    root: Any = [deepcopy(value)]
    for operation in patch:
        path = str(operation["path"])
        *above, last = ["0", *(token.replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:])]
        holder: Any = root
        for token in above:
            holder = holder[int(token)] if isinstance(holder, list) else holder[token]
        key: Any = int(last) if isinstance(holder, list) else last
        if operation["op"] == "remove":
            del holder[key]
        else:
            holder[key] = operation["value"]
    result: JSON = root[0]
    return result


def test_an_edited_amount_is_one_replacement() -> None:
    before: JSONObject = {"amount_minor": 4990, "lines": [{"price": 1}, {"price": 2}]}
    after: JSONObject = {"amount_minor": 2500, "lines": [{"price": 1}, {"price": 3}]}
    assert diff(before, after) == [
        {"op": "replace", "path": "/amount_minor", "value": 2500},
        {"op": "replace", "path": "/lines/1/price", "value": 3},
    ]


def test_a_yes_is_not_a_one() -> None:
    assert diff({"a": True}, {"a": 1}) == [{"op": "replace", "path": "/a", "value": 1}]


@given(values, values)
def test_applying_the_patch_gives_the_new_value(old: JSON, new: JSON) -> None:
    assert canonical(apply(old, diff(old, new))) == canonical(new)


@given(values)
def test_no_change_is_no_patch(value: JSON) -> None:
    assert diff(value, deepcopy(value)) == []
