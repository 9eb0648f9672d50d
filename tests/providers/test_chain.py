"""A model is its name; who serves it and with which key comes from the environment, and what is missing is said."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from agentops import checks
from agentops.environment import Environment
from agentops.providers.chain import chain_problems, configured, default_chain, written_chain

PREFIX = "AGENTOPS_PROVIDER_"


@pytest.fixture
def providers(settings: Any) -> Any:
    """Return a function that sets the providers as the environment would."""

    def use(**variables: str) -> None:
        named = {f"{PREFIX}{name}": value for name, value in variables.items()}
        settings.MODEL_PROVIDERS = Environment(named).providers(PREFIX)

    use()
    return use


def test_every_provider_has_its_own_key_and_address(providers: Any) -> None:
    providers(
        OPENAI_API_KEY="sk-1",
        ANTHROPIC_API_KEY="sk-2",
        MISTRAL_API_KEY="sk-3",
        IN_HOUSE_BASE_URL="https://models.example.com/v1",
        CLAUDE_PROXY_BASE_URL="https://claude.example.com",
        CLAUDE_PROXY_SPEAKS="anthropic",
    )
    names = ["openai:gpt-5", "anthropic:claude-x", "mistral:large", "in-house:qwen:32b", "claude-proxy:claude-x"]
    found = [configured(name) for name in names]
    assert [(one.provider, one.model, one.api_key) for one in found] == [
        ("openai", "gpt-5", "sk-1"),
        ("anthropic", "claude-x", "sk-2"),
        ("compatible", "large", "sk-3"),
        ("compatible", "qwen:32b", ""),
        ("anthropic", "claude-x", ""),
    ]
    assert [one.address for one in found] == [
        "https://api.openai.com/v1",
        "https://api.anthropic.com",
        "https://api.mistral.ai/v1",
        "https://models.example.com/v1",
        "https://claude.example.com",
    ]
    assert chain_problems(names) == []


def test_one_key_of_one_model_is_no_key_of_another_provider(settings: Any, providers: Any) -> None:
    settings.AGENTOPS_MODEL = "openai:gpt-5"
    settings.AGENTOPS_MODEL_API_KEY = "sk-openai"
    assert configured("openai:gpt-5-mini").api_key == "sk-openai"
    assert configured("anthropic:claude-x").api_key == ""
    [problem] = chain_problems(["openai:gpt-5", "anthropic:claude-x"])
    assert problem.code == "model_key_missing"
    assert "AGENTOPS_PROVIDER_ANTHROPIC_API_KEY" in problem.message


def test_a_local_model_keeps_a_name_that_looks_like_a_provider(settings: Any, providers: Any) -> None:
    settings.AGENTOPS_MODEL = "mistral:7b"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:11434/v1"
    assert (configured("mistral:7b").model, configured("mistral:7b").address) == (
        "mistral:7b",
        "http://127.0.0.1:11434/v1",
    )


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], "model_not_configured"),
        (["gpt-5"], "model_unknown_provider"),
        (["nobody:gpt-5"], "model_unknown_provider"),
        (["openai:"], "model_name_invalid"),
        (["openai:gpt 5"], "model_name_invalid"),
        (["openai:" + "x" * 200], "model_name_invalid"),
        (["openai:gpt-5\n"], "model_name_invalid"),
        (["openai:gpt-5"], "model_key_missing"),
        (["ollama:a", "ollama:a"], "model_named_twice"),
        ([f"ollama:{n}" for n in range(6)], "model_chain_too_long"),
    ],
)
def test_what_cannot_be_asked_has_a_code(providers: Any, names: list[str], code: str) -> None:
    assert [problem.code for problem in chain_problems(names)] == [code]


def test_a_chain_is_written_one_a_line_or_with_commas() -> None:
    assert written_chain(" openai:a \n\nanthropic:b, ollama:c,\n") == ("openai:a", "anthropic:b", "ollama:c")


def test_the_chain_of_the_environment(settings: Any) -> None:
    assert default_chain() == ()
    settings.AGENTOPS_MODEL = "openai:a"
    assert default_chain() == ("openai:a",)
    settings.AGENTOPS_MODELS = ["openai:b", "anthropic:c"]
    assert default_chain() == ("openai:b", "anthropic:c")


@pytest.mark.parametrize(
    "variable",
    ["OPENAI", "OPENAI_KEY", "_API_KEY", "openai_API_KEY", "A__B_API_KEY", "9_API_KEY", "OPENAI_API_KEYS"],
)
def test_a_variable_that_means_nothing_is_refused(variable: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="is not understood"):
        Environment({f"{PREFIX}{variable}": "x"}).providers(PREFIX)


@pytest.mark.parametrize(("suffix", "value"), [("BASE_URL", "ftp://x"), ("BASE_URL", "x"), ("SPEAKS", "klingon")])
def test_a_value_that_means_nothing_is_refused(suffix: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{PREFIX}X_{suffix}"):
        Environment({f"{PREFIX}X_{suffix}": value}).providers(PREFIX)


def test_the_system_check_names_what_is_missing(settings: Any, providers: Any) -> None:
    assert checks.models(None) == []
    settings.AGENTOPS_MODELS = ["openai:gpt-5", "nobody:x"]
    found = checks.models(None)
    assert [message.id for message in found] == ["agentops.model_key_missing", "agentops.model_unknown_provider"]
    settings.AGENTOPS_MODELS = []
    settings.AGENTOPS_MODEL_API_KEY = "sk-1"
    assert [message.id for message in checks.models(None)] == ["agentops.W006"]
