"""Go on where the triggers refuse to let something go: everything else goes, and what was refused is on record."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from django.db import DatabaseError, transaction

TYPE: Final = "retention.refused"
_SAYS: Final = " refused: "
T = TypeVar("T")
Refused = list[tuple[T, str]]


def remove_each(records: Sequence[T], remove: Callable[[Sequence[T]], None]) -> Refused[T]:
    """Remove records together, by halves where the database refuses; return those it refuses, each with the reason.

    `remove` is called in a savepoint of its own. Any other error is raised.
    """
    if not records or not (reason := _refusal(records, remove)):
        return []
    if len(records) == 1:
        return [(records[0], reason)]
    middle = len(records) // 2
    return [*remove_each(records[:middle], remove), *remove_each(records[middle:], remove)]


def remove_beginning(records: Sequence[T], remove: Callable[[Sequence[T]], None]) -> Refused[T]:
    """Remove as many records as the database lets go from the first on; return the one it refuses, with the reason."""
    if not records or not (reason := _refusal(records, remove)):
        return []
    if len(records) == 1:
        return [(records[0], reason)]
    middle = len(records) // 2
    return remove_beginning(records[:middle], remove) or remove_beginning(records[middle:], remove)


def _refusal(records: Sequence[T], remove: Callable[[Sequence[T]], None]) -> str:
    """Remove records; return why a trigger of ours (`guards`) refuses that, or nothing where it is done."""
    try:
        with transaction.atomic():
            remove(records)
    except DatabaseError as error:
        said = str(error).splitlines()[0] if str(error) else ""
        if _SAYS not in said:
            raise
        return said
    return ""
