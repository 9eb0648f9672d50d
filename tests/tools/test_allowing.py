"""The allowlist changes in one way only: narrowing counts at once, widening needs another admin."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from agentops.audit.models import Event
from agentops.audit.services import load
from agentops.changes import outcomes
from agentops.runs.models import TaskType
from agentops.tenancy.access import SYSTEM, WORKER, Actor
from agentops.tenancy.models import Tenant
from tests.conftest import person
from tools import allowing
from tools.allowing import Changed, Wish, change, decide, seed_rules
from tools.allowlist import AllowlistRule, AllowlistState, Constraint, lookup
from tools.models import AllowlistChange, AllowlistEntry

DENIED, GATED, AUTO = AllowlistState.DENIED, AllowlistState.GATED, AllowlistState.AUTO
WHY = "The team has asked for it."
SMALL = Constraint("small", "args.amount_minor <= 5000")


@pytest.fixture
def support(scoped: Tenant) -> TaskType:
    return TaskType.objects.create(slug="support", name="Support", input_schema={})


@pytest.fixture
def ada(alice: User, acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(alice, acme)


@pytest.fixture
def adam(acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(person("adam", acme, "admin"), acme)


def wish(kind: TaskType, state: AllowlistState, tool: str = "mail.read", **more: Any) -> Wish:
    return Wish(kind.pk, AllowlistRule(tool, state, **more))


def proposed(actor: Actor, *wishes: Wish) -> AllowlistChange:
    outcome = change(wishes=wishes, note=WHY, actor=actor)
    assert isinstance(outcome, Changed), outcome
    assert outcome.proposed is not None
    return AllowlistChange.objects.get(pk=outcome.proposed.change_id)


def test_a_new_task_type_may_do_nothing_and_one_admin_cannot_change_that(support: TaskType, ada: Actor) -> None:
    row = proposed(ada, wish(support, GATED))
    assert lookup(support.pk, "mail.read").state == DENIED
    assert decide(change_id=row.pk, verdict="approve", note="", actor=ada) == outcomes.Forbidden("own")
    with pytest.raises(IntegrityError), transaction.atomic():
        AllowlistChange.objects.filter(pk=row.pk).update(status="active", decided_at=timezone.now())
    with pytest.raises(IntegrityError), transaction.atomic():
        AllowlistChange.objects.filter(pk=row.pk).update(
            status="active", decided_by=ada.user_id, decided_at=timezone.now()
        )
    assert lookup(support.pk, "mail.read").state == DENIED


def test_another_admin_puts_a_widening_in_force_and_every_step_is_on_record(
    support: TaskType, ada: Actor, adam: Actor
) -> None:
    row = proposed(ada, wish(support, AUTO, constraints=(SMALL,), max_calls=3))
    assert isinstance(decide(change_id=row.pk, verdict="approve", note="", actor=adam), outcomes.Settled)
    rule = lookup(support.pk, "mail.read")
    assert (rule.state, rule.max_calls, rule.constraints) == (AUTO, 3, (SMALL,))
    told = [(one.type, one.actor["name"]) for one in load("tenant") if one.type.startswith("allowlist.")]
    assert told == [("allowlist.proposed", "alice"), ("allowlist.changed", "adam"), ("allowlist.approved", "adam")]
    changed = Event.objects.get(type="allowlist.changed")
    assert changed.subject_id == str(AllowlistEntry.objects.get().pk)


def test_narrowing_counts_at_once_and_needs_nobody_else(support: TaskType, ada: Actor) -> None:
    seed_rules(support.pk, {"mail.read": AUTO, "mail.send": GATED})
    outcome = change(wishes=[wish(support, GATED), wish(support, DENIED, "mail.send")], note="", actor=ada)
    assert outcome == Changed(2, 1, 0, None, 0)
    assert [lookup(support.pk, tool).state for tool in ("mail.read", "mail.send")] == [GATED, DENIED]


def test_a_tool_that_is_denied_keeps_its_limits_and_whoever_drops_them_is_seen_to(
    support: TaskType, ada: Actor, adam: Actor
) -> None:
    seed_rules(support.pk, [AllowlistRule("mail.read", AUTO, max_calls=3, constraints=(SMALL,))])
    for _ in range(2):  # as a file says it, and again on what is denied already
        assert isinstance(change(wishes=[wish(support, DENIED)], note="", actor=ada), Changed)
        rule = lookup(support.pk, "mail.read")
        assert (rule.state, rule.max_calls, rule.constraints) == (DENIED, 3, (SMALL,))
    [told] = [one.data for one in load("tenant") if one.type == "allowlist.changed"]
    assert told["after"]["constraints"] == told["before"]["constraints"] == {"small": SMALL.expression}

    row = proposed(ada, wish(support, GATED))
    [cell] = allowing.differences_of(row)
    assert "the constraint small is gone or another one" in cell.wider
    assert "more than 3 calls in one run are allowed" in cell.wider
    assert isinstance(decide(change_id=row.pk, verdict="approve", note="", actor=adam), outcomes.Settled)
    [_, told] = [one.data for one in load("tenant") if one.type == "allowlist.changed"]
    assert "constraints" in told["before"]
    assert "constraints" not in told["after"]


def test_what_is_denied_may_be_given_stricter_limits_before_it_is_allowed_again(support: TaskType, ada: Actor) -> None:
    seed_rules(support.pk, [AllowlistRule("mail.read", DENIED, max_calls=3)])
    change(wishes=[wish(support, DENIED, max_calls=2, constraints=(SMALL,))], note="", actor=ada)
    rule = lookup(support.pk, "mail.read")
    assert (rule.max_calls, rule.constraints) == (2, (SMALL,))


def test_of_several_cells_those_that_narrow_do_so_and_those_that_widen_wait(support: TaskType, ada: Actor) -> None:
    seed_rules(support.pk, {"mail.read": AUTO, "mail.send": GATED})
    outcome = change(
        wishes=[wish(support, GATED), wish(support, AUTO, "mail.send"), wish(support, DENIED, "shop.find_order")],
        note=WHY,
        actor=ada,
    )
    assert isinstance(outcome, Changed)
    assert (outcome.narrowed, outcome.widened, outcome.unchanged) == (1, 1, 1)
    assert [lookup(support.pk, tool).state for tool in ("mail.read", "mail.send")] == [GATED, GATED]


def test_a_cell_that_narrows_and_widens_waits_as_a_whole(support: TaskType, ada: Actor) -> None:
    seed_rules(support.pk, [AllowlistRule("mail.read", AUTO, max_calls=2)])
    proposed(ada, wish(support, GATED, max_calls=3))
    assert lookup(support.pk, "mail.read") == AllowlistRule("mail.read", AUTO, max_calls=2)


def test_what_was_narrowed_meanwhile_is_not_widened_by_an_older_proposal(
    support: TaskType, ada: Actor, adam: Actor
) -> None:
    seed_rules(support.pk, {"mail.read": GATED})
    row = proposed(ada, wish(support, AUTO))
    change(wishes=[wish(support, DENIED)], note="", actor=adam)
    assert decide(change_id=row.pk, verdict="approve", note="", actor=adam) == outcomes.Stale("support / mail.read")
    assert lookup(support.pk, "mail.read").state == DENIED
    assert isinstance(decide(change_id=row.pk, verdict="withdraw", note="", actor=ada), outcomes.Settled)


@pytest.mark.parametrize(
    ("tool", "more", "field", "said"),
    [
        ("no.such", {}, "tool", "There is no tool"),
        ("mail.read", {"min_version": "2"}, "min_version", "three numbers"),
        ("mail.read", {"min_version": "2.0.0", "max_version": "1.9.9"}, "max_version", "below the lowest"),
        ("mail.read", {"max_calls": -1}, "max_calls", "whole number"),
        ("mail.read", {"rate_per_minute": 0}, "rate_per_minute", "whole number"),
        ("mail.read", {"note": "x" * 301}, "rule_note", "300"),
        ("mail.read", {"constraints": (Constraint("a", "args.n <"),)}, "constraints", "line 1, column 9"),
        ("mail.read", {"constraints": (Constraint("a", "run.n < 1"),)}, "constraints", "unknown name 'run'"),
        ("mail.read", {"constraints": (Constraint("a", "args.n.foo()"),)}, "constraints", "unknown function"),
        ("mail.read", {"constraints": (Constraint("a", ""),)}, "constraints", "have to satisfy"),
        ("mail.read", {"constraints": (Constraint("A b", "true"),)}, "constraints", "small letters"),
        (
            "mail.read",
            {"constraints": (Constraint("a", "args.l.all(x, args.m.// c\nall(y, x == y))"),)},
            "constraints",
            "one comprehension",
        ),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_field(
    support: TaskType, ada: Actor, tool: str, more: dict[str, Any], field: str, said: str
) -> None:
    outcome = change(wishes=[wish(support, GATED, tool, **more)], note=WHY, actor=ada)
    assert isinstance(outcome, outcomes.Invalid)
    assert said in outcome.problems[field]
    assert not AllowlistEntry.objects.exists()


def test_a_rule_of_a_tool_that_is_gone_can_still_be_denied(support: TaskType, ada: Actor) -> None:
    seed_rules(support.pk, {"old.tool": GATED})
    assert change(wishes=[wish(support, DENIED, "old.tool")], note="", actor=ada) == Changed(1, 1, 0, None, 0)


def test_nobody_but_a_person_with_the_right_changes_anything(
    support: TaskType, bob: User, acme: Tenant, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    seed_rules(support.pk, {"mail.read": AUTO})
    token = Actor.token(1, "t", ["admin.manage", "run.submit"])
    for actor in (actor_of(bob, acme), SYSTEM, WORKER, token):
        assert change(wishes=[wish(support, DENIED)], note=WHY, actor=actor) == outcomes.Forbidden("role")
    assert lookup(support.pk, "mail.read").state == AUTO


def test_only_the_system_seeds_and_only_what_has_no_rule_yet(support: TaskType, ada: Actor) -> None:
    with pytest.raises(PermissionError):
        seed_rules(support.pk, {"mail.read": AUTO}, actor=ada)
    seed_rules(support.pk, {"mail.read": GATED})
    with pytest.raises(IntegrityError), transaction.atomic():
        seed_rules(support.pk, {"mail.read": AUTO})
    assert lookup(support.pk, "mail.read").state == GATED


def test_another_tenants_task_type_does_not_exist(
    acme: Tenant, globex: Tenant, in_tenant: Any, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    gina = actor_of(person("gina", globex, "admin"), globex)
    with in_tenant(acme):
        kind = TaskType.objects.create(slug="support", name="Support", input_schema={}).pk
    with in_tenant(globex):
        outcome = change(wishes=[Wish(kind, AllowlistRule("mail.read", GATED))], note=WHY, actor=gina)
        assert isinstance(outcome, outcomes.Invalid)
        assert "task_type" in outcome.problems


WRITES = {"create", "bulk_create", "bulk_update", "update", "update_or_create", "get_or_create", "delete"}


def test_no_other_code_of_the_product_writes_the_allowlist_or_seeds_it() -> None:
    """A route around the service would be a call of the model's managers, its constructor, or of `seed_rules`."""
    root = Path(allowing.__file__).parents[1]
    found: set[str] = set()
    for package in ("agentops", "approvals", "tools"):
        for path in (root / package).rglob("*.py"):
            if "migrations" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                name = ast.unparse(node.func)
                writes = "AllowlistEntry" in name and (name == "AllowlistEntry" or name.split(".")[-1] in WRITES)
                writes |= "allowlist." in name and name.split(".")[-1] in WRITES
                if writes or name in {"seed_rules", "allowing.seed_rules"}:
                    found.add(f"{path.relative_to(root)}: {name}")
    expected = {"agentops/worker/demo/__init__.py: seed_rules", "agentops/regression/setups.py: seed_rules"}
    expected |= {f"tools/allowing.py: {name}" for name in ("AllowlistEntry", "AllowlistEntry.objects.bulk_create")}
    assert found == expected | {"tools/allowing.py: AllowlistEntry.objects.bulk_update"}
