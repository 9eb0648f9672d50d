"""What a worker asks before every plan and every call, and what it records when the line is stopped."""

from agentops.engine.events import RunPaused
from agentops.halts.covering import Stop, covering
from agentops.runs.models import Run
from approvals.proposals.freezing import work_of


def stop_for(run: Run, tool: str = "") -> Stop | None:
    """Return the stop that covers a run, or one of its calls when `tool` is given; as of at most 0.5 s ago."""
    return covering(work_of(run, tool))


def paused_by(stop: Stop) -> RunPaused:
    """Return the event that lets a stopped run leave its worker, until the stop is lifted."""
    return RunPaused("halt", stop.reason, str(stop.id))
