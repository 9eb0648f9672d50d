"""The Celery application: `celery -A agentops worker` and `celery -A agentops beat`.

Messages are doorbells: they carry ids, and a lost or doubled one changes nothing, because the row is the truth and the
sweeper rings again. The options below make losing one rare and a worker that dies cheap.
"""

import os
from typing import Any

from celery import Celery, bootsteps
from kombu.entity import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentops.settings")

SWEEP_EVERY_S = 1.0


def configuration(broker_url: str, queue: str) -> dict[str, Any]:
    """Return Celery's settings for a broker: memory:// (one process), redis(s):// or amqp(s)://."""
    conf: dict[str, Any] = {
        "broker_url": broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 4,
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": queue,
        "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5},
        "worker_prefetch_multiplier": 1,
        # A task only passes the doorbell on, which takes an instant: handing it to another process would take longer.
        # The runs are driven by a thread of this one. For more processors there are more workers.
        "worker_pool": "solo",
        "worker_soft_shutdown_timeout": 30,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "timezone": "UTC",
        "imports": ["agentops.worker.tasks"],
        "beat_schedule": {
            "sweep": {
                "task": "agentops.worker.tasks.sweep",
                "schedule": SWEEP_EVERY_S,
                "options": {"expires": 5 * SWEEP_EVERY_S},
            }
        },
        # The schedule is static, so what beat could remember between starts is worth nothing: keep it in memory.
        "beat_scheduler": "celery.beat:Scheduler",
    }
    scheme = broker_url.partition("://")[0]
    if scheme == "memory":
        # kombu wants a host even where there is none.
        conf["broker_url"] = "memory://localhost/"
        conf["broker_transport_options"] = {"polling_interval": 0.1}
    elif scheme in {"redis", "rediss"}:
        conf["broker_transport_options"] = {"socket_connect_timeout": 4}
        conf["worker_disable_prefetch"] = True
        # Redis knows no acknowledgements: keeping account of messages under way would cost more than passing one on,
        # and a ring that is lost with its worker is made good by the sweeper, like a run that is.
        conf["task_queues"] = [
            Queue(queue, Exchange(queue, type="direct"), routing_key=queue, no_ack=True),  # type: ignore[no-untyped-call]
        ]
    else:
        conf["task_default_queue_type"] = "quorum"
        conf["task_queues"] = [
            Queue(  # type: ignore[no-untyped-call]
                queue,
                # Celery's delayed delivery on quorum queues works through topic exchanges only.
                Exchange(queue, type="topic"),  # type: ignore[no-untyped-call]
                routing_key=queue,
                durable=True,
                queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 5},
            )
        ]
        conf["broker_transport_options"] = {"confirm_publish": True}
        conf["worker_detect_quorum_queues"] = True
    return conf


def _from_settings() -> dict[str, Any]:
    from django.conf import settings

    return configuration(settings.BROKER_URL, settings.BROKER_QUEUE)


class Unacknowledged(bootsteps.StartStopStep):  # type: ignore[misc]
    """What was taken without account of it needs no acknowledgement either, though Celery sends one."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Leave the acknowledgements of a consumer on Redis out."""
        if parent.connection.transport.driver_type == "redis":
            parent.task_consumer.channel.qos.ack = lambda delivery_tag: None


app = Celery("agentops")
app.steps["consumer"].add(Unacknowledged)
app.add_defaults(_from_settings)
app.set_default()
