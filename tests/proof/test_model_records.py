"""What a run that a model planned leaves on record: prompt, models, what was said, what it cost."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.verify import verify_tenant
from agentops.engine.events import PlanFailed, PlanMade, RunSubmitted
from agentops.payloads.models import Payload
from agentops.payloads.references import references
from agentops.prompts.models import Prompt
from agentops.prompts.services import save_prompt
from agentops.providers.models import ModelPrice
from agentops.runs.models import Run, TaskType
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.worker.planners import planner_for
from tests.payloads.losing import lose_texts
from tests.proof.planning import STEPWISE, Answers, drive_on, events_of
from tests.shop import Clock, drive, start
from tests.stubs.model_server import Call, ModelServer, Raw, Says, in_turn, plan, rate_limited, support
from tools.models import AllowlistEntry

MAIL: Any = {"message_id": "M-0001"}
NOTHING = plan([], [{"when": "", "text": "Nothing to do."}])
TEXT = "Swordfish. {{data_rules}} {{instructions}} {{tools}}"


def told(server: ModelServer, index: int) -> str:
    return " ".join(server.asked[index].texts["system"])


def test_a_run_uses_the_version_it_started_with_for_its_whole_life(shop: Tenant, answers: Answers) -> None:
    first = save_prompt(slug="mine", planning="plan_first", template=TEXT, actor=SYSTEM)
    assert isinstance(first, Prompt)
    TaskType.objects.filter(slug="support-email").update(prompt=first)
    server, clock = answers(in_turn(rate_limited("5"), NOTHING, NOTHING)), Clock()
    run = start("support-email", MAIL, now=clock())
    drive(run.id, clock)
    second = save_prompt(slug="mine", planning="plan_first", template=f"Herring. {TEXT}", actor=SYSTEM)
    assert isinstance(second, Prompt)
    TaskType.objects.filter(slug="support-email").update(prompt=second)
    assert drive_on(run.id, clock).state == "succeeded"
    drive_on(start("support-email", MAIL, now=clock()).id, clock)
    assert ["Herring" in told(server, n) for n in range(3)] == [False, False, True]
    [submitted] = events_of(run, RunSubmitted)
    assert isinstance(submitted, RunSubmitted)
    assert (submitted.prompt, submitted.prompt_digest) == ("mine@1", first.digest)


def test_a_prompt_that_is_gone_ends_the_run_with_a_reason(shop: Tenant, answers: Answers) -> None:
    answers(in_turn(NOTHING))
    clock = Clock()
    run = start("support-email", MAIL, now=clock())
    Prompt.objects.all().delete()
    run = drive(run.id, clock)
    assert (run.state, run.failure_code) == ("failed", "prompt_missing")


def test_a_worker_without_any_of_the_models_says_which(shop: Tenant, answers: Answers, settings: Any) -> None:
    answers(in_turn(NOTHING))
    clock = Clock()
    run = start("support-email", MAIL, now=clock())
    settings.AGENTOPS_MODEL_BASE_URL = ""
    run = drive(run.id, clock)
    assert (run.state, run.failure_code) == ("failed", "model_not_configured")
    assert "'stub'" in run.failure_message


def test_long_requests_are_kept_once_beside_the_events_and_everything_verifies(shop: Tenant, answers: Answers) -> None:
    answers(in_turn(rate_limited("5"), NOTHING))
    clock = Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    [failure], [made] = events_of(run, PlanFailed), events_of(run, PlanMade)
    assert isinstance(failure, PlanFailed)
    assert isinstance(made, PlanMade)
    first, second = (references({"exchange": one.exchange}) for one in (failure, made))
    assert first == second != []
    assert Payload.objects.count() == 1
    assert not verify_tenant().findings
    lose_texts()
    assert [finding.reason for finding in verify_tenant().findings] == ["payload"]


def test_the_next_model_plans_and_the_plan_says_so(shop: Tenant, answers: Answers, settings: Any) -> None:
    broken = answers(in_turn(Raw(b"", 503)))
    with ModelServer(support) as spare:
        settings.MODEL_PROVIDERS = {
            "broken": {"api_key": "", "base_url": broken.url, "speaks": ""},
            "spare": {"api_key": "", "base_url": spare.url, "speaks": ""},
        }
        TaskType.objects.filter(slug="support-email").update(model_names="broken:a\nspare:b")
        clock = Clock()
        run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    assert run.state == "awaiting_approval"
    [made] = events_of(run, PlanMade)
    assert isinstance(made, PlanMade)
    assert made.planner == "model:spare:b"
    assert made.exchange is not None
    assert [one["code"] for one in made.exchange["earlier"]] == ["model_unavailable"]  # type: ignore[union-attr,index,call-overload]


def test_the_cost_is_recorded_and_an_unknown_one_is_said(shop: Tenant, answers: Answers) -> None:
    answers(in_turn(Says(calls=NOTHING.calls, tokens=(1000, 100), cached=400)))
    clock = Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    assert usage_of(run) == (1000, 100, 400, 0, 1)
    ModelPrice.objects.create(
        pattern="stub", input_micros=2_000_000, output_micros=5_000_000, cached_micros=0, valid_from=run.created_at
    )
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    assert usage_of(run) == (1000, 100, 400, 1200 + 500, 0)


def usage_of(run: Run) -> tuple[int, ...]:
    [made] = events_of(run, PlanMade)
    assert isinstance(made, PlanMade)
    used = made.usage
    assert used is not None
    return used.input_tokens, used.output_tokens, used.cached_tokens, used.cost_micros, used.unpriced


def test_a_model_is_only_ever_shown_what_its_task_type_may_use_now(shop: Tenant, answers: Answers) -> None:
    server, clock = answers(in_turn(NOTHING)), Clock()
    run = start("support-email", MAIL, now=clock())
    AllowlistEntry.objects.filter(task_type__slug="support-email", tool="shop.issue_refund").update(state="denied")
    drive_on(run.id, clock)
    body = json.dumps(server.asked[0].body)
    assert "mail__read" in body
    assert "issue_refund" not in body


@pytest.mark.parametrize(
    ("slug", "reply"),
    [
        ("support-email", Says("The plan is: do nothing.")),
        (STEPWISE, Says(calls=[Call("rm_rf", {"path": "/"})])),
        (STEPWISE, Says(calls=[Call("mail__read", raw='{"broken')])),
    ],
)
def test_invalid_output_is_repaired_at_most_twice_with_what_was_wrong(
    shop: Tenant, answers: Answers, slug: str, reply: Says
) -> None:
    server, clock = answers(in_turn(reply)), Clock()
    run = drive_on(start(slug, MAIL, now=clock()).id, clock)
    assert (run.state, run.failure_code) == ("failed", "plan_invalid")
    failures = [e.message for e in events_of(run, PlanFailed) if isinstance(e, PlanFailed)]
    assert len(failures) == len(server.asked) == 3
    for asked, earlier in ((server.asked[1], 1), (server.asked[2], 2)):
        users = " ".join(asked.texts["user"]).replace("\ue000", "")
        assert users.count(failures[0][:30]) == earlier


@pytest.mark.parametrize("slug", ["support-email", STEPWISE])
def test_an_answer_that_is_repaired_in_time_is_used(shop: Tenant, answers: Answers, slug: str) -> None:
    bad = Says(calls=[Call("rm_rf", {"path": "/"})])
    good = NOTHING if slug == "support-email" else Says("Nothing to do.")
    answers(in_turn(bad, bad, good))
    clock = Clock()
    run = drive_on(start(slug, MAIL, now=clock()).id, clock)
    assert (run.state, run.answer) == ("succeeded", "Nothing to do.")


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_run_page_leads_to_what_was_said(shop: Tenant, answers: Answers, bob: User, client: Client) -> None:
    answers(in_turn(Raw(b"<b>\xe2\x80\xaeno</b>", 503), NOTHING))
    clock = Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    client.force_login(bob, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get(f"/t/acme/runs/{run.id}").content.decode()
    links = [piece.split('"')[0] for piece in page.split(f'href="/t/acme/runs/{run.id}/exchanges/')[1:] if '"' in piece]
    addresses = dict.fromkeys(links)
    assert len(addresses) == 2
    assert links == [*addresses] * 2, "from the timeline, and from the list of what was asked"
    failed, made = (client.get(f"/t/acme/runs/{run.id}/exchanges/{seq}").content.decode() for seq in addresses)
    assert "You plan work for an operations team" in made
    assert "sha256:" in made
    assert "&lt;b&gt;" in failed
    assert "\u202e" not in failed
    assert client.get(f"/t/acme/runs/{run.id}/exchanges/1").status_code == 404
    assert client.get(f"/t/acme/runs/{run.id}/exchanges/{2**63}").status_code == 404


def test_a_damaged_text_is_said_and_only_the_head_is_shown(
    shop: Tenant, answers: Answers, bob: User, client: Client
) -> None:
    answers(in_turn(NOTHING))
    clock = Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    lose_texts()
    client.force_login(bob, backend="allauth.account.auth_backends.AuthenticationBackend")
    seq = next(
        line.split('"')[0] for line in client.get(f"/t/acme/runs/{run.id}").content.decode().split("/exchanges/")[1:]
    )
    page = client.get(f"/t/acme/runs/{run.id}/exchanges/{seq}").content.decode()
    assert "There is no text sha256:" in page


def test_the_planner_knows_how_much_an_answer_can_cost_before_it_asks(
    shop: Tenant, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = answers(in_turn(NOTHING))
    clock = Clock()
    ModelPrice.objects.create(
        pattern="stub", input_micros=1_000_000, output_micros=1_000_000, valid_from="2026-01-01T00:00:00Z"
    )
    run = start("support-email", MAIL, now=clock())
    from agentops.engine.decide import plan_request
    from agentops.runs.recording import state_of
    from agentops.worker.model_planner import ModelPlanner
    from agentops.worker.planners import offered_tools

    state = state_of(run.id)
    planner = planner_for(run, state)
    assert isinstance(planner, ModelPlanner)
    request = plan_request(state, str(run.id), offered_tools(run, state))
    estimate = planner.estimate(request, at=clock())
    planner.plan(request)
    sent = len(json.dumps(server.asked[0].body, ensure_ascii=False).encode())
    assert estimate.micros == estimate.tokens
    assert sent * 0.8 < estimate.tokens - 8192 < sent * 2.5
