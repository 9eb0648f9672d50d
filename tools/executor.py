"""The only way to a tool handler: validate, take the permit, run, check what came back.

No permit, no dispatch. Everything before `consume` can fail without any trace; `consume` commits the intent;
everything after it is answered by a value that says whether the effect happened.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from agentops import clock
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import JSON, JSONObject, WireError, guard, parse_json

from . import schema
from .contracts import (
    CallContext,
    CannotTell,
    Confirmed,
    Contradicted,
    DidNotHappen,
    Effect,
    ErrorCode,
    Happened,
    ReadBack,
    Reconciled,
    ToolContract,
    ToolError,
    action_digest,
)
from .registry import Bound, Registry, registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One call as its caller wants it executed.

    `arguments` is a JSON object, or its raw text when it has not been parsed yet. `digest` is the
    `action_digest` the caller means; `deadline` (aware) is the last moment at which the handler may start.
    """

    tenant_id: int
    run_id: UUID
    call_id: str
    tool: str
    version: str
    arguments: "JSON | bytes"
    digest: str
    idempotency_key: str
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Permit:
    """The proof that a single-use grant for exactly this digest was consumed."""

    grant_id: str | UUID
    digest: str


class PermitRefused(Exception):
    """Raised by `consume` when there is no grant to consume. Nothing runs."""

    def __init__(self, code: str = ErrorCode.POLICY_BLOCKED, message: str = "No grant covers this call.") -> None:
        super().__init__(message)
        self.code = str(code)
        self.message = message


Consume = Callable[[CallRequest], Permit]


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The handler ran and its output passed the contract's schema."""

    output: JSONObject
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """This attempt had no effect (a read may have been made, and may simply be repeated).

    `reached`: whether the handler was. Where it was not, the permission has been used for nothing.
    """

    code: ErrorCode
    message: str
    duration_ms: int = 0
    retry_after: float | None = None
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say whether the effect happened; reconcile before anything else."""

    message: str
    duration_ms: int = 0


Outcome = Succeeded | Failed | Unknown


@dataclass(frozen=True, slots=True)
class _Checked:
    bound: Bound
    arguments: JSONObject


class HandlersSealed(RuntimeError):
    """A tool was about to be reached while only another executor's tools may be (`only`). Nothing ran."""


class Executor:
    """Executes the tools of one registry, whose handlers it claims for itself."""

    def __init__(self, tools: Registry, *, now: Callable[[], datetime] = clock.now) -> None:
        self.__look_up = tools.claim_handlers()
        self._now = now

    def execute(self, request: CallRequest, consume: Consume) -> Outcome:
        """Run one call under a permit and return what became of it.

        Order: contract, arguments, digest, deadline; then, in the tenant scope, `consume` (which commits the intent)
        and the handler. Until `consume` nothing is consumed. `PermitRefused` becomes `Failed` with its code; any
        other exception of `consume`, and the open scope of another tenant, propagate and nothing runs.
        """
        self._unsealed()
        checked = self._check(request)
        if isinstance(checked, Failed):
            return replace(checked, reached=False)
        with tenant_scope(request.tenant_id):
            try:
                permit = consume(request)
            except PermitRefused as refused:
                return Failed(_permit_code(refused), refused.message, reached=False)
            if permit.digest != request.digest:
                return Failed(ErrorCode.POLICY_BLOCKED, "The permit is for a different action.", reached=False)
            if self._now() >= request.deadline:
                return Failed(ErrorCode.TIMEOUT, "The deadline passed before the call could start.", reached=False)
            return self._run(checked, request)

    def reconcile(self, request: CallRequest) -> Reconciled:
        """Ask the tool, by idempotency key, whether an effect is on record.

        `DidNotHappen` is safe to answer with a repeat under the same key. It is final only once the deadline has
        passed: until then a worker that lost its lease may still be inside the handler.
        """
        self._unsealed()
        checked = self._checked_arguments(request)
        if isinstance(checked, Failed):
            return CannotTell(checked.message)
        hook, contract = checked.bound.reconcile, checked.bound.contract
        if hook is None:
            return CannotTell("This tool keeps no record to ask.")
        try:
            with tenant_scope(request.tenant_id):
                answer = hook(_context(request), checked.arguments)
        except Exception as error:
            logger.exception("reconcile of %s failed", contract.name)
            return CannotTell(f"Looking it up failed ({type(error).__name__}).")
        if isinstance(answer, Happened) and _output_issues(contract, answer.output):
            return CannotTell("The effect is on record, but the record does not fit the contract.")
        return answer

    def read_back(self, request: CallRequest, output: JSON) -> ReadBack:
        """Look at the effect of a call that returned `output`; a hook that fails, or is missing, cannot tell.

        Changes nothing and needs no permit. Messages are the hook's own words.
        """
        self._unsealed()
        checked = self._checked_arguments(request)
        if isinstance(checked, Failed):
            return CannotTell(checked.message)
        hook, contract = checked.bound.read_back, checked.bound.contract
        if hook is None:
            return CannotTell("The effect of this tool cannot be read back.")
        if not isinstance(output, dict):
            return CannotTell("There is no output to compare the effect with.")
        try:
            with tenant_scope(request.tenant_id):
                return hook(_context(request), checked.arguments, output)
        except Exception as error:
            logger.exception("reading %s back failed", contract.name)
            return CannotTell(f"Reading it back failed ({type(error).__name__}).")

    def _unsealed(self) -> None:
        allowed = _only.get()
        if allowed is not None and allowed is not self:
            raise HandlersSealed("Only scripted tools can be reached here.")

    def _check(self, request: CallRequest) -> _Checked | Failed:
        checked = self._checked_arguments(request)
        if isinstance(checked, Failed):
            return checked
        actual = action_digest(
            tenant_id=request.tenant_id, tool=request.tool, version=request.version, arguments=checked.arguments
        )
        if actual != request.digest:
            return Failed(ErrorCode.POLICY_BLOCKED, "The arguments are not those the digest stands for.")
        if beyond := checked.bound.contract.bounds.exceeded(checked.arguments):
            return Failed(ErrorCode.POLICY_BLOCKED, " ".join(beyond))
        if self._now() >= request.deadline:
            return Failed(ErrorCode.TIMEOUT, "The deadline has passed.")
        return checked

    def _checked_arguments(self, request: CallRequest) -> _Checked | Failed:
        bound = self.__look_up(request.tool, request.version)
        if bound is None:
            return Failed(ErrorCode.NOT_FOUND, f"There is no tool {request.tool[:100]} {request.version[:20]}.")
        try:
            raw = request.arguments
            # A copy, because handlers may change what they are given.
            arguments = parse_json(raw) if isinstance(raw, str | bytes) else deepcopy(guard(raw))
        except WireError as error:
            return Failed(ErrorCode.INVALID_INPUT, f"{error.code}: {error.message}")
        issues = schema.compile(bound.contract.input_schema).validate(arguments)
        if issues or not isinstance(arguments, dict):
            return Failed(ErrorCode.INVALID_INPUT, describe_issues(issues))
        return _Checked(bound, arguments)

    def _run(self, checked: _Checked, request: CallRequest) -> Outcome:
        contract = checked.bound.contract
        started = time.monotonic()
        try:
            output = checked.bound.handler(_context(request), checked.arguments)
        except ToolError as error:
            return _tool_error(contract, error, _since(started))
        except Exception as error:
            logger.exception("%s %s raised", contract.name, contract.version)
            message = f"The tool stopped unexpectedly ({type(error).__name__})."
            if contract.effect is not Effect.READ:
                return Unknown(message, _since(started))
            return Failed(ErrorCode.INTERNAL, message, _since(started))
        duration = _since(started)
        if problem := _output_issues(contract, output):
            if contract.effect is not Effect.READ:
                return Unknown(f"The tool ran, but its answer is invalid. {problem}", duration)
            return Failed(ErrorCode.OUTPUT_INVALID, problem, duration)
        return Succeeded(output, duration)


def describe_issues(issues: list[schema.Issue]) -> str:
    """Return schema issues as one short line; values are never repeated."""
    if not issues:
        return "The arguments must be a JSON object."
    shown = "; ".join(f"{issue.path or '/'}: {issue.message}" for issue in issues[:5])
    more = len(issues) - 5
    return f"{shown}; and {more} more" if more > 0 else shown


def _output_issues(contract: ToolContract, output: JSON) -> str:
    try:
        guard(output)
    except WireError as error:
        return f"{error.code}: {error.message}"
    issues = schema.compile(contract.output_schema).validate(output)
    return describe_issues(issues) if issues else ""


_SAYS_NOTHING: Final = frozenset({ErrorCode.OUTCOME_UNKNOWN, ErrorCode.OUTPUT_INVALID})
"""Codes by which a write does not say that it had no effect: the provider did not answer, or nobody understood it."""


def _tool_error(contract: ToolContract, error: ToolError, duration_ms: int) -> Outcome:
    if error.code in _SAYS_NOTHING and contract.effect is not Effect.READ:
        return Unknown(error.message, duration_ms)
    if error.code not in contract.error_codes:
        logger.error("%s %s raised the undeclared code %s", contract.name, contract.version, error.code)
        if contract.effect is not Effect.READ:
            return Unknown(error.message, duration_ms)
        return Failed(ErrorCode.INTERNAL, error.message, duration_ms)
    return Failed(error.code, error.message, duration_ms, error.retry_after)


def _permit_code(refused: PermitRefused) -> ErrorCode:
    try:
        return ErrorCode(refused.code)
    except ValueError:
        return ErrorCode.POLICY_BLOCKED


def _context(request: CallRequest) -> CallContext:
    return CallContext(
        tenant_id=request.tenant_id,
        run_id=request.run_id,
        call_id=request.call_id,
        idempotency_key=request.idempotency_key,
        deadline=request.deadline,
    )


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


_only: ContextVar[Executor | None] = ContextVar("only_executor", default=None)


@contextmanager
def only(executor: Executor) -> Iterator[None]:
    """Let nothing but the tools of this executor be reached inside, by whatever code: the seal of scripted runs.

    Raises HandlersSealed inside another seal.
    """
    if _only.get() is not None:
        raise HandlersSealed("One seal cannot be opened inside another.")
    token = _only.set(executor)
    try:
        yield
    finally:
        _only.reset(token)


_executor = Executor(registry)
execute = _executor.execute
reconcile = _executor.reconcile
read_back = _executor.read_back

__all__ = [
    "CallRequest",
    "CannotTell",
    "Confirmed",
    "Consume",
    "Contradicted",
    "DidNotHappen",
    "Executor",
    "Failed",
    "HandlersSealed",
    "Happened",
    "Outcome",
    "Permit",
    "PermitRefused",
    "ReadBack",
    "Reconciled",
    "Succeeded",
    "Unknown",
    "describe_issues",
    "execute",
    "only",
    "read_back",
    "reconcile",
]
