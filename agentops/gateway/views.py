"""The API. Every view parses, calls one service or selector, and answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import ClassVar, TypeAlias, assert_never
from uuid import UUID

from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from pydantic import BaseModel
from rest_framework.request import Request
from rest_framework.response import Response

from agentops.gateway.answers import (
    EventPage,
    ExchangeInfo,
    RunAccepted,
    RunPage,
    RunResult,
    TaskTypes,
    event_info,
    run_accepted,
    run_summary,
    task_type_info,
)
from agentops.gateway.base import ApiView, must, read_body, read_query
from agentops.gateway.forms import CancelRequest, EventsQuery, HoldRequest, RunRequest, RunsQuery, WaitQuery
from agentops.gateway.idempotency import fingerprint_of, read_key
from agentops.gateway.openapi import IDEMPOTENCY_KEY, RUN_ID, SEQ, STILL_GOING, SUBMIT_HEADERS, query_parameters
from agentops.gateway.problems import Fault, Problem
from agentops.gateway.selectors import (
    InvalidCursor,
    RecordRemoved,
    events_page,
    exchange_at,
    find_run,
    full_result,
    open_task_types,
    runs_page,
)
from agentops.gateway.services import take_task
from agentops.gateway.waiting import SEATS, wait_until_ended
from agentops.payloads.services import PayloadDamaged, PayloadMissing
from agentops.runs.models import Run
from approvals.stopping.intervention import (
    AlreadyEnded,
    AlreadyPaused,
    Cancelled,
    NotFound,
    NotPaused,
    NotYours,
    Paused,
    ReasonNeeded,
    Resumed,
    cancel_run,
    pause_run,
    resume_run,
)

Intervened: TypeAlias = (
    NotFound | NotYours | AlreadyEnded | ReasonNeeded | Cancelled | Paused | AlreadyPaused | Resumed | NotPaused
)
"""What may come of stepping into a run."""


class WaitingView(ApiView):
    """A view that may hold its answer back until a run has ended."""

    def ends_within(self, run_id: UUID, seconds: int) -> bool:
        """Wait and return whether the run has ended; False at once where too many requests wait already."""
        with SEATS.seat() if seconds else nullcontext(False) as seated:
            if not seated:
                return False
            self.leave_tenant()
            ended = wait_until_ended(self.caller.tenant, run_id, seconds)
            self.enter_tenant()
        return ended


class SubmitView(WaitingView):
    """Submit a task to an agent."""

    throttle_scope = "submit"
    scopes: ClassVar = {"POST": ("run.submit",)}

    @extend_schema(
        operation_id="submit_run",
        summary="Submit a task",
        description=(
            "Queues a run and answers 202 with its address. With `wait`, the answer is held back for up to that many "
            "seconds and is 200 with the result if the run has ended by then; this also needs the scope `run.view`. "
            "Repeating the request with the same `Idempotency-Key` within 24 hours never makes a second run: it is "
            "answered with the first one's, in the state it has by then."
        ),
        parameters=[*query_parameters(WaitQuery), IDEMPOTENCY_KEY, *SUBMIT_HEADERS],
        request=RunRequest,
        responses={202: RunAccepted, 200: RunResult},
        tags=["runs"],
    )
    def post(self, request: Request) -> Response:
        """Queue a run, and wait for its end if asked to."""
        wait = read_query(WaitQuery, request).wait
        if wait:
            must(self.caller, "run.view")
        task = read_body(RunRequest, request)
        key = _idempotency_key(request)
        fingerprint = fingerprint_of("POST", request.path, request.data)
        taken = take_task(caller=self.caller, task=task, key=key, fingerprint=fingerprint, now=timezone.now())
        if isinstance(taken, Problem):
            raise taken
        headers = {"Idempotent-Replayed": "true"} if taken.replayed else {}
        answer = self._awaited(taken.answer, wait)
        if isinstance(answer, RunResult):
            return _answer(answer, headers=headers | {"Content-Location": answer.links.self})
        if wait:
            headers["Retry-After"] = "1"
        return _answer(answer, 202, headers | {"Location": answer.links.self})

    def _awaited(self, accepted: RunAccepted, seconds: int) -> RunAccepted:
        """Return the result if the run ends in time, and where it is otherwise or if too many requests wait already."""
        ended = self.ends_within(accepted.run_id, seconds)
        if not seconds:
            return accepted
        run, tenant = _run_or_404(accepted.run_id), self.caller.tenant
        return full_result(run, tenant) if ended else run_accepted(run, tenant)


class RunsView(ApiView):
    """The runs of the tenant."""

    scopes: ClassVar = {"GET": ("run.view",)}

    @extend_schema(
        operation_id="list_runs",
        summary="List runs",
        description="Newest first. Pages are found by position, so new runs do not shift them.",
        parameters=query_parameters(RunsQuery),
        responses=RunPage,
        tags=["runs"],
    )
    def get(self, request: Request) -> Response:
        """Return one page of runs."""
        query = read_query(RunsQuery, request)
        try:
            runs, following = runs_page(
                state=query.state or "", task_type=query.task_type or "", after=query.after or "", limit=query.limit
            )
        except InvalidCursor:
            detail = "Use the value of `next` of the page before."
            fault = Fault("invalid_cursor", detail, parameter="after")
            raise Problem("invalid_parameter", detail, faults=[fault]) from None
        return _answer(RunPage(runs=[run_summary(run, self.caller.tenant) for run in runs], next=following))


class RunView(WaitingView):
    """One run."""

    scopes: ClassVar = {"GET": ("run.view",)}

    @extend_schema(
        operation_id="get_run",
        summary="Get a run with its result, steps and audit trail",
        description="With `wait`, the answer is held back for up to that many seconds, until the run has ended.",
        parameters=[RUN_ID, *query_parameters(WaitQuery), STILL_GOING],
        responses=RunResult,
        tags=["runs"],
    )
    def get(self, request: Request, run_id: UUID) -> Response:
        """Return everything about the run, once it has ended if asked to wait for that."""
        wait = read_query(WaitQuery, request).wait
        run = _run_or_404(run_id)
        if wait and run.ended_at is None:
            self.ends_within(run_id, wait)
            run = _run_or_404(run_id)
        with _kept():
            headers = {"Retry-After": "1"} if wait and run.ended_at is None else {}
            return _answer(full_result(run, self.caller.tenant), headers=headers)


class RunEventsView(ApiView):
    """The audit trail of one run."""

    scopes: ClassVar = {"GET": ("run.view",)}

    @extend_schema(
        operation_id="list_run_events",
        summary="List the events of a run",
        description="Oldest first. A run that has not ended gets more of them.",
        parameters=[RUN_ID, *query_parameters(EventsQuery)],
        responses=EventPage,
        tags=["runs"],
    )
    def get(self, request: Request, run_id: UUID) -> Response:
        """Return one page of events."""
        query = read_query(EventsQuery, request)
        run = _run_or_404(run_id)
        with _kept():
            events, following = events_page(run, after=query.after, limit=query.limit)
        return _answer(EventPage(run_id=run.id, events=[event_info(one) for one in events], next=following))


class RunExchangeView(ApiView):
    """What was said to a model."""

    scopes: ClassVar = {"GET": ("run.view",)}

    @extend_schema(
        operation_id="get_exchange",
        summary="Get what was said to the models for one event",
        description="For events whose data has an `exchange`: the raw requests and answers, whole.",
        parameters=[RUN_ID, SEQ],
        responses=ExchangeInfo,
        tags=["runs"],
    )
    def get(self, request: Request, run_id: UUID, seq: int) -> Response:
        """Return the exchange of one event."""
        run = _run_or_404(run_id)
        try:
            with _kept():
                exchange = exchange_at(run, seq)
        except (PayloadMissing, PayloadDamaged) as error:
            raise Problem("payload_damaged", str(error)) from None
        if exchange is None:
            raise Http404
        return _answer(ExchangeInfo(run_id=run_id, seq=seq, exchange=exchange))


class InterventionView(ApiView):
    """One way of stepping into a run: do it, once, and return the run as it is then."""

    throttle_scope = "submit"
    body: ClassVar[type[CancelRequest | HoldRequest]] = HoldRequest
    step_in: ClassVar[Callable[..., Intervened]]
    wanted_end: ClassVar[str] = ""
    """The end of a run that is just what was asked for, so that asking again is no conflict."""

    def post(self, request: Request, run_id: UUID) -> Response:
        """Step in and return the run."""
        _run_or_404(run_id)
        reason = read_body(self.body, request).reason
        outcome = self.step_in(run_id=run_id, actor=self.caller.actor, reason=reason, now=timezone.now())
        match outcome:
            case NotFound():
                raise Http404
            case NotYours():
                detail = "A token steps into runs it submitted, and resumes what it paused, only."
                raise Problem("not_yours", detail)
            case AlreadyEnded(state=state) if state != self.wanted_end:
                raise Problem("run_ended", f"The run has ended already: {state}.", extra={"run_status": state})
            case ReasonNeeded(message=message):
                raise Problem("invalid_request", message)
            case NotPaused(stopped=True):
                raise Problem("run_stopped", "People have stopped the line; only they lift that.")
            case Cancelled() | AlreadyEnded() | Paused() | AlreadyPaused() | Resumed() | NotPaused():
                with _kept():
                    return _answer(full_result(_run_or_404(run_id), self.caller.tenant))
            case _:
                assert_never(outcome)


@extend_schema_view(
    post=extend_schema(
        operation_id="cancel_run",
        summary="Cancel a run",
        description=(
            "Ends the run, withdraws its open proposals and revokes unused permissions. An effect that is under way is "
            "not undone. Cancelling a cancelled run again changes nothing. A token cancels only what it submitted."
        ),
        parameters=[RUN_ID],
        request=CancelRequest,
        responses=RunResult,
        tags=["runs"],
    )
)
class RunCancelView(InterventionView):
    """The end of a run before its end."""

    scopes: ClassVar = {"POST": ("run.cancel",)}
    body = CancelRequest
    step_in = staticmethod(cancel_run)
    wanted_end = "cancelled"


@extend_schema_view(
    post=extend_schema(
        operation_id="pause_run",
        summary="Pause a run",
        description=(
            "Nothing new starts until the run is resumed; what is under way is still recorded, deadlines stand still, "
            "and people may decide its proposals. Pausing a paused run changes nothing. A token pauses only what it "
            "submitted."
        ),
        parameters=[RUN_ID],
        request=HoldRequest,
        responses=RunResult,
        tags=["runs"],
    )
)
class RunPauseView(InterventionView):
    """A run that waits until somebody lets it go on."""

    scopes: ClassVar = {"POST": ("run.pause",)}
    step_in = staticmethod(pause_run)


@extend_schema_view(
    post=extend_schema(
        operation_id="resume_run",
        summary="Resume a run",
        description=(
            "Lets a run go on that the same token has paused; what a person paused, a person resumes. Resuming a run "
            "that is not paused changes nothing. A run that is held by a stop of the line answers 409."
        ),
        parameters=[RUN_ID],
        request=HoldRequest,
        responses=RunResult,
        tags=["runs"],
    )
)
class RunResumeView(InterventionView):
    """A paused run that goes on."""

    scopes: ClassVar = {"POST": ("run.pause",)}
    step_in = staticmethod(resume_run)


class TaskTypesView(ApiView):
    """What can be submitted."""

    scopes: ClassVar = {"GET": ("run.submit", "run.view")}

    @extend_schema(
        operation_id="list_task_types",
        summary="List the task types",
        responses=TaskTypes,
        tags=["task types"],
    )
    def get(self, request: Request) -> Response:
        """Return every task type that is switched on."""
        return _answer(TaskTypes(task_types=[task_type_info(one) for one in open_task_types()]))


class UnknownView(ApiView):
    """Every other address below the API: a problem document instead of a page."""

    schema = None

    def http_method_not_allowed(self, request: Request, *args: object, **kwargs: object) -> Response:  # type: ignore[override]
        """Answer 404 to every method."""
        raise Http404


def _answer(document: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(document.model_dump(mode="json"), status=status, headers=headers)


def _run_or_404(run_id: UUID) -> Run:
    run = find_run(run_id)
    if run is None:
        raise Http404
    return run


@contextmanager
def _kept() -> Iterator[None]:
    """Answer 410 where retention has removed what the block reads."""
    try:
        yield
    except RecordRemoved as error:
        raise Problem("record_removed", str(error)) from None


def _idempotency_key(request: Request) -> str | None:
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return None
    key = read_key(header)
    if key is None:
        raise Problem("idempotency_key_invalid", "Use 1 to 255 visible ASCII characters.")
    return key
