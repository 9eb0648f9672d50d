"""Where this package writes what happened.

The audit log is a layer above and knows tenants, so it introduces itself here when the apps are ready. Without it
nothing can be changed: no event, no change.
"""

from typing import Protocol

from agentops.tenancy.access import Actor
from agentops.wire import JSONObject


class Recorder(Protocol):
    """Append one event to the tenant's own stream, inside the open transaction and tenant scope."""

    def __call__(self, event: str, data: JSONObject, *, subject: tuple[str, str], actor: Actor) -> None: ...


class JournalMissing(RuntimeError):
    """No audit log is installed, so the change must not happen."""


_recorders: list[Recorder] = []


def use(recorder: Recorder) -> None:
    """Write to this log from now on."""
    _recorders[:] = [recorder]


def record(event: str, data: JSONObject, *, subject: tuple[str, str], actor: Actor) -> None:
    """Append one event to the tenant's own stream; raise `JournalMissing` when there is no log."""
    if not _recorders:
        raise JournalMissing("agentops.audit is not installed: changes cannot be recorded.")
    _recorders[0](event, data, subject=subject, actor=actor)
