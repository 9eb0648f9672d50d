"""A model by its name, `<provider>:<model>`, and everything needed to ask it: dialect, address, key.

Keys and addresses come from the environment of the process alone, never from a row that a tenant can write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final, Literal
from urllib.parse import urlsplit

Speaks = Literal["openai", "anthropic", "compatible"]
"""The dialect of a server: OpenAI's own, Anthropic's messages, or OpenAI's chat completions as others serve them."""

MAX_NAME: Final = 120


@dataclass(frozen=True, slots=True)
class Provider:
    """Somebody who serves models. `price_list` is their name in the price table, empty when they are not in it."""

    speaks: Speaks
    base_url: str
    price_list: str = ""
    needs_key: bool = True


KNOWN: Final[Mapping[str, Provider]] = {
    "openai": Provider("openai", "https://api.openai.com/v1", "openai"),
    "anthropic": Provider("anthropic", "https://api.anthropic.com", "anthropic"),
    "cerebras": Provider("compatible", "https://api.cerebras.ai/v1", "cerebras"),
    "deepseek": Provider("compatible", "https://api.deepseek.com", "deepseek"),
    "fireworks": Provider("compatible", "https://api.fireworks.ai/inference/v1", "fireworks"),
    "google": Provider("compatible", "https://generativelanguage.googleapis.com/v1beta/openai", "google"),
    "groq": Provider("compatible", "https://api.groq.com/openai/v1", "groq"),
    "mistral": Provider("compatible", "https://api.mistral.ai/v1", "mistral"),
    "ollama": Provider("compatible", "http://127.0.0.1:11434/v1", needs_key=False),
    "openrouter": Provider("compatible", "https://openrouter.ai/api/v1", "openrouter"),
    "together": Provider("compatible", "https://api.together.xyz/v1", "together"),
    "xai": Provider("compatible", "https://api.x.ai/v1", "x-ai"),
}
"""Providers that need nothing but a key. Others are added by naming their address in the environment."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a model cannot be asked: a stable code and one sentence that says what to set."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model. `speaks` is derived from the name where nothing else is said.

    Without it `openai:<model>` and `anthropic:<model>` are those providers, and any other name is one that a server
    at `base_url` knows; a prefix that is none of ours then belongs to the model's name (`llama3:8b`).
    """

    name: str = ""
    api_key: str = field(default="", repr=False)
    base_url: str = ""
    speaks: Speaks | None = None

    @property
    def provider(self) -> Speaks:
        """Which of the three dialects to speak."""
        if self.speaks is not None:
            return self.speaks
        match self.name.partition(":"):
            case ("openai", ":", _):
                return "openai"
            case ("anthropic", ":", _):
                return "anthropic"
            case _:
                return "compatible"

    @property
    def model(self) -> str:
        """The model's name as its provider knows it."""
        prefixed = self.speaks is not None or self.provider != "compatible"
        return self.name.partition(":")[2] if prefixed else self.name

    @property
    def address(self) -> str:
        """The base URL that is asked, empty when there is none."""
        known = KNOWN.get(self.name.partition(":")[0])
        return self.base_url or (known.base_url if known is not None and self.model != self.name else "")

    def configured(self) -> bool:
        """Whether a request could be made."""
        return self.problem() is None

    def problem(self) -> Problem | None:
        """Return what is missing, or None. Codes: model_not_configured, model_name_invalid, model_unknown_provider,
        model_address_invalid, model_key_missing, model_client_missing."""
        if not self.name:
            return Problem(
                "model_not_configured", "No model is set: set AGENTOPS_MODELS or AGENTOPS_MODEL, say to openai:gpt-5."
            )
        shown = self.name[:80]
        if not self.model:
            return Problem("model_name_invalid", f"The model {shown!r} has no name: write it after the colon.")
        if not self.address:
            return Problem(
                "model_unknown_provider",
                f"Nobody is known who serves {shown!r}: write <provider>:<model> with one of {', '.join(KNOWN)}, name "
                "the address of another provider in AGENTOPS_PROVIDER_<NAME>_BASE_URL, or set AGENTOPS_MODEL_BASE_URL "
                "to an OpenAI-compatible server.",
            )
        parts = urlsplit(self.address)
        if "@" in parts.netloc or parts.query or parts.fragment:
            return Problem(
                "model_address_invalid",
                f"The address for {shown!r} may hold scheme, host and path only: put a secret into "
                "AGENTOPS_MODEL_API_KEY or AGENTOPS_PROVIDER_<NAME>_API_KEY.",
            )
        if not self.api_key and self._needs_key():
            variable = f"AGENTOPS_PROVIDER_{self.name.partition(':')[0].upper().replace('-', '_')}_API_KEY"
            return Problem(
                "model_key_missing",
                f"The model {shown} needs a key: set {variable}, or AGENTOPS_MODEL_API_KEY for the provider of "
                "AGENTOPS_MODEL.",
            )
        if find_spec("pydantic_ai") is None:
            return Problem(
                "model_client_missing",
                "The model client is not installed: install the extra with `pip install agentops[llm]`.",
            )
        return None

    def _needs_key(self) -> bool:
        """Own servers may do without a key; those of the well-known providers do not."""
        known = KNOWN.get(self.name.partition(":")[0])
        return not self.base_url and known is not None and known.needs_key
