"""Masking keeps what a replay needs and nothing of what it hides, for any text."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from agentops.regression.masking import Masker
from agentops.regression.recordings import Entry, Recording, read_recording
from agentops.wire.parse import JSON, JSONObject, clean

AT = datetime(2026, 11, 25, tzinfo=UTC)
ABOUT = dict.fromkeys(("id", "task_type", "title", "origin", "state", "tenant"), "x")


def masked(*data: JSONObject, key: bytes = b"k" * 32, personal: bool = True) -> tuple[Recording, list[JSONObject]]:
    entries = tuple(Entry(i, AT, "call.succeeded", one) for i, one in enumerate(data, start=1))
    found = Masker(key, personal=personal).mask(Recording(ABOUT, entries))
    return found, [one.data for one in found.entries]


NAMES = st.from_regex(r"[A-Z][a-z]{3,9} [A-Z][a-z]{3,9}", fullmatch=True)
ADDRESSES = st.from_regex(r"[a-z]{3,9}@[a-z]{3,9}\.example", fullmatch=True)


@given(NAMES, ADDRESSES)
def test_what_was_joined_is_joined_of_the_tokens(name: str, email: str) -> None:
    _, (found, used) = masked(
        {"output": {"name": name, "email": email, "count": 3}},
        {"arguments": {"to": email, "note": f"Hello {name}, we wrote to {email}."}},
    )
    output, arguments = found["output"], used["arguments"]
    assert isinstance(output, dict)
    assert isinstance(arguments, dict)
    assert arguments == {"to": output["email"], "note": f"Hello {output['name']}, we wrote to {output['email']}."}
    assert output["count"] == 3
    assert name not in json.dumps([found, used])
    assert email not in json.dumps([found, used])


@given(NAMES)
def test_another_key_gives_other_tokens_and_the_same_key_the_same(name: str) -> None:
    data: JSONObject = {"output": {"name": name}}
    assert masked(data)[1] == masked(data)[1]
    assert masked(data)[1] != masked(data, key=b"z" * 32)[1]


def test_secrets_go_and_references_stay() -> None:
    plan: JSONObject = {
        "steps": [
            {
                "id": "name",
                "tool": "name.find",
                "arguments": {"email": {"$ref": "input.email"}},
                "when": "input.x == 'Wilma Brook'",
            }
        ]
    }
    recording, (first, second) = masked(
        {"output": {"name": "Wilma Brook", "log": "key AKIAABCDEFGHIJKLMNOP here"}}, {"plan": plan, "version": 1}
    )
    assert "AKIA" not in json.dumps(first)
    steps = second["plan"]
    assert isinstance(steps, dict)
    step = steps["steps"][0]  # type: ignore[index]
    output = first["output"]
    assert isinstance(step, dict)
    assert isinstance(output, dict)
    assert (step["id"], step["tool"], step["arguments"]) == ("name", "name.find", {"email": {"$ref": "input.email"}})
    assert step["when"] == f"input.x == '{output['name']}'"
    assert recording.masked is not None
    assert recording.masked.kinds == ("secrets", "personal data")


def test_secrets_alone_leave_people_and_the_models_texts_are_never_in_a_masked_file() -> None:
    exchange: JSON = {"request": {"messages": ["Wilma Brook"]}}
    _, (found,) = masked({"output": {"name": "Wilma Brook"}, "by": "bob", "exchange": exchange}, personal=False)
    assert found == {"output": {"name": "Wilma Brook"}, "by": "bob"}


def test_who_did_it_is_hidden_and_the_hook_is_nobody() -> None:
    _, (found, hook) = masked({"by": "bob", "others": [{"by": "sam", "at": "x"}]}, {"by": "hook"})
    assert "bob" not in json.dumps(found)
    assert "sam" not in json.dumps(found)
    assert hook["by"] == "hook"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=12,
    )
)
def test_any_value_is_masked_written_and_read_again(value: JSON) -> None:

    recording, _ = masked({"output": clean(value)})
    assert read_recording(recording.text()) == recording
