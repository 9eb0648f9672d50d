"""What a session asks whoever drives it to do: commit, ask a planner, answer a person's question, run a tool."""

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from agentops.engine.planner import Answered, AnswerRequest, Answers, Planner, PlannerAnswer, PlannerFailed, PlanRequest
from agentops.runs.commit import Write
from tools import executor


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit this; send the new head back, or throw what hindered it."""

    write: Write


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the planner; send its answer back."""

    planner: Planner
    request: PlanRequest

    def later(self) -> "Coroutine[Any, Any, PlannerAnswer] | None":
        """Return the asking as a coroutine, for a planner that may take long."""
        asking: Callable[..., Any] | None = getattr(self.planner, "aplan", None)
        return asking(self.request) if asking is not None else None


@dataclass(frozen=True, slots=True)
class Enquire:
    """Have the planner answer a person's question; send what it says back."""

    answerer: Answers
    request: AnswerRequest

    def later(self) -> "Coroutine[Any, Any, Answered | PlannerFailed] | None":
        """Return the asking as a coroutine, for a planner that may take long."""
        asking: Callable[..., Any] | None = getattr(self.answerer, "aanswer", None)
        return asking(self.request) if asking is not None else None


@dataclass(frozen=True, slots=True)
class Invoke:
    """Run the tool under this permit; send the outcome back."""

    request: executor.CallRequest
    permit: executor.Permit


Need = Commit | Ask | Enquire | Invoke
Steps = Generator[Need, Any, None]
