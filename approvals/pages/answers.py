"""What a person is told about the verdict they sent: status, sentence, and what they had typed. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from approvals.cards.card import RULES, Draft, Notice
from approvals.models import Proposal, Status, Verdict
from approvals.proposals.outcomes import (
    Decided,
    Expired,
    Forbidden,
    Gated,
    Invalid,
    Leased,
    Lost,
    Moved,
    Outcome,
    Reconfirm,
    Seconded,
    Stale,
    StepUpNeeded,
)
from tools.schema import Issue

_SAID = {Verdict.APPROVE: "approved", Verdict.EDIT: "changed and approved", Verdict.REJECT: "rejected"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status, the notice above the card, and the draft its forms show."""

    status: int
    notice: Notice
    draft: Draft


def headline(decided: Decided, tool: str) -> str:
    """Say in one line what a recorded verdict means; made of our words and the tool's name only."""
    match decided.verdict:
        case Verdict.APPROVE:
            return f"Approved. {tool} runs {_when(decided.release_at)}."
        case Verdict.EDIT:
            return f"Changed and approved. {tool} runs {_when(decided.release_at)}, with your values."
        case Verdict.REJECT:
            return f"Rejected. {tool} does not run; the agent is told why."


def _when(release_at: datetime | None) -> str:
    return "now" if release_at is None else f"at {release_at:%H:%M:%S} UTC; until then you can take it back"


def incomplete(draft: Draft, errors: dict[str, str]) -> Answer:
    """Answer a form that is not a verdict, or whose values cannot be read."""
    text = errors.get("") or ("See what stands beside the fields." if errors else "The form was incomplete; try again.")
    return Answer(422, Notice("error", "Nothing was decided.", text), replace(draft, errors=errors))


def unrecorded(draft: Draft) -> Answer:
    """Answer a verdict that the record did not take: no record, no decision."""
    text = "The record cannot be written at the moment, and nothing is decided without it. Try again in a minute."
    return Answer(503, Notice("error", "Nothing was decided.", text, draft_kept=True), draft)


def answer_to(outcome: Outcome, now: Proposal, draft: Draft, me: str) -> Answer:
    """Answer a verdict that closed nothing; `now` is the proposal as it is now, `me` what the person is called."""
    match outcome:
        case Decided():
            return Answer(200, Notice("ok", headline(outcome, now.tool)), Draft())
        case Seconded(given=given, needed=needed):
            text = f"{needed - given} more {'person has' if needed - given == 1 else 'people have'} to approve it."
            return Answer(202, Notice("ok", f"Your approval counts: {given} of {needed}.", text), Draft())
        case Gated(issues=issues):
            told = " ".join(issue.message for issue in issues)
            shown = replace(draft, errors=field_errors(issues), open=draft.open or "approve")
            return Answer(422, Notice("error", "Not approved yet.", told), shown)
        case StepUpNeeded():
            text = "Approving this needs your password again. Nothing you typed is lost."
            return Answer(428, Notice("info", "Say who you are.", text), draft)
        case Moved(version=version):
            text = f"What it would touch has changed since you opened it. Version {version} shows it as it is now."
            return Answer(412, Notice("error", "The preview was stale.", text, draft_kept=bool(draft.note)), draft)
        case Lost(verdict=Status.WITHDRAWN.value):
            text = now.closing_note or "The run ended before anybody decided."
            return Answer(410, Notice("error", "This was withdrawn.", text + _note_back(draft)), draft)
        case Lost(by=by, verdict=verdict, at=at):
            who = "You" if by == me else by
            title = f"{who} {_SAID.get(Verdict(verdict), verdict)} this already, at {at:%H:%M:%S} UTC."
            return Answer(409, Notice("error", title, f"Your verdict was not recorded.{_note_back(draft)}"), draft)
        case Stale():
            kept = bool(draft.open or draft.note)
            notice = Notice("error", "This has changed since you opened it.", changes(now), draft_kept=kept)
            return Answer(409, notice, draft)
        case Expired():
            text = f"Nobody decided in time, so nothing was executed, and the agent is told so.{_note_back(draft)}"
            return Answer(410, Notice("error", "The deadline has passed.", text), draft)
        case Forbidden(rule=rule):
            return Answer(403, Notice("error", "You may not decide this.", RULES.get(rule, rule)), draft)
        case Leased(by=by, until=until):
            text = "Nothing was decided. Wait, or take it over with a reason: it stands below the head of the card."
            return Answer(423, Notice("error", f"{by} has this until {until:%H:%M:%S} UTC.", text, True), draft)
        case Invalid(issues=issues):
            return incomplete(draft, field_errors(issues))
        case Reconfirm(version=version, band=band):
            text = (
                f"Your edit is kept as version {version}. The risk is {band.value} now: approve it as it stands here."
            )
            return Answer(422, Notice("error", "Not approved yet.", text), Draft(note=draft.note))
        case _:
            assert_never(outcome)


def changes(now: Proposal) -> str:
    """Name the arguments a person has changed since the agent proposed them; the card marks each of them."""
    values, original = now.argument_values, now.original_values
    names = [name for name in values if name not in original or values[name] != original[name]]
    if not names:
        return "It stands below as it is now."
    return f"Somebody changed {', '.join(names)}. It stands below as it is now, with each change marked."


def field_errors(issues: Iterable[Issue]) -> dict[str, str]:
    """Return the first message per field: `reason_code`, `note`, the pointer of an argument, or "" for the whole."""
    errors: dict[str, str] = {}
    for issue in issues:
        top = f"/{issue.path.split('/')[1]}" if issue.path.startswith("/") else issue.path
        if issue.path.startswith("/attest/"):
            errors.setdefault(issue.path, issue.message)
        errors.setdefault(_FIELDS.get(top, top), issue.message)
    return errors


_FIELDS = {f"/{name}": name for name in ("reason_code", "scope", "note", "question")}


def _note_back(draft: Draft) -> str:
    """Give back the one thing that a closed proposal has no field for."""
    return f" Your note was: {draft.note}" if draft.note.strip() else ""
