"""Celery's options for each broker, as they were tried with workers killed in the middle of tasks."""

import pytest

from agentops.celery import configuration


@pytest.mark.parametrize("url", ["memory://", "redis://host/0", "rediss://host/0", "amqp://host//", "amqps://host//"])
def test_with_every_broker_a_dead_worker_loses_no_message_and_only_json_is_read(url: str) -> None:
    conf = configuration(url, "agentops")
    assert conf["task_acks_late"] is True
    assert conf["task_reject_on_worker_lost"] is True
    assert conf["worker_prefetch_multiplier"] == 1
    assert conf["accept_content"] == ["json"]
    assert conf["result_backend"] is None
    assert conf["beat_schedule"]["sweep"]["task"] == "agentops.worker.tasks.sweep"


def test_redis_gives_messages_of_a_dead_worker_back_within_seconds_and_never_those_of_a_living_one() -> None:
    conf = configuration("redis://host/0", "agentops")
    options = conf["broker_transport_options"]
    assert options["visibility_timeout"] > conf["task_time_limit"]
    assert options["unacked_restore_interval"] <= 5
    assert options["unacked_restore_throttle"] == 1
    assert conf["worker_disable_prefetch"] is True


def test_rabbitmq_uses_a_quorum_queue_that_gives_up_on_a_poisonous_message() -> None:
    conf = configuration("amqp://host//", "shop")
    (queue,) = conf["task_queues"]
    assert queue.name == "shop"
    assert queue.queue_arguments == {"x-queue-type": "quorum", "x-delivery-limit": 5}
    assert conf["task_default_queue_type"] == "quorum"
    assert conf["broker_transport_options"] == {"confirm_publish": True}
