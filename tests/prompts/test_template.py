"""A template places declared values and does nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.prompts.built_in import BUILT_IN
from agentops.prompts.template import MAX_TEMPLATE, VARIABLES, fill, template_issues

WHOLE = "{{data_rules}} {{instructions}} {{tools}}"
VALUES = {name: f"<{name}>" for name in VARIABLES}


def codes(text: str, planning: str = "plan_first") -> list[str]:
    return [issue.code for issue in template_issues(text, planning)]


@pytest.mark.parametrize("planning", list(BUILT_IN))
def test_the_built_in_prompts_are_what_anybody_could_save(planning: str) -> None:
    assert codes(BUILT_IN[planning][1], planning) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "prompt_empty"),
        (" \n", "prompt_empty"),
        ("x" * (MAX_TEMPLATE + 1), "prompt_too_long"),
        (WHOLE + "{{secret}}", "prompt_unknown_variable"),
        (WHOLE + "{{settings.SECRET_KEY}}", "prompt_not_closed"),
        (WHOLE + "{{tools|safe}}", "prompt_not_closed"),
        (WHOLE + "{{ tools", "prompt_not_closed"),
        (WHOLE + "{{}}", "prompt_not_closed"),
        (WHOLE + "{{{tools}}}", "prompt_not_closed"),
        (WHOLE + "a\u202eb", "prompt_hidden_character"),
        (WHOLE + "a\u200bb", "prompt_hidden_character"),
        ("{{data_rules}} {{instructions}}", "prompt_missing_variable"),
        ("{{tools}} {{instructions}}", "prompt_missing_variable"),
    ],
)
def test_what_is_wrong_has_a_code(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_the_place_is_named() -> None:
    [issue] = template_issues(f"{WHOLE}\n\n{{{{secret}}}}", "plan_first")
    assert issue.message.startswith("Line 3: {{secret}}")


def test_django_tags_are_text() -> None:
    text = WHOLE + "{% load x %}{# c #}{%debug%}"
    assert codes(text) == []
    assert fill(text, VALUES).endswith("{% load x %}{# c #}{%debug%}")


def test_one_step_at_a_time_needs_no_list_of_tools() -> None:
    assert codes("{{data_rules}} {{ instructions }}", "reactive") == []
    assert codes(WHOLE, "sideways") == ["prompt_unknown_planning"]


def test_what_is_filled_in_is_never_read_as_a_template() -> None:
    values = VALUES | {"instructions": "{{tools}} {{data_rules}}"}
    assert fill("{{ instructions }}|{{tools}}", values) == "{{tools}} {{data_rules}}|<tools>"


@given(st.text(alphabet=st.sampled_from("{} toolsxdata_rules\n"), max_size=60))
def test_every_accepted_template_can_be_filled(text: str) -> None:
    whole = WHOLE + text
    if not template_issues(whole, "plan_first"):
        assert "{{" not in fill(whole, VALUES)
