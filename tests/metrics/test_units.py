"""What is counted is what the definitions say, compared with a second computation that shares no code with it."""

from collections import defaultdict
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from agentops.engine.folding import fold
from agentops.metrics.cells import Cells, Grain, cells_of, difference
from agentops.metrics.reading import read_run
from agentops.metrics.statistics import added
from agentops.metrics.units import read_units
from tests.metrics.histories import history
from tests.metrics.oracle import Expected, by_day

seeds = st.integers(0, 10**6)


def counted(cells: Cells, grain: Grain = Grain.DAY) -> Expected:
    """Return cells of one grain as the oracle writes them."""
    return {
        (key.start.date().isoformat(), key.task_type, key.kind, key.key): added((counts,))
        for key, counts in cells.items()
        if key.grain == grain and any(counts.values())
    }


@given(st.lists(seeds, min_size=1, max_size=6, unique=True))
def test_cells_of_a_day_are_those_of_an_independent_computation(runs: list[int]) -> None:
    histories = [history(seed) for seed in runs]
    total: Cells = {}
    for events in histories:
        for key, counts in cells_of(read_units(events, fold(events))).items():
            total[key] = added((total.get(key, {}), counts))
    assert counted(total) == by_day(histories)


@given(seeds, st.data())
def test_a_run_that_is_read_again_adds_what_changed(seed: int, data: st.DataObject) -> None:
    """Counting up to any event and then to the end gives what counting once gives."""
    events = history(seed)
    first = data.draw(st.integers(0, len(events)))
    half = read_run(uuid4(), events[:first], 0) if first else None
    whole = read_run(uuid4(), events, first)
    assert whole.before == (half.after if half is not None else None)
    begun = cells_of(half.after) if half is not None else {}
    changes = difference(cells_of(whole.after), cells_of(whole.before))
    result = {key: added((begun.get(key, {}), changes.get(key, {}))) for key in {**begun, **changes}}
    once = {key: added((counts,)) for key, counts in cells_of(whole.after).items()}
    assert {key: counts for key, counts in result.items() if counts} == once


@given(seeds)
def test_hours_add_up_to_everything(seed: int) -> None:
    events = history(seed)
    cells = cells_of(read_units(events, fold(events)))
    clustered = {"clusters", "errors2", "cross", "calls2"}
    sums: dict[Grain, dict[tuple[str, str, str], dict[str, int]]] = {grain: defaultdict(dict) for grain in Grain}
    for key, counts in cells.items():
        of = sums[Grain(key.grain)]
        place = (key.task_type, key.kind, key.key)
        of[place] = added((of[place], {n: c for n, c in counts.items() if n not in clustered}))
    assert sums[Grain.HOUR] == sums[Grain.DAY] == sums[Grain.ALL]


def test_the_histories_have_something_of_everything() -> None:
    """The comparison would hold for empty histories as well."""
    expected = by_day([history(seed) for seed in range(600)])
    names = {name.partition("~")[0] for counts in expected.values() for name in counts}
    wanted = {"verified", "unchecked", "failed", "cancelled", "taken_back", "agent", "tool", "undone", "edit", "reject"}
    assert (
        wanted | {"expired", "tokens", "tool_micros", "reviewer_s", "repeats", "auto", "wait", "stamped", "tainted"}
        <= names
    )
