"""What goes with a verdict: opening a section, saying who one is, asking the agent, and taking an approval back."""

from dataclasses import replace
from typing import assert_never
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from agentops import clock
from agentops.proving import proved
from agentops.runs.pages import is_fragment, unstored
from agentops.tenancy.access import require
from agentops.tenancy.people import called
from agentops.tenancy.requests import TenantRequest
from agentops.tenancy.step_up import Proof, prove, refusal
from approvals.assessing.ladder import rung_for
from approvals.cards.bar import gates_of
from approvals.cards.card import RULES, Draft, Notice
from approvals.decisions import asking, friction, release
from approvals.decisions.intents import read_intent, sign_intent
from approvals.pages.answers import answer_to, field_errors
from approvals.pages.forms import QuestionForm, SeenForm, StepUpForm
from approvals.pages.proposal_pages import card_answer, fetch
from approvals.pages.views import take
from approvals.proposals.outcomes import Asked, Forbidden, Invalid


@require_POST
@require("proposal.decide")
def section_seen(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Record that a section of a card was opened.

    For htmx the list of gates; otherwise the same card again, its time to read going on. 409 when the proposal is not
    as it was shown any more, 422 for a form that is none of ours.
    """
    found = fetch(pk)
    form = SeenForm(request.POST)
    if not form.is_valid():
        return card_answer(request, found, Notice("error", "There is no such section."), status=422)
    token, section = form.cleaned_data["view_token"], form.cleaned_data["section"]
    now = clock.now()
    with transaction.atomic():
        sight = friction.open_section(found, request.actor, token, section, now=now)
    if sight is None:
        return card_answer(request, found, Notice("error", "This has changed since you opened it."), status=409)
    if not is_fragment(request):
        return card_answer(request, found, status=200, sight=sight)
    rung = rung_for(found)
    opened = friction.opened_sections(sight)
    seen = {name: name in opened for name in friction.must_see(found, rung)}
    context = {"gates": gates_of(found, rung, sight, seen, now)}
    return unstored(render(request, "approvals/_gates.html", context))


@require_POST
@require("proposal.decide")
def step_up(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Let somebody prove who they are whose verdict waits for it, and take the verdict as it was posted before.

    428 for a wrong proof, 429 for too many, 422 for an intent that is not this person's or too old, 403 for an
    account that has nothing to prove it by; then as `views.decide`.
    """
    found = fetch(pk)
    form = StepUpForm(request.POST)
    posted = read_intent(request, found, form.cleaned_data["intent"]) if form.is_valid() else None
    if posted is None:
        notice = Notice("error", "That took too long.", "Decide again; you will be asked once more.")
        return card_answer(request, found, notice, status=422)
    match prove(request, subject=("proposal", str(found.pk))):
        case Proof.IMPOSSIBLE:
            notice = Notice("error", "You may not decide this.", RULES["no_password"])
            return card_answer(request, found, notice, status=403)
        case Proof.TOO_MANY:
            return _again(request, pk, posted, Notice("error", "Too many tries.", "Wait a minute."), status=429)
        case Proof.WRONG:
            notice = Notice("error", refusal(request), "Nothing was decided.")
            return _again(request, pk, posted, notice, status=428)
        case Proof.RIGHT:
            return take(request, pk, posted, proved(request).moved(clock.now()))
        case unreachable:
            assert_never(unreachable)


def _again(request: TenantRequest, pk: UUID, posted: QueryDict, notice: Notice, *, status: int) -> HttpResponse:
    found = fetch(pk)
    sight = friction.shown_again(found, request.actor, str(posted.get("view_token", "")))
    intent = sign_intent(request, found, posted)
    return card_answer(request, found, notice, status=status, sight=sight, intent=intent)


@require_POST
@require("proposal.decide")
def ask(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Put a question to the agent: 200 with the card, or a redirect to it; otherwise as `views.decide`."""
    found = fetch(pk)
    form = QuestionForm(request.POST)
    typed = str(request.POST.get("question", ""))[:20_000]
    draft = Draft(note=typed, open="ask")
    sight = friction.shown_again(found, request.actor, str(request.POST.get("view_token", "")))
    if not form.is_valid():
        notice = Notice("error", "Nothing was asked.", "The form was incomplete; try again.")
        return card_answer(request, found, notice, draft, status=422, sight=sight)
    outcome = asking.ask(
        proposal_id=found.pk,
        actor=request.actor,
        version=form.cleaned_data["version"],
        digest=form.cleaned_data["args_digest"],
        question=form.cleaned_data["question"],
    )
    now = fetch(pk)
    if isinstance(outcome, Invalid):
        said = " ".join(issue.message for issue in outcome.issues)
        notice = Notice("error", "Nothing was asked.", f"{said} Your question was: {typed}" if typed else said)
        shown = replace(draft, errors=field_errors(outcome.issues))
        return card_answer(request, now, notice, shown, status=422, sight=sight)
    if not isinstance(outcome, Asked):
        told = answer_to(outcome, now, draft, called(request.user))
        return card_answer(request, now, told.notice, told.draft, status=told.status, sight=sight)
    if not is_fragment(request):
        messages.success(request, "Asked. The answer appears below as soon as it is there.")
        return unstored(redirect(reverse("proposal", args=[pk])))
    notice = Notice("ok", "Asked.", "The answer appears below as soon as it is there.")
    return card_answer(request, now, notice, status=200, sight=sight)


@require_POST
@require("proposal.decide")
def undo(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Take an approval back before its call starts: 200 with the card, or a redirect to it; 409 when it is too late."""
    found = fetch(pk)
    outcome = release.undo(proposal_id=found.pk, actor=request.actor)
    now = fetch(pk)
    match outcome:
        case release.Undone():
            if not is_fragment(request):
                messages.success(request, "Taken back. Nothing was executed; it waits for a decision again.")
                return unstored(redirect(reverse("proposal", args=[pk])))
            notice = Notice("ok", "Taken back.", "Nothing was executed; it waits for a decision again.")
            return card_answer(request, now, notice, status=200)
        case release.Released():
            notice = Notice("error", "There is nothing to take back any more.", "The history says what happened.")
            return card_answer(request, now, notice, status=409)
        case Forbidden(rule=rule):
            notice = Notice("error", "You may not take this back.", RULES.get(rule, rule))
            return card_answer(request, now, notice, status=403)
        case _:
            assert_never(outcome)
