"""Parameters of a model are few, bounded and read strictly."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.providers.parameters import DEFAULTS, InvalidParameters, ModelParameters


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], "JSON object"),
        (None, "JSON object"),
        ({"temprature": 1}, "temprature"),
        ({"temperature": "1"}, "temperature must be a number from 0 to 2"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens must be a whole number"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"deadline_s": 601}, "deadline_s"),
        ({"timeout_s": 61}, "timeout_s may not be longer"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_named(raw: Any, says: str) -> None:
    with pytest.raises(InvalidParameters, match=says):
        ModelParameters.from_json(raw)


def test_what_is_recorded_reads_back_and_names_the_defaults_too() -> None:
    assert ModelParameters.from_json({}) == DEFAULTS
    assert ModelParameters.from_json({}).to_json() == {"max_tokens": 8192, "deadline_s": 60}
    read = ModelParameters.from_json({"temperature": 0, "seed": 3})
    assert ModelParameters.from_json(read.to_json()) == read


@given(st.dictionaries(st.sampled_from(["temperature", "top_p", "seed", "max_tokens", "x"]), st.floats() | st.text()))
def test_nothing_whatsoever_makes_it_raise_anything_else(raw: Any) -> None:
    try:
        read = ModelParameters.from_json(raw)
    except InvalidParameters:
        return
    assert read.max_tokens > 0
