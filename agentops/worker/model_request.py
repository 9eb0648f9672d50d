"""Send one question to one model: once, without a retry, and with an outcome by the deadline.

The provider library is an optional extra and takes seconds to import, so only `worker.model_client` imports it, when
the first request is made. All requests of a process share the loop of `worker.model_loop`.
"""

from typing import Final

from agentops.providers.catalogue import ModelConfig
from agentops.worker.model import ModelFailed, Outcome, Question

GRACE_S: Final = 2.0
"""How long after its deadline a request may still report by itself before its caller gives it up."""


def preload() -> None:
    """Import the provider library now: the seconds it takes must neither count nor hold up others in the loop."""
    from agentops.worker import model_client  # noqa: F401


async def ask(question: Question, config: ModelConfig, *, deadline_s: float) -> Outcome:
    """Ask one model once, without any retry; returns by the deadline. For coroutines in the loop of `model_loop`."""
    if problem := config.problem():
        return ModelFailed("model_not_configured", problem.message)
    from agentops.worker.model_client import ask as ask_client

    return await ask_client(config, question, deadline_s)
