"""Task memory: the objective and the artifacts of a run, typed, on its page and nowhere else."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from agentops.runs.artifacts import SHOWN, artifacts, kind_of, objective
from agentops.runs.models import Run
from agentops.runs.recording import state_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject, as_object
from tests.deciding import edit_and_approve
from tests.shop import drive, only_proposal, open_shop, receive, start, task_type
from tools.allowlist import AllowlistState

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
    assert "the whole of text" in section
    assert "x" * SHOWN not in section


def test_every_value_says_what_was_made_with_it(shop: None) -> None:
    """Read from the references of the plan: the mail's number fetches it, the order's total is refunded."""
    state = state_of(drive(start("support-email", {"message_id": "M-0001"}).id).pk)
    [asked] = objective(state)
    assert "read.message_id" in asked.used_by
    used = {(one.step_id, value.name): value.used_by for one in artifacts(state) for value in one.values}
    known = {f"{call.step_id}.{name}" for call in state.calls.values() for name in _arguments(call.arguments)}
    named = {user for users in used.values() for user in users}
    assert named
    assert named <= known | {"the answer"}
    assert any(not users for users in used.values()), "what nothing refers to is used by nothing"


def _arguments(value: object) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def test_a_call_that_was_never_made_has_used_nothing(shop: None) -> None:
    read: JSONObject = {"id": "mail", "tool": "mail.read", "arguments": {"message_id": "M-0001"}}
    never: JSONObject = {
        "id": "again",
        "tool": "mail.read",
        "when": "false",
        "arguments": {"message_id": {"$ref": "steps.mail.output.message_id"}},
    }
    task_type([read, never], {"mail.read": AllowlistState.AUTO})
    state = state_of(drive(start("job", {}).id).pk)
    assert all(value.used_by == () for one in artifacts(state) for value in one.values)


def test_what_a_reviewer_wrote_is_marked(
    shop: None, acme: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor], signed_in: Callable[[User], Client]
) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 5000, "reason": "late"}).id)
    proposal = only_proposal()
    edited = {**as_object(proposal.argument_values), "amount_minor": 4000}
    edit_and_approve(
        proposal_id=proposal.pk,
        actor=actor_of(bob, acme),
        version=proposal.version,
        digest=proposal.digest,
        arguments=edited,
    )
    state = state_of(drive(run.pk).pk)
    [refund] = [one for one in artifacts(state) if one.tool == "shop.issue_refund"]
    assert [(value.name, value.text, value.edited) for value in refund.edited] == [("amount_minor", "4000", True)]
    assert "Changed by a reviewer" in signed_in(bob).get(f"/t/acme/runs/{run.pk}/artifacts").content.decode()


@pytest.fixture
def long_mail(shop: None) -> Run:
    """Read a mail of which the hostile end lies far beyond what the run's page shows."""
    body = f"Refund A-1001 please. {'x' * 25_000} <script>alert(1)</script>\u202e end"
    receive(f"From: a@example.com\nSubject: hi\nContent-Type: text/plain; charset=utf-8\n\n{body}\n", "M-0002")
    return drive(start("support-email", {"message_id": "M-0002"}).id)


def artifact_of(run: Run, **asked: object) -> str:
    return f"/t/acme/runs/{run.pk}/artifacts?{urlencode({'call': '1.read.0', 'name': 'text', **asked})}"


def test_a_long_value_is_shown_whole_in_parts_and_inert(
    long_mail: Run, bob: User, signed_in: Callable[[User], Client]
) -> None:
    call = state_of(long_mail.pk).calls["1.read.0"]
    assert isinstance(call.output, dict)
    text = str(call.output["text"])
    client = signed_in(bob)
    first, second = (client.get(artifact_of(long_mail, part=part)).content.decode() for part in (1, 2))
    assert "Part 1 of 2" in first
    assert sha256(text.encode()).hexdigest() in first
    assert "&lt;script&gt;alert(1)" in second
    assert "<script>alert" not in first + second
    assert "\u202e" not in second
    assert "chip-untrusted" in first


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"call": "1.read.0", "name": "nope"}, 404),
        ({"call": "9.mail.0"}, 404),
        ({"call": "input", "name": "nope"}, 404),
        ({"call": "input", "name": "message_id"}, 200),
        ({"part": 3}, 404),
        ({"part": 0}, 400),
        ({"part": "x"}, 400),
        ({"part": 10**30}, 400),
        ({"call": ""}, 400),
        ({"call": "x\0y"}, 400),
        ({"name": "x\0y"}, 400),
        ({"call": "x" * 65}, 400),
    ],
)
def test_an_address_of_nothing_is_said_to_be_one(
    long_mail: Run, bob: User, signed_in: Callable[[User], Client], asked: dict[str, object], status: int
) -> None:
    assert signed_in(bob).get(artifact_of(long_mail, **asked)).status_code == status


def test_the_artifacts_of_a_run_cost_the_same_however_many_there_are(
    long_mail: Run, bob: User, signed_in: Callable[[User], Client], django_assert_max_num_queries: Any
) -> None:
    client = signed_in(bob)
    with django_assert_max_num_queries(16):
        assert client.get(f"/t/acme/runs/{long_mail.pk}/artifacts").status_code == 200
