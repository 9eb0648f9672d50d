"""Set aside before the spend, settle after it: reservations over all budgets that apply, all of them or none.

Whoever locks rows here locks the reservation first and then its accounts in the order of their ids, in a transaction of
its own that ends before anything else is locked; so nobody waits in a circle and an account is held for as long as its
update takes. A reservation is admitted by one conditional update per account, whose condition is evaluated again after
every wait: concurrent spenders never get past a hard limit together.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.lookups import GreaterThanOrEqual

from agentops.audit.services import TENANT_STREAM, NewEvent, append
from agentops.budgets import snapshot
from agentops.budgets.measures import Measure, Period, amount_text, period_start, renews_at
from agentops.budgets.models import Account, Budget, Reservation, ReservationState
from agentops.budgets.snapshot import BudgetView
from agentops.tenancy.access import WORKER, Actor
from agentops.wire.parse import JSONObject

logger = logging.getLogger(__name__)

Kind = Literal["plan", "call", "review", "run"]
Amounts = Mapping[Measure, int]
"""What a purpose needs, or used, by measure; a measure that is not named or 0 is not touched."""

ANNOUNCE_BATCH: Final = 100

ALLOW_TRIES: Final = 5
"""How often an allowance is worked out again because others were faster."""

MAX_AMOUNT: Final = 10**15 + 1
"""More than any limit; what a model's server says it has used may be any number, and a row holds only so much."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """The amounts are set aside under this id until they are settled or released."""

    id: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """So much is set aside under this id for somebody who is no run of the tenant, until it is settled."""

    id: int
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is set aside: `asked` does not fit into what is `left` of a budget's hard limit."""

    budget_id: int
    budget: str
    measure: str
    asked: int
    left: int
    renews_at: datetime | None

    @property
    def message(self) -> str:
        """Say which budget it is, what is left of it, and when it begins again."""
        left = amount_text(self.measure, self.left)
        need = amount_text(self.measure, self.asked)
        again = f"It renews at {self.renews_at:%Y-%m-%d %H:%M} UTC." if self.renews_at else "It does not renew."
        return f"The budget “{self.budget}” does not cover it: {left} left, {need} needed. {again}"


class _DoesNotFit(Exception):
    """Rolls a reservation back as a whole; never leaves this module."""

    def __init__(self, account_id: int) -> None:
        super().__init__(account_id)
        self.account_id = account_id


def reserve(
    *,
    run_id: UUID,
    task_type_id: int,
    kind: Kind,
    purpose: str,
    amounts: Amounts,
    now: datetime,
    call_id: str = "",
    fence: int = 0,
    intent_follows: bool = False,
    actor: Actor = WORKER,
) -> Reserved | Refused | None:
    """Set amounts aside in every budget of the open tenant scope that applies; None when none does.

    The same purpose of a run gets the same reservation, however often it asks; one that was released is set aside
    again. Call it outside of any transaction. `intent_follows` says that a durable commit of this process comes before
    the spend: the log of the database is in order, so this one need not wait for the disk. Costs no query for a tenant
    without budgets. The first time a limit is reached in a period there is an event `budget.warned` or
    `budget.exhausted`.
    """
    applying = _applying(task_type_id, amounts)
    if not applying:
        return None
    accounts = _accounts(applying, now)
    lines = {account.pk: (view.measure, _bounded(amounts, view.measure)) for account, view in accounts}
    row = Reservation(
        run_id=run_id, kind=kind, purpose=purpose, call_id=call_id, fence=fence, lines=_lines(lines), created_at=now
    )
    try:
        with _books(durable=not intent_follows):
            held = _open(row)
            if held is None:
                return Reserved(row.pk)
            _set_aside(lines)
    except _DoesNotFit as full:
        return _refused(full.account_id, lines, now, actor)
    except IntegrityError:
        # Somebody reserved for this purpose at the same moment; what they hold is ours as well.
        found = Reservation.objects.filter(run_id=run_id, purpose=purpose).first()
        if found is None:
            raise
        return Reserved(found.pk)
    announce(now, account_ids=lines, actor=actor)
    return Reserved(row.pk)


def allow(*, task_type_id: int, purpose: str, most: Amounts, now: datetime, actor: Actor) -> Allowance | Refused | None:
    """Set aside what is left in the budgets that apply, at most `most`, for a trial; None when no budget applies.

    Whoever gets less than `most` has to keep within it. Refused where nothing is left. Outside of any transaction.
    """
    applying = _applying(task_type_id, most)
    if not applying:
        return None
    full, lines = 0, dict[int, tuple[str, int]]()
    for _ in range(ALLOW_TRIES):
        amounts: dict[Measure, int] = {}
        accounts = _accounts(applying, now)
        for account, view in accounts:
            measure = Measure(view.measure)
            left = account.balance.left(account.budget.hard) if account.budget.enabled else most[measure]
            amounts[measure] = min(amounts.get(measure, most[measure]), left)
            if not left:
                return _refused(account.pk, {account.pk: (view.measure, 1)}, now, actor)
        lines = {account.pk: (view.measure, amounts[Measure(view.measure)]) for account, view in accounts}
        row = Reservation(kind="trial", purpose=purpose[:160], lines=_lines(lines), created_at=now)
        try:
            with _books(durable=True):
                row.save(force_insert=True)
                _set_aside(lines)
        except _DoesNotFit as taken:
            full = taken.account_id
            continue
        announce(now, account_ids=lines, actor=actor)
        return Allowance(row.pk, amounts)
    return _refused(full, lines, now, actor)


def counted(task_type_id: int, measures: Iterable[Measure]) -> bool:
    """Whether any budget counts one of these measures for runs of a task type."""
    wanted = set(measures)
    return any(view.measure in wanted for view in snapshot.budgets(task_type_id))


def charge(
    *, run_id: UUID, task_type_id: int, kind: Kind, purpose: str, amounts: Amounts, now: datetime, actor: Actor
) -> Refused | None:
    """Spend amounts that are certain at once; say why not, or None when they are spent or nothing applies.

    May run in the transaction that makes what is paid for.
    """
    held = reserve(
        run_id=run_id, task_type_id=task_type_id, kind=kind, purpose=purpose, amounts=amounts, now=now, actor=actor
    )
    if isinstance(held, Reserved):
        settle(held.id, amounts, now=now)
        return None
    return held


def settle(reservation_id: int, actual: Amounts, *, now: datetime, assumed: bool = False) -> bool:
    """Write down what was really spent and give back the rest; return whether this changed anything.

    What was spent is never lost: more than was reserved counts in full, and so does what is settled after the
    reservation was released. `assumed` says that nobody knows: all that was reserved counts as spent then, until
    somebody settles it with what it was. A second settlement changes nothing.
    """
    with _books(durable=False):
        row = Reservation.objects.select_for_update().filter(pk=reservation_id).first()
        if row is None or (row.state == ReservationState.SETTLED and (assumed or not row.assumed)):
            return False
        if assumed and row.state == ReservationState.RELEASED:
            return False
        lines: JSONObject = {}
        for account_id, line in sorted(row.lines.items(), key=lambda one: int(one[0])):
            spent = line["reserved"] if assumed else _bounded(actual, line["measure"])
            held = line["reserved"] if row.state == ReservationState.OPEN else 0
            Account.objects.filter(pk=int(account_id)).update(
                reserved=F("reserved") - held, spent=F("spent") + (spent - line["spent"])
            )
            lines[account_id] = {**line, "spent": spent}
        row.lines, row.state, row.assumed, row.ended_at = lines, ReservationState.SETTLED, assumed, now
        row.save(update_fields=["lines", "state", "assumed", "ended_at"])
    announce(now, account_ids=[int(account_id) for account_id in lines])
    return True


def release(reservation_id: int, *, now: datetime) -> bool:
    """Give back what was set aside, because nothing was spent; return whether it was still set aside."""
    with _books(durable=False):
        row = Reservation.objects.select_for_update().filter(pk=reservation_id, state=ReservationState.OPEN).first()
        if row is None:
            return False
        for account_id, line in sorted(row.lines.items(), key=lambda one: int(one[0])):
            Account.objects.filter(pk=int(account_id)).update(reserved=F("reserved") - line["reserved"])
        row.state, row.ended_at = ReservationState.RELEASED, now
        row.save(update_fields=["state", "ended_at"])
    return True


def would_refuse(*, task_type_id: int, amounts: Amounts, now: datetime) -> Refused | None:
    """Say whether amounts do not fit right now, without setting anything aside or telling anybody."""
    applying = _applying(task_type_id, amounts)
    if not applying:
        return None
    for account, view in _accounts(applying, now):
        budget, asked = account.budget, amounts[Measure(view.measure)]
        if budget.enabled and account.balance.reserve(asked, budget.hard) is None:
            return _why(account, asked)
    return None


def announce(now: datetime, *, account_ids: Iterable[int] | None = None, actor: Actor = WORKER) -> int:
    """Record `budget.warned` for accounts whose soft limit is reached, once for each period and limit.

    Without ids it looks at all accounts of the open tenant scope whose period is not over, in case a process died
    before it could say so. Returns how many were said.
    """
    near = Account.objects.select_related("budget", "budget__task_type").filter(
        Q(budget__soft__isnull=False),
        Q(budget__soft__lte=F("reserved") + F("spent")),
        Q(warned__isnull=True) | ~Q(warned=F("budget__soft")),
        budget__enabled=True,
    )
    if account_ids is not None:
        near = near.filter(pk__in=list(account_ids))
    said = 0
    for account in near.order_by("pk")[:ANNOUNCE_BATCH]:
        ends = renews_at(account.budget.period, account.period_start)
        if ends is not None and ends <= now:
            continue
        said += _say("budget.warned", account, {"warned": account.budget.soft}, now, actor)
    return said


@contextmanager
def _books(*, durable: bool) -> Iterator[None]:
    """Open the transaction in which the books are changed.

    Accounts are rows that many workers want, and they stay locked while a commit waits for the disk. What need not be
    durable by itself does not wait: the end of a reservation that is lost with the power leaves it open, and
    `worker.spending.sweep` ends it again from the record of its run.
    """
    alone = not connection.in_atomic_block
    with transaction.atomic():
        if not durable and alone and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("set local synchronous_commit to off")
        yield


# --- steps of a reservation ------------------------------------------------------------------------------------------


def _applying(task_type_id: int, amounts: Amounts) -> list[BudgetView]:
    wanted = {measure.value for measure, amount in amounts.items() if amount}
    if any(amount < 0 for amount in amounts.values()):
        raise ValueError("an amount is not negative")
    return [view for view in snapshot.budgets(task_type_id) if view.measure in wanted]


def _bounded(amounts: Amounts, measure: str) -> int:
    return min(max(0, amounts.get(Measure(measure), 0)), MAX_AMOUNT)


def _accounts(views: Sequence[BudgetView], now: datetime) -> list[tuple[Account, BudgetView]]:
    """Return the accounts of this moment, by id; the first spender of a period makes them."""
    starts = {view.id: period_start(view.period, now) for view in views}
    wanted = Q(pk__in=[])
    for budget_id, start in starts.items():
        wanted |= Q(budget_id=budget_id, period_start=start)
    found = Account.objects.select_related("budget", "budget__task_type").filter(wanted).order_by("pk")
    rows = list(found)
    if missing := starts.keys() - {row.budget_id for row in rows}:
        new = [Account(budget_id=one, period_start=starts[one]) for one in sorted(missing)]
        Account.objects.bulk_create(new, ignore_conflicts=True)
        rows = list(found.all())
    by_id = {view.id: view for view in views}
    return [(row, by_id[row.budget_id]) for row in rows]


def _lines(lines: Mapping[int, tuple[str, int]]) -> JSONObject:
    return {
        str(account_id): {"measure": measure, "reserved": amount, "spent": 0}
        for account_id, (measure, amount) in lines.items()
    }


def _open(row: Reservation) -> bool | None:
    """Write the row of a purpose, or open it again; None (and the row's id) when it holds something already."""
    assert row.run_id is not None
    found = Reservation.objects.select_for_update().filter(run_id=row.run_id, purpose=row.purpose).first()
    if found is None:
        row.save(force_insert=True)
        return True
    row.pk = found.pk
    if found.state != ReservationState.RELEASED:
        return None
    found.lines, found.state, found.ended_at = row.lines, ReservationState.OPEN, None
    found.save(update_fields=["lines", "state", "ended_at"])
    return True


def _set_aside(lines: Mapping[int, tuple[str, int]]) -> None:
    for account_id, (_, amount) in sorted(lines.items()):
        limit = Budget.objects.filter(pk=OuterRef("budget_id"))
        fits = Account.objects.filter(
            Q(GreaterThanOrEqual(Subquery(limit.values("hard")), F("reserved") + F("spent") + amount))
            | Q(Exists(limit.filter(enabled=False))),
            pk=account_id,
        )
        if not fits.update(reserved=F("reserved") + amount):
            raise _DoesNotFit(account_id)


def _refused(account_id: int, lines: Mapping[int, tuple[str, int]], now: datetime, actor: Actor) -> Refused:
    account = Account.objects.select_related("budget", "budget__task_type").get(pk=account_id)
    _say("budget.exhausted", account, {"exhausted": account.budget.hard}, now, actor)
    return _why(account, lines[account_id][1])


def _why(account: Account, asked: int) -> Refused:
    budget = account.budget
    return Refused(
        budget_id=budget.pk,
        budget=str(budget),
        measure=budget.measure,
        asked=asked,
        left=account.balance.left(budget.hard),
        renews_at=renews_at(Period(budget.period), account.period_start),
    )


def _say(event: str, account: Account, mark: dict[str, int | None], now: datetime, actor: Actor) -> bool:
    """Record that a limit was reached, unless that is on record for this period and this limit."""
    [(column, limit)] = mark.items()
    with transaction.atomic():
        unsaid = Account.objects.filter(Q(**{f"{column}__isnull": True}) | ~Q(**{column: limit}), pk=account.pk)
        if not unsaid.update(**{column: limit}):
            return False
        budget = account.budget
        data: JSONObject = {
            "budget": str(budget),
            "task_type": budget.task_type.slug if budget.task_type else "",
            "measure": budget.measure,
            "period": budget.period,
            "period_start": account.period_start.isoformat(),
            "soft": budget.soft,
            "hard": budget.hard,
            "reserved": account.reserved,
            "spent": account.spent,
        }
        subject = ("budget", str(budget.pk))
        append(TENANT_STREAM, [NewEvent(event, data, subject)], actor=actor, at=now)
    logger.warning("%s: %s", event, account)
    return True
