"""Answer whoever decided on a change: the same outcome reads and counts the same on every page of rules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from agentops.changes.models import ChangeStatus
from agentops.changes.outcomes import Decided, Forbidden, Invalid, NotFound, Settled, Stale, TooLate
from agentops.tenancy import step_up
from agentops.tenancy.proof import StepUpNeeded


@dataclass(frozen=True, slots=True)
class Words:
    """How one kind of rules is spoken of: `each` is one change of it, `all` are the rules."""

    each: str
    all: str
    active: str = "is in force"

    def forbidden(self, rule: str) -> str:
        """Say why somebody may not decide."""
        return {
            "role": f"Only admins change {self.all}.",
            "own": f"You proposed this {self.each}. Another admin has to decide on it.",
            "not_own": f"Only whoever proposed a {self.each} can take it back.",
        }[rule]

    def settled(self, outcome: Settled) -> str:
        """Say what became of a change."""
        ended = {"active": self.active, "refused": "is refused", "withdrawn": "is withdrawn"}[outcome.status]
        return f"{self.each.capitalize()} {outcome.version} {ended}."


Page = Callable[[Mapping[str, str], str, int], HttpResponse]
"""Problems by field, what went wrong (or nothing), and the status -> the page again, with what was typed."""


def decided(request: HttpRequest, outcome: Decided, words: Words, *, page: Page, to: str) -> HttpResponse:
    """Return the answer to a decision: `to` when it counts, otherwise 403, 409, 422 or 428 with all that was typed.

    Raises Http404 where there is no such change in this tenant.
    """
    match outcome:
        case Settled():
            messages.success(request, words.settled(outcome))
            return redirect(to)
        case NotFound():
            raise Http404
        case StepUpNeeded():
            return step_up.ask(request)
        case Invalid(problems=problems):
            return page(problems, "", 422)
        case Forbidden(rule=rule):
            return page({}, words.forbidden(rule), 403)
        case TooLate(by=by, status=status):
            return page({}, f"{by} was faster: it is {ChangeStatus(status).label.lower()}.", 409)
        case Stale(what=what):
            return page({}, f"{what} has changed since this was proposed. It has to be proposed anew.", 409)
        case _:
            assert_never(outcome)
