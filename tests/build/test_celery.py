"""Celery's options for each broker."""

import pytest

from agentops.celery import configuration


@pytest.mark.parametrize("url", ["memory://", "redis://host/0", "rediss://host/0", "amqp://host//", "amqps://host//"])
def test_with_every_broker_messages_are_taken_one_by_one_and_only_json_is_read(url: str) -> None:
    conf = configuration(url, "agentops")
    assert conf["task_acks_late"] is True
    assert conf["task_reject_on_worker_lost"] is True
    assert conf["worker_prefetch_multiplier"] == 1
    assert conf["accept_content"] == ["json"]
    assert conf["result_backend"] is None
    assert conf["beat_schedule"]["sweep"]["task"] == "agentops.worker.tasks.sweep"


def test_redis_keeps_no_account_of_messages_that_were_taken() -> None:
    """A ring that is lost with its worker is made good by the sweeper; keeping account would cost more than a ring."""
    conf = configuration("redis://host/0", "shop")
    (queue,) = conf["task_queues"]
    assert queue.name == conf["task_default_queue"] == "shop"
    assert queue.no_ack is True
    assert conf["broker_transport_options"] == {"socket_connect_timeout": 4}
    assert conf["worker_disable_prefetch"] is True


def test_rabbitmq_uses_a_quorum_queue_that_gives_up_on_a_poisonous_message() -> None:
    conf = configuration("amqp://host//", "shop")
    (queue,) = conf["task_queues"]
    assert queue.name == "shop"
    assert queue.queue_arguments == {"x-queue-type": "quorum", "x-delivery-limit": 5}
    assert conf["task_default_queue_type"] == "quorum"
    assert conf["broker_transport_options"] == {"confirm_publish": True}
