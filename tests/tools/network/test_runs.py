"""The network tools in a run: what is denied without a question, what a person is asked, what the card says."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from agentops import clock
from agentops.changes import outcomes
from agentops.runs.models import Run, ToolCall
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON, JSONObject
from approvals.assessing.bands import Band
from approvals.assessing.ladder import POLICY_REST, default_rung
from approvals.decisions.duties import OWN_POLICY, conflict
from approvals.models import Proposal
from approvals.values.sentence import plain
from tests.conftest import person
from tests.shop import drive, only_proposal, open_shop, receive, start, task_type
from tests.tools.network.lab import connections
from tools.allowlist import AllowlistState
from tools.backoffice.models import InboxMessage
from tools.network import hosts
from tools.network.models import HostAccess

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED
ALLOW = {"web.fetch": AUTO, "http.request": GATED, "mail.read": AUTO}


def fetch(url: JSON) -> JSONObject:
    return {"id": "look", "tool": "web.fetch", "arguments": {"url": url, "method": "GET"}}


def run_of(*steps: JSONObject) -> Run:
    task_type(list(steps), ALLOW)
    return drive(start("job", {}).id)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://evil.example.net/?q=1", "host_not_allowed"),
        ("http://169.254.169.254/latest/meta-data/", "ip_address"),
        ("http://api.example.com/", "plain_http"),
        ("https://api.example.com@evil.example.net/", "userinfo"),
    ],
)
def test_a_host_that_is_not_listed_is_denied_without_a_question(scoped: Tenant, url: str, code: str) -> None:
    hosts.seed(hosts.HostRule("api.example.com"))
    with connections() as seen:
        run_of(fetch(url))
    call = ToolCall.objects.get()
    assert (call.state, call.code) == ("denied", code)
    assert not Proposal.objects.exists()
    assert [address for address in seen if not str(address).startswith("('127.0.0.1'")] == []


def test_a_write_is_shown_to_a_person_with_the_host_it_goes_to(scoped: Tenant) -> None:
    hosts.seed(hosts.HostRule("api.example.com", access=HostAccess.WRITE))
    sent: JSONObject = {
        "method": "POST",
        "url": "https://api.example.com/v1/parcels",
        "content_type": "application/json",
        "body": '{"a": 1}',
    }
    run_of({"id": "tell", "tool": "http.request", "arguments": sent})
    proposal = only_proposal()
    assert plain(proposal.sentence) == ("Send a POST request to api.example.com (https://api.example.com/v1/parcels)")
    assert proposal.sensitivity == ["external_communication"]
    assert proposal.consequence["egress"] == ["url", "body"]
    assert {"label": "Credential", "value": "none"} in proposal.consequence["facts"]


def test_a_url_that_a_mail_chose_asks_a_person_although_the_tool_only_reads(scoped: Tenant) -> None:
    open_shop(scoped)
    InboxMessage.objects.all().delete()
    receive(_mail("https://api.example.com/v1/parcels?q=stolen"))
    hosts.seed(hosts.HostRule("api.example.com"))
    run_of(
        {"id": "mail", "tool": "mail.read", "arguments": {"message_id": "M-0001"}},
        fetch({"$ref": "steps.mail.output.subject"}),
    )
    proposal = only_proposal()
    assert (proposal.tool, proposal.attacked) == ("web.fetch", ["/url"])
    assert proposal.tainted


def test_whoever_let_a_host_be_asked_does_not_approve_what_asks_one(
    scoped: Tenant, alice: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    dana, fred = (person(name, scoped, "operator", "admin") for name in ("dana", "fred"))
    hosts.seed(hosts.HostRule("api.example.com", access=HostAccess.WRITE))
    sent: JSONObject = {
        "method": "POST",
        "url": "https://api.example.com/v1/parcels",
        "content_type": "application/json",
        "body": '{"a": 1}',
    }
    run_of({"id": "tell", "tool": "http.request", "arguments": sent})
    proposal, now = only_proposal(), clock.now()
    rested = default_rung(Band.HIGH)
    assert rested.rested
    wide = hosts.change(
        hosts.HostRule("other.example.com", access=HostAccess.WRITE, note="For the parcels."),
        actor=actor_of(dana, scoped),
    )
    assert isinstance(wide, outcomes.Proposed)
    assert conflict(proposal, actor_of(dana, scoped), rested, now=now) == ""
    done = hosts.decide(change_id=wide.change_id, verdict="approve", note="", actor=actor_of(fred, scoped))
    assert isinstance(done, outcomes.Settled)
    for user in (dana, fred):
        assert conflict(proposal, actor_of(user, scoped), rested, now=now) == OWN_POLICY
        assert conflict(proposal, actor_of(user, scoped), rested, now=now + POLICY_REST * 2) == ""
    assert conflict(proposal, actor_of(person("olga", scoped, "operator"), scoped), rested, now=now) == ""


def _mail(subject: str) -> str:
    return (
        f"From: Mallory <mallory@evil.example>\nTo: support@acme.example\nSubject: {subject}\n"
        "Message-ID: <1@evil.example>\nDate: Tue, 24 Nov 2026 10:00:00 +0000\n\nHello\n"
    )
