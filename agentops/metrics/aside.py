"""What runs contributed whose records retention has removed: kept, because nothing can count it again."""

from collections.abc import Iterable
from uuid import UUID

from agentops.audit.models import RemovedSegment
from agentops.metrics.cells import CellKey, Cells, cells_of
from agentops.metrics.definitions import VERSION
from agentops.metrics.models import Aside, Rollup, RunFact
from agentops.metrics.statistics import added
from agentops.metrics.units import Units

_RUN = "run:"
_KEYS = ("grain", "start", "task_type", "kind", "key")


def add(units: Iterable[Units | None]) -> None:
    """Add what runs contribute by the definitions of now. Their cells hold it already, and go on holding it."""
    wanted: Cells = {}
    for one in units:
        for key, counts in cells_of(one).items():
            wanted[key] = added((wanted.get(key, {}), counts))
    if not wanted:
        return
    rows = Aside.objects.filter(
        version=VERSION, start__in={key.start for key in wanted}, task_type__in={key.task_type for key in wanted}
    )
    there = {CellKey(row.grain, row.start, row.task_type, row.kind, row.key): row.counts for row in rows}
    Aside.objects.bulk_create(
        [
            Aside(
                version=VERSION,
                counts=added((there.get(key, {}), counts)),
                **{name: getattr(key, name) for name in _KEYS},
            )
            for key, counts in sorted(wanted.items())
        ],
        update_conflicts=True,
        unique_fields=["tenant", "version", *("grain", "kind", "start", "task_type", "key")],
        update_fields=["counts"],
    )


def put_back() -> None:
    """Make cells of what was set aside, where there are none."""
    cells: Cells = {}
    for row in Aside.objects.order_by("pk").iterator():
        key = CellKey(row.grain, row.start, row.task_type, row.kind, row.key)
        cells[key] = added((cells.get(key, {}), row.counts))
    Rollup.objects.bulk_create(
        [
            Rollup(counts=counts, **{name: getattr(key, name) for name in _KEYS})
            for key, counts in sorted(cells.items())
        ],
        batch_size=1_000,
    )


def lost() -> bool:
    """Say whether records of runs were removed that were never set aside, so that counting anew would lose them."""
    kept = set(RunFact.objects.filter(aside__gt=0).values_list("run_id", flat=True))
    names = RemovedSegment.objects.filter(stream__name__startswith=_RUN).values_list("stream__name", flat=True)
    return any(_run_of(name) not in kept for name in names.iterator())


def _run_of(stream: str) -> UUID | None:
    try:
        return UUID(stream.removeprefix(_RUN))
    except ValueError:
        return None
