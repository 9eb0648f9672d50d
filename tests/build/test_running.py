"""The parts of the embedded mode, run inside the test process."""

import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from celery import shared_task
from django.core.cache import cache

from agentops.worker import embedded

received: queue.Queue[str] = queue.Queue()


@shared_task(name="tests.note")  # type: ignore[untyped-decorator]
def note(text: str) -> None:
    received.put(text)


@pytest.mark.parametrize("text", ["first", "second"])
def test_a_worker_takes_messages_and_stops_and_another_one_can_start(text: str) -> None:
    working = embedded.EmbeddedWorker()
    working.start()
    note.delay(text)
    assert received.get(timeout=30) == text
    working.stop(30)
    working.thread.join(30)
    assert not working.thread.is_alive()


def swept(*outcomes: Callable[[], None]) -> int:
    """Run a sweeper over these outcomes, and return how many sweeps it made before it was stopped."""
    calls = iter(outcomes)
    done = threading.Event()
    count = 0

    def sweep() -> None:
        nonlocal count
        count += 1
        outcome = next(calls, None)
        if outcome is None:
            done.set()
        else:
            outcome()

    sweeper = embedded.Sweeper(sweep)
    sweeper.start()
    assert done.wait(30)
    sweeper.stop()
    sweeper.join(30)
    assert not sweeper.is_alive()
    return count


def failing() -> None:
    raise RuntimeError("the disk is full")


@pytest.mark.django_db(transaction=True)
def test_a_failed_sweep_is_logged_and_the_next_one_is_made(caplog: pytest.LogCaptureFixture) -> None:
    assert swept(failing) == 2
    assert "sweep failed" in caplog.text


def test_a_process_without_a_worker_says_that_runs_are_worked_on_elsewhere() -> None:
    assert embedded.worker_state() == "elsewhere"


def test_the_site_can_be_served_from_the_test_process(site_url: str) -> None:
    with urllib.request.urlopen(f"{site_url}/healthz", timeout=30) as response:
        assert json.load(response)["database"] == "ok"


def test_nobody_gets_around_a_limit_by_naming_other_addresses(site_url: str, settings: Any) -> None:
    settings.API_BAD_TOKENS_PER_MINUTE = 3
    cache.clear()

    def shown(number: int) -> int:
        headers = {"Authorization": "Bearer aod_acme_x_y", "X-Forwarded-For": f"198.51.100.{number}"}
        request = urllib.request.Request(f"{site_url}/api/v1/runs", headers=headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        with refused.value as answer:
            return answer.code

    # A minute may begin in between.
    assert {401, 429} == {shown(number) for number in range(8)}
