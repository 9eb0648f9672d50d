"""The rules of the shop that its two admins talk about: in force, waiting for the other one, refused.

Nothing is put in force that needs the password of a second admin: nobody has typed one here.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from agentops.budgets.measures import Measure, Period
from agentops.budgets.models import Budget
from agentops.changes.outcomes import Proposed
from agentops.prompts.built_in import PLAN_FIRST
from agentops.prompts.models import Prompt
from agentops.prompts.services import save_prompt
from agentops.retention import services as retention
from agentops.retention.classes import usual
from agentops.retention.models import Hold, HoldKind
from agentops.runs.models import Run, TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.admin_base import record_row, snapshot
from agentops.worker.demo.people import ADA, ASTRID, acting
from approvals.assessing import weighing
from approvals.assessing.weights import START, WEIGHTS, Hours
from approvals.permits import policies
from tools import allowing
from tools.allowlist import AllowlistRule, AllowlistState
from tools.network import hosts
from tools.network.hosts import HostRule

POLICY: Final = """\
policy: 1
rules:
  - id: large-refunds
    because: Two people look at every refund above EUR 500.
    when: call.tool == 'shop.issue_refund' && call.args.amount_minor > 50000
    effect: gate
    quorum: 2
    decide_within: 4h
  - id: no-letters-at-night
    because: Nobody reads a letter at night, and nobody is there who could stop it.
    when: call.tool == 'mail.send' && (time.hour < 5 || time.hour > 21)
    effect: deny
"""
TOO_WIDE: Final = """\
policy: 1
rules:
  - id: refunds
    when: call.tool == 'shop.issue_refund'
    effect: allow
    classes: [financial]
    bounds: [{parameter: amount_minor, most: 20000}]
    calls_per_run: 1
    expires: %s
"""


def seed_budgets() -> None:
    """Limit what the shop spends; made before its tasks, so that they count. None stops a first try."""
    ada, mails = acting(ADA), TaskType.objects.get(slug="support-email")
    for budget in (
        Budget(measure=Measure.RUNS, period=Period.DAY, soft=400, hard=500, note="Far more than a day brings."),
        Budget(
            task_type=mails,
            measure=Measure.TOOL_CALLS,
            period=Period.DAY,
            soft=600,
            hard=2_000,
            note="A day of mail takes some sixty calls; ten times that is a flood.",
        ),
        Budget(measure=Measure.REVIEWER, period=Period.WEEK, soft=25_200, hard=36_000, note="Ten hours of reading."),
    ):
        budget.full_clean(exclude=["tenant"])
        budget.updated_by_id = ada.user_id
        budget.save()
        record_row(budget, "added", before={}, after=snapshot(budget), actor=ada)


def seed_prompts() -> None:
    """Tell models what the shop wants of a plan; the second version is in use where a model is configured."""
    _saved(f"{PLAN_FIRST}\n\nWrite to customers in the language of their message.", acting(ADA))
    newest = _saved(
        f"{PLAN_FIRST}\n\nWrite to customers in the language of their message, and never promise a date.",
        acting(ASTRID),
    )
    mails = TaskType.objects.get(slug="support-email")
    before = snapshot(mails)
    mails.prompt = newest
    mails.save(update_fields=["prompt"])
    after = {"prompt": snapshot(mails)["prompt"]}
    record_row(mails, "changed", before={"prompt": before["prompt"]}, after=after, actor=acting(ASTRID))


def _saved(template: str, actor: Actor) -> Prompt:
    saved = save_prompt(slug="support-desk", planning="plan_first", template=template, actor=actor)
    if not isinstance(saved, Prompt):
        raise ValueError(f"prompt: {saved.issues}")
    return saved


def seed_changes(now: datetime) -> None:
    """Propose what waits for a second admin: some by Ada, some by Astrid. One proposal was refused before."""
    ada, astrid = acting(ADA), acting(ASTRID)
    wide = TOO_WIDE % (now + timedelta(days=90)).strftime("%Y-%m-%dT00:00:00Z")
    refused = _waits(policies.propose(text=wide, effective_at=None, note="Refunds keep us busy all day.", actor=astrid))
    policies.decide(version_id=refused, verdict="refuse", note="EUR 200 is too much to pay unseen.", actor=ada)
    _waits(policies.propose(text=POLICY, effective_at=None, note="Agreed in the meeting on refunds.", actor=ada))
    _waits(
        weighing.propose(
            raw=replace(
                START,
                values={**WEIGHTS, "first_contact": 30, "outside_hours": 10},
                hours=Hours(6, 20, (0, 1, 2, 3, 4)),
            ).to_json(),
            note="The shop is closed at weekends, and strangers deserve a closer look.",
            actor=astrid,
        )
    )
    tickets = AllowlistRule("create_ticket", AllowlistState.AUTO, max_calls=1)
    letters = TaskType.objects.get(slug="customer-letter")
    changed = allowing.change(
        wishes=[allowing.Wish(letters.pk, tickets)], note="A letter that cannot be sent needs a colleague.", actor=ada
    )
    if not isinstance(changed, allowing.Changed):
        raise ValueError(f"allowlist: {changed}")
    carrier = HostRule("tracking.parcel.example", note="Where parcels are, for answers to 'where is my order'.")
    _waits(hosts.change(carrier, actor=ada))
    _waits(
        retention.change_periods(
            days=usual() | {"exports": 3}, note="Copies of the record need not lie around for a week.", actor=astrid
        )
    )


def seed_hold(run: Run) -> None:
    """Hold back the record of one run, as for a dispute with a bank."""
    placed = retention.place_hold(
        wanted=retention.Wanted(HoldKind.RUN, run_id=run.pk),
        matter="Bank dispute 2291",
        reason="The bank asks who agreed to this refund, and why.",
        actor=acting(ADA),
    )
    if not isinstance(placed, Hold):
        raise ValueError(f"hold: {placed}")


def _waits(outcome: object) -> UUID:
    if not isinstance(outcome, Proposed):
        raise ValueError(f"a change of the demonstration was not taken: {outcome}")
    return outcome.change_id
