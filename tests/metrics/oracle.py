"""The metrics once more, straight from the events as they are recorded, metric by metric, without the engine's fold."""

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agentops.engine.codec import encode
from agentops.engine.events import Stamped
from agentops.metrics.statistics import log_bin
from agentops.wire.canonical import canonical

Row = tuple[str, datetime, dict[str, Any]]
Expected = dict[tuple[str, str, str, str], dict[str, int]]
"""(day, task type, kind, key) -> count by name."""

ENDS = {"run.succeeded": "succeeded", "run.failed": "failed", "run.cancelled": "cancelled"}


def rows(history: Sequence[Stamped]) -> list[Row]:
    return [(one.event.type, one.at, encode(one.event)) for one in history]


def by_day(histories: Sequence[Sequence[Stamped]]) -> Expected:
    """Return what every cell of a day has to hold."""
    total: Expected = defaultdict(lambda: defaultdict(int))
    for history in histories:
        log = rows(history)
        task = log[0][2]
        if task.get("origin", "submitted") in ("regression", "replay", "fork"):
            continue
        of_run(log, task, total)
        of_calls(log, task, total)
        of_proposals(log, task, total)
    return {key: {n: c for n, c in counts.items() if c} for key, counts in total.items() if any(counts.values())}


def put(total: Expected, at: datetime, task: dict[str, Any], kind: str, key: str, **counts: int) -> None:
    for name, count in counts.items():
        total[at.date().isoformat(), task["task_type"], kind, key][name] += count


def ms(later: datetime, earlier: datetime) -> int:
    return round((later - earlier).total_seconds() * 1000)


def of_run(log: list[Row], task: dict[str, Any], total: Expected) -> None:
    ends = [(type_, at, data) for type_, at, data in log if type_ in (*ENDS, "run.requeued")]
    if not ends or ends[-1][0] == "run.requeued":
        return
    how, at, data = ends[-1]
    claims = [t for type_, t, _ in log if type_ == "run.claimed"]
    began = claims[0] if claims else at
    usages = [d["usage"] for _, _, d in log if "usage" in d]
    costs = {name: pin.get("cost_micros", 0) for name, pin in task["tools"].items()}
    tool_of = {d["call_id"]: d["tool"] for type_, _, d in log if type_ == "call.selected"}
    attempts: dict[str, set[int]] = defaultdict(set)
    for type_, _, d in log:
        if type_ in ("call.started", "call.succeeded", "call.failed"):
            attempts[d["call_id"]].add(d["attempt"])
        if type_ == "call.reconciled" and d["verdict"] == "did_not_happen":
            attempts[d["call_id"]].discard(max(attempts[d["call_id"]], default=0))
    steps, repeats = steps_of(log)
    human = human_ms(log, began, at)
    took_back = how == "run.cancelled" and data["by"] == task["requested_by"]
    effects = {d["call_id"] for type_, _, d in log if type_ == "call.selected" and d["effect"] != "read"}
    started = any(type_ == "call.started" and d["call_id"] in effects for type_, _, d in log)
    spent = {
        "model_micros": sum(u["cost_micros"] for u in usages),
        "tool_micros": sum(costs.get(tool_of[c], 0) * len(n - {0}) for c, n in attempts.items()),
        "tokens": sum(u["input_tokens"] + u["output_tokens"] for u in usages),
        "model_calls": sum(u["requests"] for u in usages),
        "unpriced": sum(u.get("unpriced", 0) for u in usages),
        "reviewer_s": reviewer_s(log),
        "wall_ms": ms(at, began) - human,
        "all_steps": steps + repeats,
        "all_runs": 1,
    }
    counts = {**spent, "taken_back": 1}
    if not took_back or started:
        counts = {**spent, "ended": 1, ENDS[how]: 1}
        if how == "run.succeeded":
            counts |= {
                "verified" if task.get("success_when") else "unchecked": 1,
                "steps": steps,
                "repeats": repeats,
                f"steps~{steps}": 1,
                f"latency~{log_bin(ms(at, began))}": 1,
                f"work~{log_bin(ms(at, began) - human)}": 1,
            }
    put(total, at, task, "run", "", **counts)
    put(total, at, task, "planner", task["planner"], **counts)
    for kind, value in (("prompt", task.get("prompt")), ("model", next(iter(task.get("models", [])), None))):
        if value:
            put(total, at, task, kind, value, **counts)


def steps_of(log: list[Row]) -> tuple[int, int]:
    """A step of a plan is new if any of its calls was never made with these arguments in an earlier step."""
    plan, order, calls = 0, [], defaultdict(list)
    for type_, _, d in log:
        plan += type_ == "plan.made"
        if type_ == "call.selected":
            step = (plan, d["step_id"])
            if step not in calls:
                order.append(step)
            calls[step].append((d["tool"], canonical(d.get("arguments"))))
    made: list[tuple[str, str]] = []
    new = 0
    for step in order:
        new += any(call not in made for call in calls[step])
        made += calls[step]
    return new, len(order) - new


def human_ms(log: list[Row], began: datetime, ended: datetime) -> int:
    """Walk over all moments in order, and add up the time in which anything was before a person."""
    waiting: set[str] = set()
    total, last = 0.0, began
    for type_, at, d in log:
        if waiting and began <= last < ended:
            total += (min(at, ended) - last).total_seconds()
        last = max(last, at)
        if type_ in ("call.proposed", "proposal.undone"):
            waiting.add(d["proposal_id"])
        elif type_ in ("proposal.decided", "proposal.expired", "proposal.withdrawn"):
            waiting.discard(d["proposal_id"])
    return round(total * 1000)


def reviewer_s(log: list[Row]) -> int:
    """What was set aside when somebody was asked, until it was measured or nobody had to look."""
    held: dict[str, int] = {}
    for type_, _, d in log:
        if type_ == "call.proposed":
            held[d["call_id"]] = d.get("reviewer_s", 0)
        elif type_ == "proposal.decided" and "reviewer_s" in d:
            held[d["call_id"]] = d["reviewer_s"]
        elif type_ in ("proposal.expired", "proposal.withdrawn"):
            held[d["call_id"]] = 0
    return sum(held.values())


def of_calls(log: list[Row], task: dict[str, Any], total: Expected) -> None:
    final: dict[str, tuple[str, datetime]] = {}
    granted = {d["call_id"] for _, _, d in log if d.get("grant_id")}
    proposed = {d["call_id"] for type_, _, d in log if type_ == "call.proposed"}
    for type_, at, d in log:
        call = d.get("call_id", "")
        match type_:
            case "call.succeeded":
                final[call] = ("ok", at)
            case "call.unknown":
                final[call] = ("tool", at)
            case "call.failed" if not d.get("retry_at"):
                final[call] = (blame(d["code"]), at)
            case "call.denied":
                final[call] = (blame(d["code"]), at)
            case "call.confirmed" if d["verdict"] == "contradicted":
                final[call] = ("contradicted", final[call][1])
            case "call.reconciled" if d["verdict"] == "happened":
                final[call] = ("ok", at)
            case "call.reconciled" if d["verdict"] == "gave_up":
                final[call] = ("tool", at)
            case "call.started" | "call.reconciled":
                final.pop(call, None)
            case _:
                pass
    selected = {d["call_id"]: d for type_, _, d in log if type_ == "call.selected"}
    together: dict[tuple[str, datetime], list[str]] = defaultdict(list)
    for call, (how, at) in final.items():
        tool = selected[call]["tool"]
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        done = how in ("ok", "contradicted") and selected[call]["effect"] != "read"
        how = "tool" if how == "contradicted" else how
        together[tool, day].append(how)
        put(
            total, at, task, "tool", tool,
            effects=int(done), auto=int(done and call not in proposed), orphans=int(done and call not in granted),
        )  # fmt: skip
    for (tool, day), ends in together.items():
        wrong = sum(end != "ok" for end in ends)
        put(total, day, task, "tool", tool, calls=len(ends), clusters=1)
        put(total, day, task, "tool", tool, errors2=wrong**2, cross=wrong * len(ends), calls2=len(ends) ** 2)
        for end in ends:
            put(total, day, task, "tool", tool, **{end: 1})


def blame(code: str) -> str:
    if code in ("invalid_input", "not_found", "conflict", "permission_denied"):
        return "agent"
    return "policy" if code in ("policy_blocked", "budget_exceeded") else "tool"


def of_proposals(log: list[Row], task: dict[str, Any], total: Expected) -> None:
    selected = {d["call_id"]: d for type_, _, d in log if type_ == "call.selected"}
    for type_, since, asked in log:
        if type_ != "call.proposed":
            continue
        mine = [
            (t, at, d) for t, at, d in log if t.startswith("proposal.") and d["proposal_id"] == asked["proposal_id"]
        ]
        decisions = [(at, d) for t, at, d in mine if t == "proposal.decided"]
        closings = [(t, at) for t, at, _ in mine if t in ("proposal.expired", "proposal.withdrawn")]
        if not decisions and not closings:
            continue
        at, verdict = (
            (decisions[-1][0], decisions[-1][1]["verdict"])
            if decisions
            else (closings[-1][1], closings[-1][0].removeprefix("proposal."))
        )
        call = selected[asked["call_id"]]
        authority = task["tools"].get(call["tool"], {}).get("authority", [])
        counts = {
            "closed": 1,
            verdict: 1,
            "tainted": int(
                any(
                    p["integrity"] == "untrusted" and path.split("/")[1] in authority
                    for path, p in call.get("provenance", {}).items()
                )
            ),
        }
        if decisions:
            undone, last_by = False, ""
            for t, _, d in mine:
                if t == "proposal.decided":
                    last_by = d["by"]
                undone |= t == "proposal.undone" and d["by"] == last_by
            counts |= {
                "decided": 1,
                "undone": int(undone),
                "overridden": int(undone or verdict != "approve"),
                f"wait~{log_bin(ms(at, since))}": 1,
            }
            dwell = decisions[-1][1].get("view", {}).get("dwell_ms")
            if dwell is not None:
                arguments = call.get("arguments")
                words = len(re.findall(r"\w+", canonical(arguments)))
                needed = -(-words * 60_000 // 250) + 800 * (len(arguments) if isinstance(arguments, dict) else 1)
                read = min(dwell, 600_000)
                counts |= {
                    "read": 1,
                    "reading_ms": read,
                    f"reading~{log_bin(read)}": 1,
                    f"expected~{log_bin(needed)}": 1,
                }
                if verdict == "approve" and asked["band"] != "low":
                    counts |= {"approvals": 1, "stamped": int(read < needed / 2)}
        put(total, at, task, "band", asked["band"], **counts)
        put(total, at, task, "rule", asked["rule"], **counts)
