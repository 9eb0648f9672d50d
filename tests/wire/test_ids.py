"""Ids that sort by time."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentops.wire import ids
from agentops.wire.ids import uuid7


def test_ids_are_rfc_9562_version_7_and_carry_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test may have travelled into the future, which ids never run back from.
    monkeypatch.setattr(ids, "_last", 0)
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert made.variant == uuid.RFC_4122
    assert made.version == 7
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1


def test_ids_of_one_process_strictly_increase() -> None:
    ids = [uuid7() for _ in range(20_000)]
    assert ids == sorted(set(ids))


def test_ids_made_by_many_threads_are_unique() -> None:
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [uuid7() for _ in range(500)], range(8)))
    ids = [made for batch in batches for made in batch]
    assert len(set(ids)) == len(ids)
    assert all(batch == sorted(batch) for batch in batches)
