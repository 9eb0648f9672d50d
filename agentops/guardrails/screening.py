"""The one place where text from outside meets the guardrails: a task's input, and what tools returned.

What is found in a text becomes one entry of an event: {"path", "score", "flagged", "families", "findings", "more",
"engine"}, with `path` a JSON pointer and offsets in the text there; {"path", "failed"} where a guardrail broke. "name"
is true where the text is the name of the member at `path`. "removed" says which stretches of a flagged output no model
is shown (`sanitise`), if the tenant wants it so.

A finding is recorded and raises risk; nothing is dropped here. A guardrail that breaks is recorded as well, and from
then on nothing in that run happens without a person (`approvals.gating.gate`).
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agentops.guardrails.sanitise import recorded, sanitise
from agentops.guardrails.scan import scan
from agentops.guardrails.score import DEFAULT, Settings
from agentops.wire.parse import JSON, JSONObject, pointer_token

Asked = Callable[[], Settings]
"""Gives the settings in force. Asked only when there is a text to look at, because that may cost a query."""


def defaults() -> Settings:
    """Return the settings of a tenant that has none of its own."""
    return DEFAULT


logger = logging.getLogger(__name__)

TRUSTED: Final = "trusted"
"""What contracts call the fields that need no look (`tools.contracts.Trust`)."""
SHORTEST: Final = 12
"""Characters below which a text cannot say enough to be worth a look, unless it is not plain ASCII."""
MOST_TEXTS: Final = 20
MOST_FINDINGS: Final = 10


def screen_output(output: JSON, trust: Mapping[str, str], settings: Asked = defaults) -> list[JSONObject]:
    """Return what guardrails find in the fields of an output that its contract does not call trusted.

    One entry for each text with findings, the highest score first, at most `MOST_TEXTS` (`engine.events`).
    """
    rest = trust.get("", "untrusted")
    if not isinstance(output, dict):
        return [] if rest == TRUSTED else _worst(_screened(output, "", settings))
    found: list[JSONObject] = []
    for name, value in output.items():
        if trust.get(name, rest) != TRUSTED:
            found += _screened(value, f"/{pointer_token(name)}", settings)
    return _worst(found)


def screen_input(given: JSONObject, settings: Asked = defaults) -> list[JSONObject]:
    """Return what guardrails find in a task's input: people paste what they were sent."""
    return _worst(_screened(given, "", settings, shown=True))


@dataclass(frozen=True, slots=True)
class _Place:
    path: str
    text: str
    is_name: bool = False


def _screened(value: JSON, path: str, settings: Asked, *, shown: bool = False) -> list[JSONObject]:
    try:
        texts = list(_texts(value, path))
        known = settings() if texts else DEFAULT
        return [one for text in texts if (one := _entry(text, known, shown=shown)) is not None]
    except Exception as error:
        logger.exception("a guardrail broke on %s", path or "a text")
        return [{"path": path, "failed": type(error).__name__}]


def _entry(place: _Place, settings: Settings, *, shown: bool) -> JSONObject | None:
    found = scan(place.text, settings)
    if not found.findings:
        return None
    entry: JSONObject = {
        "path": place.path,
        "score": found.score,
        "flagged": found.flagged,
        "families": list[JSON](dict.fromkeys(f.family.value for f in found.findings if f.family not in settings.off)),
        "findings": [dict[str, JSON](finding.to_json()) for finding in found.findings[:MOST_FINDINGS]],
        "more": max(0, len(found.findings) - MOST_FINDINGS),
        "engine": found.engine,
    }
    if place.is_name:
        entry["name"] = True
    if found.flagged and settings.stubs and not shown:
        entry["removed"] = recorded(
            sanitise(place.text, [one for one in found.findings if one.family not in settings.off])
        )
    return entry


def _texts(value: JSON, path: str) -> Iterator[_Place]:
    """Yield the texts in a value with their JSON pointers, names of members too."""
    match value:
        case str():
            if len(value) >= SHORTEST or not value.isascii():
                yield _Place(path, value)
        case dict():
            for name, member in value.items():
                place = f"{path}/{pointer_token(name)}"
                yield from (replace(one, is_name=True) for one in _texts(name, place))
                yield from _texts(member, place)
        case list():
            for index, member in enumerate(value):
                yield from _texts(member, f"{path}/{index}")


def _worst(found: list[JSONObject]) -> list[JSONObject]:
    """Keep the entries that matter most: failures first, then the highest scores."""
    ranked = sorted(found, key=lambda one: (not one.get("failed"), -int(str(one.get("score", 0)))))
    return ranked[:MOST_TEXTS]
