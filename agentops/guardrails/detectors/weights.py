"""How much a kind of finding weighs: what its rule says, or what training on the tuning sources made of it.

`weights.json` is written by `python -m tests.guardrails.corpus.train`, which reads tuning sources alone; a code that is not
in it weighs what its rule says.
"""

from functools import lru_cache
from importlib import resources
from json import loads
from typing import Final

from agentops.guardrails.detectors.matching import Rule

FILE: Final = "weights.json"


@lru_cache(maxsize=1)
def trained() -> dict[str, float]:
    """Return the trained weights, from 0 to 1, by code."""
    source = resources.files("agentops.guardrails.detectors").joinpath(FILE)
    return {code: float(weight) for code, weight in loads(source.read_text("utf-8"))["weights"].items()}


def weight_of(rule: Rule) -> float:
    """Return the weight of a rule's findings where nothing hides or excuses them."""
    return trained().get(rule.code, rule.weight)
