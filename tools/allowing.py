"""The only way in which the allowlist changes: what narrows counts at once, what widens waits for a second admin.

Every page, form, file and program goes through `change` and `decide`. `seed_rules` alone writes without people: it
fills cells that have no rule yet, for the system itself, and no request can call it.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from django.db import transaction

from agentops import clock
from agentops.audit.services import NewEvent, append, record_in_tenant_stream
from agentops.changes import services as changes
from agentops.changes.models import ChangeStatus
from agentops.changes.outcomes import Decided, Forbidden, Invalid, Proposed, Stale, Waiting
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.expressions import KNOWN_FUNCTIONS, ExpressionError, brief, check
from agentops.wire.parse import JSON, JSONObject, as_object, clean_text

from .allowlist import ROOTS, AllowlistRule, AllowlistState, rule_of
from .contracts import MAX_RATE, ContractError, parse_version
from .models import AllowlistChange, AllowlistEntry
from .registry import registry
from .widening import loosened, wider

MAX_CELLS: Final = 5_000
MAX_CONSTRAINTS: Final = 10
MAX_CALLS: Final = 1_000_000
MAX_RULE_NOTE: Final = 300
_CONSTRAINT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_TOOL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Wish:
    """The rule that somebody wants for a task type; the tool stands in the rule."""

    task_type_id: int
    rule: AllowlistRule

    @property
    def cell(self) -> tuple[int, str]:
        return self.task_type_id, self.rule.tool


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of wishes: how many narrowed at once (`version`), how many wait (`proposed`) or were so already."""

    narrowed: int
    version: int
    widened: int
    proposed: Proposed | None
    unchanged: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell of a change, as it is shown: rules before and after, and what makes it wider."""

    task_type_id: int
    task_type: str
    tool: str
    before: AllowlistRule
    after: AllowlistRule
    wider: tuple[str, ...]


# --- what can be wrong with a rule ----------------------------------------------------------------------------------


def rule_problems(rule: AllowlistRule, *, known: bool) -> dict[str, str]:
    """Say what is wrong with a rule, by field. `known` says that the tool is registered or has a rule already."""
    problems: dict[str, str] = {}
    if not known or _TOOL_NAME.fullmatch(rule.tool) is None:
        problems["tool"] = f"There is no tool {clean_text(rule.tool[:100])}."
    for name in ("min_version", "max_version"):
        text = getattr(rule, name)
        if text and not _is_version(text):
            problems[name] = "Use three numbers, such as 1.0.0."
    low, high = rule.min_version, rule.max_version
    if low and high and not problems and parse_version(low) > parse_version(high):
        problems["max_version"] = "The highest version is below the lowest."
    if rule.max_calls is not None and not 0 <= rule.max_calls <= MAX_CALLS:
        problems["max_calls"] = f"Use a whole number from 0 to {MAX_CALLS:,}."
    if rule.rate_per_minute is not None and not 1 <= rule.rate_per_minute <= MAX_RATE:
        problems["rate_per_minute"] = f"Use a whole number from 1 to {MAX_RATE:,}."
    if len(rule.note) > MAX_RULE_NOTE:
        problems["rule_note"] = f"Use at most {MAX_RULE_NOTE} characters."
    if found := constraint_problem(rule):
        problems["constraints"] = found
    return problems


def constraint_problem(rule: AllowlistRule) -> str:
    """Say what is wrong with the constraints of a rule, with the place inside the expression; empty if nothing is."""
    if len(rule.constraints) > MAX_CONSTRAINTS:
        return f"A rule may have {MAX_CONSTRAINTS} constraints."
    if len({one.name for one in rule.constraints}) != len(rule.constraints):
        return "Two constraints have the same name."
    return next((f"{clean_text(name[:60])}: {text}" for name, text in constraint_problems(rule)), "")


def constraint_problems(rule: AllowlistRule) -> Iterator[tuple[str, str]]:
    """Yield name and sentence for every constraint that cannot be taken."""
    for one in rule.constraints:
        if _CONSTRAINT_NAME.fullmatch(one.name) is None:
            yield one.name, "a name has small letters, digits, - and _, at most 40."
        elif not one.expression.strip():
            yield one.name, "say what the arguments have to satisfy."
        else:
            try:
                check(one.expression, ROOTS, functions=KNOWN_FUNCTIONS)
            except ExpressionError as error:
                yield one.name, brief(error)


def _is_version(text: str) -> bool:
    try:
        parse_version(text)
    except ContractError:
        return False
    return len(text) <= 20


# --- changing it ----------------------------------------------------------------------------------------------------


def change(
    *, wishes: Sequence[Wish], note: str, actor: Actor, now: datetime | None = None
) -> Changed | Waiting | Forbidden | Invalid:
    """Narrow cells at once, and propose to another admin those that would allow more.

    All or nothing: a problem with one wish changes nothing. A cell that narrows in one way and widens in another one
    waits as a whole. One that is denied keeps its limits, unless those of the wish are at least as strict; to allow
    it again without them is a widening. `note` is needed where something widens. Problems are by field; with the cell
    before it where there are several wishes.
    """
    if (refused := changes.may_not(actor)) is not None:
        return refused
    if len(note) > changes.MAX_NOTE:
        return Invalid({"note": f"Use at most {changes.MAX_NOTE:,} characters."})
    moment = now or clock.now()
    with transaction.atomic():
        compared = compare(wishes, lock=True)
        if isinstance(compared, Invalid):
            return compared
        differences, current = compared
        differing = [one for one in differences if one.before != one.after]
        narrow = [one for one in differing if not one.wider]
        wide = [one for one in differing if one.wider]
        if wide and (bad := changes.note_problems(note)):
            return Invalid(bad)
        version = _narrow(narrow, current, note, actor, moment) if narrow else 0
        proposed: Proposed | None = None
        if wide:
            outcome = changes.propose(KIND, body=_body(wide), note=note, actor=actor, now=moment, narrows=False)
            if not isinstance(outcome, Proposed):
                transaction.set_rollback(True)
                return outcome
            proposed = outcome
        return Changed(len(narrow), version, len(wide), proposed, len(wishes) - len(differing))


def compare(
    wishes: Sequence[Wish], *, lock: bool = False
) -> tuple[list[Difference], dict[tuple[int, str], AllowlistEntry]] | Invalid:
    """Return what each wish would change, in their order, and the rows there are; or what is wrong with the wishes.

    Three queries. `lock` keeps others from changing these task types' rules until the transaction ends.
    """
    if len(wishes) > MAX_CELLS or len({wish.cell for wish in wishes}) != len(wishes):
        return Invalid({"": f"Change at most {MAX_CELLS:,} cells at once, each of them once."})
    names = _task_types({wish.task_type_id for wish in wishes}, lock=lock)
    current = _entries({wish.cell for wish in wishes})
    registered = {contract.name for contract in registry.contracts()}
    problems: dict[str, str] = {}
    for wish in wishes:
        found = rule_problems(wish.rule, known=wish.rule.tool in registered or wish.cell in current)
        if wish.task_type_id not in names:
            found["task_type"] = "There is no such task type."
        where = f"{names.get(wish.task_type_id, '?')} / {clean_text(wish.rule.tool[:100])} " if wishes[1:] else ""
        problems |= {f"{where}{field}": text for field, text in found.items()}
    if problems:
        return Invalid(problems)
    rates: dict[str, list[int | None]] = {}
    for contract in registry.all_versions():
        rates.setdefault(contract.name, []).append(contract.rate_per_minute)
    return [_difference(wish, names, current, rates) for wish in wishes], current


def decide(*, change_id: UUID, verdict: str, note: str, actor: Actor, now: datetime | None = None) -> Decided:
    """Put a widening in force (`approve`), turn it down (`refuse`), or take the own one back (`withdraw`).

    `Stale` when a cell is no longer what it was when the change was proposed: it has to be proposed anew.
    """
    return changes.decide(KIND, change_id=change_id, verdict=verdict, note=note, actor=actor, now=now)


def seed_rules(
    task_type_id: int, rules: Mapping[str, AllowlistState] | Iterable[AllowlistRule], *, actor: Actor = SYSTEM
) -> int:
    """Give a task type its first rules, as the system itself: for the demonstration, and for tests.

    A tool that has a rule already raises IntegrityError: nothing that people have said is ever changed here. Raises
    PermissionError for anybody but the system. Returns how many rules there are now.
    """
    if actor.kind != "system":
        raise PermissionError("Only the system seeds an allowlist; people change it with `change`.")
    found = (
        [AllowlistRule(tool, AllowlistState(state)) for tool, state in rules.items()]
        if isinstance(rules, Mapping)
        else list(rules)
    )
    with transaction.atomic():
        AllowlistEntry.objects.bulk_create(
            AllowlistEntry(tenant_id=current_tenant_id(), task_type_id=task_type_id, tool=rule.tool, **_columns(rule))
            for rule in found
        )
        record_in_tenant_stream(
            "allowlist.seeded",
            {"rules": {rule.tool: rule.to_json() for rule in found}},
            subject=("tasktype", str(task_type_id)),
            actor=actor,
        )
    return len(found)


# --- how a change is kept and applied -------------------------------------------------------------------------------


def differences_of(row: AllowlistChange) -> list[Difference]:
    """Return the cells of a change as it was made."""
    raw: Any = row.body.get("cells", [])
    return [
        Difference(
            int(cell["task_type_id"]),
            str(cell["task_type"]),
            str(cell["tool"]),
            AllowlistRule.from_json(str(cell["tool"]), as_object(cell["before"])),
            AllowlistRule.from_json(str(cell["tool"]), as_object(cell["after"])),
            tuple(str(one) for one in cell["wider"]),
        )
        for cell in raw
    ]


def _body(differences: Sequence[Difference]) -> JSONObject:
    return {
        "cells": [
            {
                "task_type_id": one.task_type_id,
                "task_type": one.task_type,
                "tool": one.tool,
                "before": one.before.to_json(),
                "after": one.after.to_json(),
                "wider": list[JSON](one.wider),
            }
            for one in differences
        ]
    }


def _difference(
    wish: Wish,
    names: Mapping[int, str],
    current: Mapping[tuple[int, str], AllowlistEntry],
    rates: Mapping[str, Sequence[int | None]],
) -> Difference:
    entry = current.get(wish.cell)
    before = AllowlistRule(wish.rule.tool, AllowlistState.DENIED) if entry is None else rule_of(entry)
    after = replace(
        wish.rule,
        note=clean_text(wish.rule.note.strip()),
        constraints=tuple(sorted(wish.rule.constraints, key=lambda one: one.name)),
    )
    own = rates.get(wish.rule.tool)
    if after.state is AllowlistState.DENIED and any(loosened(before, after, own)):
        # It counts at once and by one person, so it must not take away what the next one relies on.
        after = replace(before, state=AllowlistState.DENIED, note=after.note)
    return Difference(
        wish.task_type_id,
        names[wish.task_type_id],
        wish.rule.tool,
        before,
        after,
        wider(before, after, own),
    )


def _narrow(
    cells: Sequence[Difference],
    current: Mapping[tuple[int, str], AllowlistEntry],
    note: str,
    actor: Actor,
    now: datetime,
) -> int:
    row = changes.create(
        KIND,
        body=_body(cells),
        note=note,
        actor=actor,
        now=now,
        narrows=True,
        status=ChangeStatus.ACTIVE,
        decided_at=now,
    )
    _apply(row, cells, current, actor)
    changes.record(KIND, "narrowed", row, actor, {"note": row.note, "cells": len(cells)})
    return row.version


def _put_in_force(row: AllowlistChange, actor: Actor, now: datetime) -> JSONObject | Stale:
    cells = differences_of(row)
    names = _task_types({one.task_type_id for one in cells}, lock=True)
    current = _entries({(one.task_type_id, one.tool) for one in cells})
    for one in cells:
        entry = current.get((one.task_type_id, one.tool))
        now_is = AllowlistRule(one.tool, AllowlistState.DENIED) if entry is None else rule_of(entry)
        # Whatever somebody has said about the cell since, be it a note, voids the change.
        if one.task_type_id not in names or now_is != one.before:
            return Stale(f"{one.task_type} / {one.tool}")
    _apply(row, cells, current, actor)
    return {"cells": len(cells), "proposed_by": row.proposed_by.get_username()}


KIND: Final = changes.Kind(AllowlistChange, "allowlist.", "allowlistchange", _put_in_force)


def _apply(
    row: AllowlistChange,
    cells: Sequence[Difference],
    current: Mapping[tuple[int, str], AllowlistEntry],
    actor: Actor,
) -> None:
    rows: list[AllowlistEntry] = []
    known: list[AllowlistEntry] = []
    new: list[AllowlistEntry] = []
    for one in cells:
        entry = current.get((one.task_type_id, one.tool))
        if entry is not None:
            known.append(entry)
        else:
            entry = AllowlistEntry(tenant_id=row.tenant_id, task_type_id=one.task_type_id, tool=one.tool)
            new.append(entry)
        for name, value in _columns(one.after).items():
            setattr(entry, name, value)
        entry.updated_by_id, entry.updated_at = row.proposed_by_id, clock.now()
        rows.append(entry)
    AllowlistEntry.objects.bulk_create(new)
    written = (*_columns(AllowlistRule("", AllowlistState.DENIED)), "updated_by", "updated_at")
    AllowlistEntry.objects.bulk_update(known, written, batch_size=500)
    events: list[NewEvent] = []
    for one, entry in zip(cells, rows, strict=True):
        data: JSONObject = {
            "task_type": one.task_type,
            "before": one.before.to_json(),
            "after": one.after.to_json(),
            "change": row.version,
            "proposed_by": row.proposed_by.get_username(),
        }
        events.append(NewEvent("allowlist.changed", data, ("allowlistentry", str(entry.pk)), one.tool))
    append("tenant", events, actor=actor)


def _columns(rule: AllowlistRule) -> dict[str, Any]:
    return {
        "state": rule.state,
        "min_version": rule.min_version,
        "max_version": rule.max_version,
        "max_calls": rule.max_calls,
        "rate_per_minute": rule.rate_per_minute,
        "argument_constraints": rule.constraints_text(),
        "note": rule.note,
    }


def _task_types(ids: Collection[int], *, lock: bool) -> dict[int, str]:
    """Return the slugs of task types by id; locked against other changes of the allowlist, not against runs."""
    model: Any = AllowlistEntry._meta.get_field("task_type").related_model
    rows = model.objects.filter(pk__in=ids).order_by("pk")
    if lock:
        rows = rows.select_for_update(no_key=True)
    return dict(cast("Iterable[tuple[int, str]]", rows.values_list("pk", "slug")))


def _entries(cells: Collection[tuple[int, str]]) -> dict[tuple[int, str], AllowlistEntry]:
    rows = AllowlistEntry.objects.filter(task_type_id__in={one for one, _ in cells})
    if len(cells) <= 100:
        rows = rows.filter(tool__in={tool for _, tool in cells})
    return {(row.task_type_id, row.tool): row for row in rows}
