"""What a task type may do with a tool. Anything not listed is denied."""

from dataclasses import dataclass

from .contracts import parse_version
from .models import AllowlistEntry, AllowlistState

__all__ = ["AllowlistRule", "AllowlistState", "all_rules", "allowed_tools", "lookup"]


@dataclass(frozen=True, slots=True)
class AllowlistRule:
    """The rule of one task type for one tool; versions are inclusive, empty means unbounded."""

    tool: str
    state: AllowlistState
    min_version: str = ""
    max_version: str = ""
    max_calls: int | None = None
    note: str = ""
    rate_per_minute: int | None = None

    def admits(self, version: str) -> bool:
        """Say whether a contract version lies in the allowed range."""
        number = parse_version(version)
        if self.min_version and number < parse_version(self.min_version):
            return False
        return not (self.max_version and number > parse_version(self.max_version))


def lookup(task_type_id: int, tool: str) -> AllowlistRule:
    """Return the rule for one tool, `denied` when there is none. One query, in the tenant scope."""
    entry = AllowlistEntry.objects.filter(task_type_id=task_type_id, tool=tool).first()
    return AllowlistRule(tool, AllowlistState.DENIED) if entry is None else _rule(entry)


def allowed_tools(task_type_id: int) -> list[AllowlistRule]:
    """Return the rules that are not `denied`, by tool name. One query, in the tenant scope."""
    entries = AllowlistEntry.objects.filter(task_type_id=task_type_id).exclude(state=AllowlistState.DENIED)
    return [_rule(entry) for entry in entries.order_by("tool")]


def all_rules() -> dict[tuple[int, str], AllowlistRule]:
    """Return every rule of the tenant by task type and tool. One query."""
    return {(entry.task_type_id, entry.tool): _rule(entry) for entry in AllowlistEntry.objects.all()}


def _rule(entry: AllowlistEntry) -> AllowlistRule:
    return AllowlistRule(
        tool=entry.tool,
        state=AllowlistState(entry.state),
        min_version=entry.min_version,
        max_version=entry.max_version,
        max_calls=entry.max_calls,
        note=entry.note,
        rate_per_minute=entry.rate_per_minute,
    )
