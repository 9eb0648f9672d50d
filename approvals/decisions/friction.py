"""What an approval has to show for itself, by the band of its risk: that somebody had the card, and looked at it.

Nothing here can be skipped from a browser: the token says when the card was served, the opened sections are on record,
and the questions are found again from the card. What is missing is told as one issue for each gate.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from agentops.proving import UNPROVED, Proved
from agentops.tenancy.access import Actor
from agentops.tenancy.prepared import Query
from agentops.wire.parse import JSONObject
from approvals.assessing.ladder import RECENT, SECTIONS, Rung
from approvals.decisions.attest import Question, questions
from approvals.decisions.sight import LASTS, Sight, fits, read_sight
from approvals.models import Decision, Proposal, StepUp, Viewing
from tools.schema import Issue

FACTS_ENOUGH: Final = 2
"""So many facts that somebody ticked count as a rationale of the length that High asks for."""

_WORD: Final = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What comes back with a verdict: the card's token, picked values by JSON pointer, ticked facts by argument name.

    `proved` is when this session last proved who it is.
    """

    token: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    facts: Sequence[str] = ()
    proved: Proved = UNPROVED


NOTHING: Final = Evidence()


@dataclass(frozen=True, slots=True)
class Looked:
    """All gates are open. `record` is what the event keeps: what was shown, how long, what was opened, picked."""

    sight: Sight
    record: JSONObject
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shut:
    """Some gates are not open yet. `missed` are the pointers of values that were picked wrongly."""

    issues: tuple[Issue, ...]
    missed: tuple[str, ...] = ()


def must_see(proposal: Proposal, rung: Rung) -> tuple[str, ...]:
    """Return the sections that have to be opened; a card without untrusted or recorded sources has no evidence."""
    has = {"arguments": True, "preview": shows_preview(proposal), "evidence": bool(proposal.provenance)}
    return tuple(name for name in rung.must_see if has[name])


def shows_preview(proposal: Proposal) -> bool:
    """Say whether the card previews what will be sent: anything with a recipient, a subject and a body."""
    return {"to", "subject", "body"} <= set(proposal.argument_values)


def words_to_read(proposal: Proposal) -> int:
    """Count the words of the arguments, which is what the decision is about."""
    return len(_WORD.findall(proposal.arguments.replace(",", " ")))


def opened_sections(sight: Sight) -> Mapping[str, str]:
    """Return which sections of a card its reader has opened, and when."""
    for version, opened in _OPENED(sight.id, sight.user_id, sight.proposal_id):
        return opened if version == sight.version else {}
    return {}


_OPENED: Final = Query(
    lambda view, user, proposal: Viewing.objects.filter(pk=view, user_id=user, proposal_id=proposal).values_list(
        "version", "opened"
    )
)


def open_section(proposal: Proposal, actor: Actor, token: str, section: str, *, now: datetime) -> Sight | None:
    """Record that the reader of a card has opened a section; None for a token that is not theirs, or no section.

    Must run inside `atomic`. Opening a section twice keeps the first moment.
    """
    sight = read_sight(token)
    if sight is None or not fits(sight, proposal, actor) or section not in SECTIONS or actor.user_id is None:
        return None
    row, _ = Viewing.objects.get_or_create(
        id=sight.id, defaults={"proposal": proposal, "user_id": actor.user_id, "version": proposal.version}
    )
    row = Viewing.objects.select_for_update().get(pk=row.pk)  # two sections may be opened at the same moment
    if section not in row.opened:
        row.opened = {**row.opened, section: now.isoformat()}
        row.save(update_fields=["opened"])
    return sight


def shown_again(proposal: Proposal, actor: Actor, token: str) -> Sight | None:
    """Return the card that a form came from, if it is this person's, still right, and has not served yet."""
    sight = read_sight(token)
    if sight is None or not fits(sight, proposal, actor):
        return None
    served = proposal.votes and Decision.objects.filter(proposal=proposal, view=sight.id).exists()
    return None if served else sight


def acted_on(sight: Sight, now: datetime) -> Sight:
    """Return the card somebody has just acted on: one that stood there by itself is opened on purpose from now on.

    It is the same card: what was opened of it, and what it asks, stay.
    """
    return sight if sight.opened else replace(sight, at=now, opened=True)


def asked(proposal: Proposal, sight: Sight, rung: Rung) -> tuple[Question, ...]:
    """Return the questions of a card."""
    return questions(proposal, sight.id, rung.attestations)


def check(
    proposal: Proposal,
    actor: Actor,
    note: str,
    evidence: Evidence,
    rung: Rung,
    *,
    now: datetime,
    typed: Sequence[str] = (),
) -> Looked | Shut:
    """Say whether the gates of the band are open. `typed` are pointers of values that the person has typed anew.

    Queries: whether the card has served before, if the proposal has had verdicts; which sections were opened, if some
    have to be.
    """
    sight = read_sight(evidence.token)
    if sight is None:
        return _shut("/view_token", "missing", "Open the card again: this form is not one that was shown to you.")
    if sight.user_id != actor.user_id:
        return _shut("/view_token", "not_yours", "Open the card yourself: this form was shown to somebody else.")
    if not fits(sight, proposal, actor):
        return _shut("/view_token", "other_card", "Open the card again: this form was shown for something else.")
    if sight.at + LASTS < now or sight.at > now:
        return _shut("/view_token", "expired", "Open the card again: it has been open for too long.")
    if proposal.votes and Decision.objects.filter(proposal=proposal, view=sight.id).exists():
        return _shut("/view_token", "used", "Open the card again: this one has served for a verdict already.")
    opened = opened_sections(sight) if rung.must_see else {}
    facts = tuple(dict.fromkeys(name for name in evidence.facts if name in proposal.argument_values))
    wanted = asked(proposal, sight, rung)
    missed = tuple(
        q.path for q in wanted if q.path not in typed and evidence.answers.get(q.path) not in ("", None, q.answer)
    )
    issues = [
        *_unread(proposal, sight, rung, now),
        *(
            Issue(f"/seen/{name}", "unseen", f"Open {SECTIONS[name]} first.")
            for name in must_see(proposal, rung)
            if name not in opened
        ),
        *_unsaid(note, facts, rung),
        *_unattested(wanted, evidence.answers, typed),
    ]
    if issues:
        return Shut(tuple(issues), missed)
    record: JSONObject = {
        "id": str(sight.id),
        "at": sight.at.isoformat(),
        "dwell_ms": max(0, round((now - sight.at).total_seconds() * 1000)),
    }
    if opened:
        record["opened"] = dict(opened)
    if wanted:
        record["attested"] = [q.path for q in wanted]
    if facts:
        record["facts"] = list(facts)
    return Looked(sight, record, facts)


def steps_up(rung: Rung, sight: Sight, evidence: Evidence, *, now: datetime) -> bool:
    """Say whether the person has to say who they are first: recently, or since this card was opened."""
    last, by_factor = evidence.proved.at, evidence.proved.by_factor_at
    match rung.step_up:
        case StepUp.NEVER:
            return False
        case StepUp.RECENT:
            return last is None or last + RECENT < now
        case StepUp.FACTOR:
            return by_factor is None or by_factor < sight.at
        case _:
            return last is None or last < sight.at


def _shut(path: str, code: str, message: str) -> Shut:
    return Shut((Issue(path, code, message),))


def _unread(proposal: Proposal, sight: Sight, rung: Rung, now: datetime) -> Iterator[Issue]:
    window = rung.window(words_to_read(proposal))
    if window and not sight.opened:
        yield Issue("/window", "not_opened", "Read it first: its time to read starts now.")
    elif (left := (sight.at + window - now).total_seconds()) > 0:
        yield Issue("/window", "too_early", f"Read it first: it can be approved in {max(1, round(left))} s.")


def _unsaid(note: str, facts: Sequence[str], rung: Rung) -> Iterator[Issue]:
    enough = len(note.strip()) >= rung.rationale_chars or (rung.approvers == 1 and len(facts) >= FACTS_ENOUGH)
    if not enough:
        instead = f", or tick {FACTS_ENOUGH} facts" if rung.approvers == 1 else ""
        yield Issue("/note", "too_short", f"Say why in at least {rung.rationale_chars} characters{instead}.")


def _unattested(wanted: Sequence[Question], answers: Mapping[str, str], typed: Sequence[str]) -> Iterator[Issue]:
    for question in wanted:
        if question.path in typed or answers.get(question.path) == question.answer:
            continue
        missing = not answers.get(question.path)
        code, text = (
            ("unattested", f"Pick what {question.name} is.")
            if missing
            else ("wrong_value", f"That is not what {question.name} is. Look at the arguments again.")
        )
        yield Issue(f"/attest{question.path}", code, text)
