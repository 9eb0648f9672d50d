"""Rings by the short way: each is heard by one worker, and where it cannot be taken the message is."""

import queue
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import fakeredis
import pytest
import redis
from celery import current_app
from django.db import transaction

from agentops.runs import bell, dispatch
from tests.proof.processes import free_port


@pytest.fixture
def broker(settings: Any) -> Iterator["redis.Redis"]:
    """A Redis of our own that the installation has as its broker."""
    server = fakeredis.TcpFakeServer(("127.0.0.1", free_port()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings.BROKER_URL = f"redis://127.0.0.1:{server.server_address[1]}/0"
    settings.BROKER_QUEUE = "rings"
    client = redis.Redis.from_url(settings.BROKER_URL)
    yield client
    client.close()
    server.shutdown()
    server.server_close()


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """What is sent through Celery."""
    sent: list[list[Any]] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args, **options: sent.append(args))
    return sent


def test_a_ring_is_heard_by_one_of_those_who_listen_and_nonsense_by_nobody(broker: "redis.Redis") -> None:
    heard: queue.Queue[int] = queue.Queue()
    listeners = [bell.Listener(heard.put) for _ in range(2)]
    for one in listeners:
        one.start()
    broker.rpush("rings.bell", "seven", "0", "-7", str(2**63), "7" * 5_000)
    for tenant in (7, 8, 7):
        assert bell.ring(tenant)
    assert sorted(heard.get(timeout=10) for _ in range(3)) == [7, 7, 8]
    assert broker.llen("rings.bell") == 0
    assert heard.empty()
    for one in listeners:
        one.stop()


def test_what_is_heard_while_a_worker_stops_is_left_to_the_others(broker: "redis.Redis") -> None:
    heard: queue.Queue[int] = queue.Queue()
    leaving = bell.Listener(heard.put)
    leaving.start()
    leaving.stop()
    bell.ring(9)
    staying = bell.Listener(heard.put)
    staying.start()
    assert heard.get(timeout=10) == 9
    staying.stop()


def test_rings_that_nobody_hears_do_not_pile_up(broker: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "MOST", 3)
    for tenant in range(1, 6):
        bell.ring(tenant)
    assert broker.lrange("rings.bell", 0, -1) == [b"3", b"4", b"5"]


@pytest.mark.django_db(transaction=True)
def test_a_ring_is_no_message_where_it_can_go_the_short_way(
    broker: "redis.Redis", messages: list[list[Any]], settings: Any
) -> None:
    run_id = uuid4()
    with transaction.atomic():
        dispatch.ring(7, run_id)
        assert broker.llen("rings.bell") == 0, "not before the commit"
    assert (broker.lrange("rings.bell", 0, -1), messages) == ([b"7"], [])
    settings.BROKER_URL = f"redis://127.0.0.1:{free_port()}/0"
    dispatch.ring(8, run_id)
    assert messages == [[8, str(run_id)]]
    settings.BROKER_URL = "memory://"
    dispatch.ring(9, run_id)
    assert messages == [[8, str(run_id)], [9, str(run_id)]]
