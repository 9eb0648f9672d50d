"""Task memory: the objective and the artifacts of a run, typed, on its page and nowhere else."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from agentops.runs.artifacts import SHOWN, artifacts, kind_of, objective
from agentops.runs.recording import state_of
from agentops.tenancy.models import Tenant
from tests.shop import drive, open_shop, receive, start

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON_VALUES)
def test_every_value_has_a_type_in_words(value: object) -> None:
    assert kind_of(value).split()[0] in {"nothing", "yes", "number", "text", "list", "object"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "yes or no"),
        (1, "number"),
        ("", "text"),
        (None, "nothing"),
        ([1, 2], "list of 2"),
        ({"a": 1}, "object of 1"),
    ],
)
def test_types_are_told_apart(value: object, kind: str) -> None:
    assert kind_of(value) == kind  # type: ignore[arg-type]


@pytest.fixture
def shop(scoped: Tenant) -> None:
    open_shop(scoped)


def test_a_run_keeps_its_objective_and_what_its_steps_returned(shop: None) -> None:
    state = state_of(drive(start("support-email", {"message_id": "M-0001"}).id).pk)
    [asked] = objective(state)
    assert (asked.name, asked.kind, asked.text, asked.untrusted) == ("message_id", "text", "M-0001", False)
    made = {one.tool: one for one in artifacts(state)}
    mail = {value.name: value for value in made["mail.read"].values}
    assert mail["subject"].text == "Refund for A-1001"
    assert mail["subject"].untrusted
    assert not mail["message_id"].untrusted
    assert mail["attachments"].kind == "list of 0"


def test_a_run_that_was_refused_has_no_artifact_of_it(shop: None) -> None:
    state = state_of(drive(start("support-email", {"message_id": "M-0099"}).id).pk)
    assert artifacts(state) == ()


def test_the_page_shows_them_cut_marked_and_inert(shop: None, bob: User, signed_in: Callable[[User], Client]) -> None:
    receive(f"From: a@example.com\nSubject: <b>bold</b>\n\nRefund A-1001 please. {'x' * SHOWN}\n", "M-0002")
    run = drive(start("support-email", {"message_id": "M-0002"}).id)
    page = signed_in(bob).get(f"/t/acme/runs/{run.pk}").content.decode()
    section = page[page.index('id="task-title"') : page.index('id="timeline-title"')]
    assert "Objective and artifacts" in section
    assert "M-0002" in section
    assert "&lt;b&gt;bold" in section
    assert "<b>bold" not in section
    assert "chip-untrusted" in section
    assert "the timeline has the rest" in section
    assert "x" * SHOWN not in section
