"""Common mistakes that a record shows: found in its events, each with a severity and the events that show it. Pure.

Nothing here decides anything. `loops` and `limits` stop a run while it goes on; detectors say afterwards what to look
at first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from agentops.engine.events import (
    CallDenied,
    CallFailed,
    CallProposed,
    CallSelected,
    CallStarted,
    CallSucceeded,
    LoopDetected,
    PlanFailed,
    PlanMade,
    RunFailed,
    RunSubmitted,
    RunWarned,
    Stamped,
)
from agentops.engine.loops import LOOP_DETECTED
from agentops.engine.state import repeat_key
from agentops.wire.parse import JSON, JSONObject

STORM: Final = 3
"""Attempts that failed, of one call or of one tool in a row, from which on it is a storm."""

REPEATED: Final = 3
"""Selections of the same call with the same arguments."""

MAX_NAMED: Final = 5


class Severity(IntEnum):
    """How much a finding matters; more is worse."""

    NOTE = 1
    WARNING = 2
    SERIOUS = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a record shows: a stable code, how much it matters, a sentence, and the events to look at."""

    code: str
    severity: Severity
    message: str
    seqs: tuple[int, ...]

    def to_json(self) -> JSONObject:
        return {
            "code": self.code,
            "severity": self.severity.word,
            "message": self.message,
            "events": list[JSON](self.seqs),
        }


def findings(events: Sequence[Stamped]) -> tuple[Finding, ...]:
    """Return everything that the detectors find, the worst first; what comes earlier first among equals."""
    found = [finding for detector in DETECTORS for finding in detector(events)]
    return tuple(sorted(found, key=lambda one: (-one.severity, one.seqs[:1], one.code)))


# --- the detectors --------------------------------------------------------------------------------------------------


def loop(events: Sequence[Stamped]) -> Iterator[Finding]:
    """The engine said that the run goes round in circles, or the same call was selected again and again."""
    said = [s for s in events if isinstance(s.event, LoopDetected)]
    ended = [s for s in events if isinstance(s.event, RunFailed) and s.event.code in (LOOP_DETECTED, "limit_repeats")]
    if said or ended:
        worst = Severity.SERIOUS if ended else Severity.WARNING
        yield Finding("loop", worst, "The run went round in circles.", _seqs([*said, *ended]))
    same: dict[str, list[tuple[Stamped, str]]] = {}
    for stamped in events:
        if isinstance(stamped.event, CallSelected):
            key = repeat_key(stamped.event.tool, stamped.event.arguments)
            same.setdefault(key, []).append((stamped, stamped.event.tool))
    for members in same.values():
        if len(members) >= REPEATED:
            told = f"{members[0][1]} was asked for {len(members)} times with the same arguments."
            yield Finding("repeated_call", Severity.WARNING, told, _seqs([s for s, _ in members]))


def retry_storm(events: Sequence[Stamped]) -> Iterator[Finding]:
    """One call, or the planner, failed again and again."""
    tools = {s.event.call_id: s.event.tool for s in events if isinstance(s.event, CallSelected)}
    failed: dict[str, list[Stamped]] = {}
    plans: list[Stamped] = []
    for stamped in events:
        match stamped.event:
            case CallFailed(call_id=call_id):
                failed.setdefault(call_id, []).append(stamped)
            case PlanFailed():
                plans.append(stamped)
            case PlanMade():
                if len(plans) < STORM:
                    plans = []
    for call_id, members in failed.items():
        if len(members) >= STORM:
            codes = ", ".join(dict.fromkeys(s.event.code for s in members if isinstance(s.event, CallFailed)))
            told = f"{tools.get(call_id, call_id)} failed {len(members)} times ({codes})."
            yield Finding("retry_storm", Severity.WARNING, told, _seqs(members))
    if len(plans) >= STORM:
        yield Finding("plan_storm", Severity.WARNING, f"The planner failed {len(plans)} times in a row.", _seqs(plans))


def budget_near(events: Sequence[Stamped]) -> Iterator[Finding]:
    """The run came near a limit, or ended because of one."""
    ended = [s for s in events if isinstance(s.event, RunFailed) and _of_budget(s.event.code)]
    if ended:
        event = ended[-1].event
        assert isinstance(event, RunFailed)
        yield Finding("budget_used_up", Severity.SERIOUS, f"A limit ended the run: {event.code}.", _seqs(ended))
    for stamped in events:
        if isinstance(stamped.event, RunWarned):
            e = stamped.event
            told = f"{e.limit}: {e.used} of {e.allowed} were used."
            yield Finding("budget_near", Severity.NOTE, told, (stamped.seq,))


def invented_tool(events: Sequence[Stamped]) -> Iterator[Finding]:
    """The planner asked for a tool that its task type does not have, or for a call that is not in the plan."""
    known: frozenset[str] | None = None
    named: dict[str, CallSelected] = {}
    for stamped in events:
        match stamped.event:
            case RunSubmitted(tools=tools):
                known = frozenset(tools)
            case CallSelected() as selected:
                named[selected.call_id] = selected
                if known is not None and selected.tool not in known:
                    told = f"{selected.tool} is no tool of this kind of task."
                    yield Finding("invented_tool", Severity.SERIOUS, told, (stamped.seq,))
            case CallDenied(code="off_plan", call_id=call_id):
                tool = named[call_id].tool if call_id in named else call_id
                told = f"{tool} was asked for and is not in the plan."
                yield Finding("off_plan", Severity.SERIOUS, told, (stamped.seq,))


def taint_into_sink(events: Sequence[Stamped]) -> Iterator[Finding]:
    """Text that somebody outside may have written decided where an effect goes, or went into one."""
    authority: dict[str, frozenset[str]] = {}
    attacked: dict[str, tuple[CallSelected, tuple[str, ...]]] = {}
    for stamped in events:
        match stamped.event:
            case RunSubmitted(tools=tools):
                authority = {tool: _names(pin.get("authority")) for tool, pin in tools.items()}
            case CallSelected() as selected if selected.effect not in ("", "read"):
                paths = tuple(p for p, one in selected.provenance.items() if one.get("integrity") == "untrusted")
                if paths:
                    attacked[selected.call_id] = (selected, paths)
            case CallProposed(call_id=call_id) if call_id in attacked:
                selected, paths = attacked[call_id]
                if where := _authority(paths, authority.get(selected.tool, frozenset())):
                    told = f"Untrusted text decides {_list(where)} of {selected.tool}; a person was asked."
                    yield Finding("taint_into_sink", Severity.WARNING, told, (stamped.seq,))
            case CallStarted(call_id=call_id) | CallSucceeded(call_id=call_id) if call_id in attacked:
                selected, paths = attacked.pop(call_id)
                where = _authority(paths, authority.get(selected.tool, frozenset()))
                severity = Severity.SERIOUS if where else Severity.NOTE
                told = f"{selected.tool} ran with untrusted text in {_list(where or _tops(paths))}."
                yield Finding("taint_in_effect", severity, told, (stamped.seq,))


DETECTORS: Final[tuple[Callable[[Sequence[Stamped]], Iterator[Finding]], ...]] = (
    *(loop, retry_storm, budget_near, invented_tool, taint_into_sink),
)


def _of_budget(code: str) -> bool:
    return code == "budget_exceeded" or (code.startswith("limit_") and code != "limit_repeats")


def _names(value: JSON) -> frozenset[str]:
    return frozenset(str(one) for one in value) if isinstance(value, list) else frozenset()


def _tops(paths: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(path.split("/")[1] if path.startswith("/") else "its arguments" for path in paths))


def _authority(paths: Sequence[str], names: frozenset[str]) -> list[str]:
    return [top for top in _tops(paths) if top in names]


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_NAMED])
    return f"{shown} and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else shown


def _seqs(events: Sequence[Stamped]) -> tuple[int, ...]:
    return tuple(sorted(s.seq for s in events))
