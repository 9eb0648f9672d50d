"""Which models answer for a task type, in which order, as this process is configured."""

import re
from collections.abc import Sequence
from typing import Final

from django.conf import settings

from agentops.providers.catalogue import KNOWN, MAX_NAME, ModelConfig, Problem

MAX_CHAIN: Final = 5
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")


def default_chain() -> tuple[str, ...]:
    """Return the names in AGENTOPS_MODELS, else the one in AGENTOPS_MODEL, else none."""
    if settings.AGENTOPS_MODELS:
        return tuple(settings.AGENTOPS_MODELS)
    return (settings.AGENTOPS_MODEL,) if settings.AGENTOPS_MODEL else ()


def written_chain(text: str) -> tuple[str, ...]:
    """Read the names a person wrote, one a line or separated by commas; empty lines count for nothing."""
    return tuple(name for line in text.splitlines() for part in line.split(",") if (name := part.strip()))


def configured(name: str) -> ModelConfig:
    """Return how this process asks a model; `ModelConfig.problem` says whether it can.

    AGENTOPS_MODEL_API_KEY and AGENTOPS_MODEL_BASE_URL belong to the provider of AGENTOPS_MODEL, and to every name whose
    prefix is no provider.
    """
    prefix, colon, _ = name.partition(":")
    own = settings.MODEL_PROVIDERS.get(prefix) if colon else None
    known = KNOWN.get(prefix) if colon else None
    plain = ModelConfig(name, settings.AGENTOPS_MODEL_API_KEY, settings.AGENTOPS_MODEL_BASE_URL)
    if settings.AGENTOPS_MODEL_BASE_URL and name == settings.AGENTOPS_MODEL:
        return plain
    if own is None and known is None:
        return plain
    key = own["api_key"] if own else ""
    if not key and prefix == settings.AGENTOPS_MODEL.partition(":")[0]:
        key = settings.AGENTOPS_MODEL_API_KEY
    base_url = own["base_url"] if own else ""
    spoken = own["speaks"] if own else ""
    if spoken == "anthropic":
        return ModelConfig(name, key, base_url, "anthropic")
    if spoken == "compatible" or known is None:
        return ModelConfig(name, key, base_url, "compatible")
    return ModelConfig(name, key, base_url, known.speaks)


def chain_problems(names: Sequence[str]) -> list[Problem]:
    """Say everything that keeps a chain from being asked; see `ModelConfig.problem` for codes.

    More: model_chain_too_long, model_named_twice, model_name_invalid.
    """
    if not names:
        problem = ModelConfig().problem()
        return [problem] if problem else []
    found: list[Problem] = []
    if len(names) > MAX_CHAIN:
        found.append(Problem("model_chain_too_long", f"Name at most {MAX_CHAIN} models; there are {len(names)}."))
    for name in dict.fromkeys(names):
        if len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
            found.append(Problem("model_name_invalid", f"{name[:80]!a} is no model's name: write <provider>:<model>."))
        elif problem := configured(name).problem():
            found.append(problem)
    if len(set(names)) != len(names):
        found.append(Problem("model_named_twice", "A model stands twice in the list."))
    return found
