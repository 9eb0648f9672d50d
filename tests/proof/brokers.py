"""A corner of a real broker that nobody else uses, and that is empty again afterwards."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery

from agentops.celery import configuration
from agentops.runs.bell import key_of
from agentops.runs.dispatch import DRIVE

_CLAIM = "agentops-tests"
_DELAYED = 28


@dataclass(frozen=True)
class Broker:
    """Where the processes of a deployment ring, and the hands that disturb them."""

    url: str
    queue: str

    @contextmanager
    def app(self) -> Iterator[Any]:
        """Give a Celery application for this queue that is not the one of this process."""
        app = Celery("tests.proof", set_as_current=False)
        app.config_from_object(configuration(self.url, self.queue))
        try:
            yield app
        finally:
            app.close()

    def ring(self, tenant_id: int, run_id: str, times: int) -> None:
        """Put the same message in several times."""
        with self.app() as app:
            for _ in range(times):
                app.send_task(DRIVE, args=[tenant_id, run_id], ignore_result=True)

    def lose_everything(self) -> int:
        """Drop every message that waits; return how many there were."""
        rung = 0
        if self.url.startswith("redis"):
            import redis

            client: Any = redis.Redis.from_url(self.url)
            rung = int(client.llen(key_of(self.queue)))
            client.delete(key_of(self.queue))
            client.close()
        with self.app() as app, app.connection_for_write() as connection, connection.channel() as channel:
            return rung + int(channel.queue_purge(self.queue) or 0)


@contextmanager
def corner(url: str) -> Iterator[Broker]:
    """Give a queue of our own: in an empty Redis database, or with a name of its own in RabbitMQ."""
    name = f"agentops-tests-{os.getpid()}-{secrets.token_hex(3)}"
    if url.startswith("redis"):
        with _redis(url) as own:
            yield Broker(own, name)
    else:
        with _rabbitmq(Broker(url, name)) as broker:
            yield broker


@contextmanager
def _redis(url: str) -> Iterator[str]:
    """Messages that are not acknowledged are kept by database and not by queue, so the whole database is ours."""
    import redis

    for number in range(15, 0, -1):
        own = f"{url.rpartition('/')[0]}/{number}"
        client: Any = redis.Redis.from_url(own)
        if client.dbsize() == 0 and client.set(_CLAIM, os.getpid(), nx=True, ex=900) and client.dbsize() == 1:
            try:
                yield own
            finally:
                client.flushdb()
                client.close()
            return
        client.close()
    pytest.skip("INTEGRATION TEST NOT RUN: Redis has no empty database among 1 to 15")


@contextmanager
def _rabbitmq(broker: Broker) -> Iterator[Broker]:
    """Celery also declares queues for delayed messages, which are taken away again unless they were there before."""
    with broker.app() as app, app.connection_for_write() as connection:
        delayed_before = _exists(connection, _delayed(0))
        try:
            yield broker
        finally:
            with connection.channel() as channel:
                names = [broker.queue, *([] if delayed_before else map(_delayed, range(_DELAYED)))]
                for name in names:
                    channel.queue_delete(name)
                    channel.exchange_delete(name)
                if not delayed_before:
                    channel.exchange_delete("celery_delayed_delivery")


def _delayed(level: int) -> str:
    return f"celery_delayed_{level}"


def _exists(connection: Any, queue: str) -> bool:
    with connection.channel() as channel:
        try:
            channel.queue_declare(queue, passive=True)
        except connection.channel_errors:
            return False
    return True
