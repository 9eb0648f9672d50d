"""The one lock that everybody takes who changes what people see of a run: its stream."""

from uuid import UUID

from agentops.audit.models import Stream
from agentops.runs.recording import stream_of


def lock_run(run_id: UUID) -> None:
    """Hold everybody off the run until the transaction ends. Taken before rows of its proposals and grants."""
    list(Stream.objects.select_for_update().filter(name=stream_of(run_id)).values_list("pk"))
