"""The classes of records that have a period of their own. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FLOOR: Final = 184
"""Days that the record and its texts are kept at least: six months, whichever (EU AI Act, articles 19 and 26(6)). The
database knows it as well (`retention.guards`)."""

LONGEST: Final = 36_525


@dataclass(frozen=True, slots=True)
class RecordClass:
    """One class: `usual` days unless a tenant says otherwise, `least` and `most` are what it may say."""

    name: str
    label: str
    what: str
    from_when: str
    usual: int
    least: int
    most: int = LONGEST


RECORD: Final = RecordClass(
    "record",
    "The record",
    "Events: what agents did, who decided what, which rules were in force, and findings of screening",
    "the end of the run; for what belongs to no run, its own time",
    2_557,
    FLOOR,
)
BODIES: Final = RecordClass(
    "bodies",
    "Texts of models",
    "What models were told and what they answered, where it is long; its hash stays in the record",
    "the last event that names the text",
    365,
    FLOOR,
)
TRIALS: Final = RecordClass(
    "trials",
    "Failed trials",
    "Step-by-step records of regression cases that failed; verdicts stay",
    "the trial",
    365,
    7,
)
IMPORTS: Final = RecordClass(
    "imports", "Imported records", "Files that somebody brought to look at", "the import", 365, 7
)
EXPORTS: Final = RecordClass(
    "exports", "Exported files", "Copies of events that wait to be fetched", "the request", 7, 1, 7
)

CLASSES: Final[Mapping[str, RecordClass]] = {one.name: one for one in (RECORD, BODIES, TRIALS, IMPORTS, EXPORTS)}


def usual() -> dict[str, int]:
    """Return the periods of a tenant that has said nothing, in days by class."""
    return {name: one.usual for name, one in CLASSES.items()}


def problems(periods: Mapping[str, object]) -> dict[str, str]:
    """Say what is wrong with periods, by class."""
    found: dict[str, str] = {}
    for name in periods.keys() - CLASSES.keys():
        found[name] = "There is no such class of records."
    for name, one in CLASSES.items():
        days = periods.get(name)
        if not isinstance(days, int) or isinstance(days, bool) or not one.least <= days <= one.most:
            found[name] = f"Use a whole number of days from {one.least:,} to {one.most:,}."
    return found


def shortened(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Return the classes whose period gets shorter."""
    return [name for name in CLASSES if after[name] < before[name]]
