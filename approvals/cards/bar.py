"""The decision bar of a card: which gates stand before an approval, what opens them, and what can be taken back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from django.urls import reverse

from agentops import clock
from agentops.tenancy.access import Actor, can
from approvals.assessing.ladder import SECTIONS, Rung, rung_for
from approvals.decisions import duties, friction, quorum
from approvals.decisions.handling import EXTENSIONS_MIN
from approvals.decisions.release import may_take_back
from approvals.decisions.sight import Sight, look
from approvals.models import Proposal, Status

ATTEST: Final = "attest:"


class Typed(Protocol):
    """What a person had ticked and picked when a verdict was not taken."""

    @property
    def errors(self) -> Mapping[str, str]: ...
    @property
    def answers(self) -> Mapping[str, str]: ...
    @property
    def facts(self) -> Sequence[str]: ...


def bar_of(
    proposal: Proposal,
    actor: Actor,
    typed: Typed,
    arguments: Sequence[Mapping[str, Any]],
    *,
    sight: Sight | None,
    chosen: bool,
) -> dict[str, Any]:
    """Return what the bar and its forms show.

    rule        why this person may not approve (`card.RULES`), or empty
    token       the signed view token, empty where nothing is to be approved
    panel       whether approving takes a form of its own (rationale, values)
    gates       [{code, text, done, opens_at}]: what has to be there before an approval counts
    unseen      sections that have to be opened and were not yet; `see_url` records it
    questions   [{name, field, options [(value, text)], picked, error}]
    facts       [{name, text, ticked}]       rationale    characters a reason needs
    quorum      {needed, mine, given} or None; `given` only for those who have approved
    undo        {url, until} or None         step_up      when people have to prove again who they are

    Queries: the band's rule of the tenant, who may not from High upwards, what was opened on a card shown again.
    """
    now = clock.now()
    nothing: dict[str, Any] = {
        "rule": "",
        "token": "",
        "panel": False,
        "gates": [],
        "unseen": [],
        "questions": [],
        "facts": [],
        "rationale": 0,
        "quorum": None,
        "undo": None,
        "step_up": "never",
        "extensions": EXTENSIONS_MIN,
        "see_url": reverse("section_seen", args=[proposal.pk]),
    }
    if proposal.status != Status.PENDING:
        return nothing | {"undo": _undo(proposal, actor, now)}
    if not can(actor, "proposal.decide"):
        return nothing
    rung = rung_for(proposal)
    votes = _votes(proposal, actor, rung)
    # A card that nobody asked for cannot be approved anyway; whether its reader may is asked when it is opened.
    rule = duties.conflict(proposal, actor, rung, now=now, rested=chosen)
    if not rule and votes is not None and votes["mine"]:
        rule = quorum.ONCE_EACH
    if rule:
        return nothing | {"rule": rule, "quorum": votes, "undo": _undo(proposal, actor, now)}
    shown = sight or look(proposal, actor, now=now, opened=chosen)
    opened = friction.opened_sections(shown) if sight is not None and rung.must_see else {}
    must_see = {name: name in opened for name in friction.must_see(proposal, rung)}
    asked = friction.asked(proposal, shown, rung)
    return nothing | {
        "token": shown.token(),
        "panel": bool(rung.rationale_chars or asked),
        "gates": gates_of(proposal, rung, shown, must_see, now),
        "unseen": [name for name, was_opened in must_see.items() if not was_opened],
        "questions": [
            {
                "name": question.name,
                "field": f"{ATTEST}{question.path}",
                "options": [(str(index), text) for index, text in enumerate(question.options)],
                "picked": typed.answers.get(question.path, ""),
                "error": typed.errors.get(f"/attest{question.path}", ""),
            }
            for question in asked
        ],
        "facts": [
            {"name": one["name"], "text": one["text"], "ticked": one["name"] in typed.facts}
            for one in arguments
            if one["value"] is not None
        ]
        if rung.rationale_chars and rung.approvers == 1
        else [],
        "rationale": rung.rationale_chars,
        "quorum": votes,
        "step_up": str(rung.step_up),
    }


def gates_of(
    proposal: Proposal, rung: Rung, sight: Sight, must_see: Mapping[str, bool], now: datetime
) -> list[dict[str, Any]]:
    """Return the gates that time and opening sections open; the rest stands in the form."""
    gates: list[dict[str, Any]] = []
    window = rung.window(friction.words_to_read(proposal))
    if window and not sight.opened:
        gates.append({"code": "not_opened", "text": "Open it on purpose: its time to read starts then", "done": False})
    elif window:
        opens = sight.at + window
        seconds = max(1, round(window.total_seconds()))
        text = f"Read it: {seconds} s"
        gates.append({"code": "too_early", "text": text, "done": opens <= now, "opens_at": opens})
    gates.extend(
        {"code": "unseen", "text": f"Open {SECTIONS[name]}", "done": seen, "section": name}
        for name, seen in must_see.items()
    )
    return gates


def _votes(proposal: Proposal, actor: Actor, rung: Rung) -> dict[str, Any] | None:
    if rung.approvers <= 1:
        return None
    votes = quorum.votes_on(proposal)
    mine = any(vote.user_id == actor.user_id for vote in votes)
    return {"needed": rung.approvers, "mine": mine, "given": len(votes) if mine else None}


def _undo(proposal: Proposal, actor: Actor, now: datetime) -> dict[str, Any] | None:
    if not may_take_back(proposal, actor, now):
        return None
    return {"url": reverse("undo", args=[proposal.pk]), "until": proposal.release_at}
