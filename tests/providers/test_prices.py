"""What a request costs: the tenant's own price first, the price table next, and no price is never zero."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from agentops.audit.models import Event
from agentops.providers.models import ModelPrice
from agentops.providers.prices import FRAMING_TOKENS, LISTED, Estimate, OwnPrice, PriceTable, Tokens
from agentops.providers.selectors import price_table
from agentops.tenancy.models import Tenant

NOW = datetime(2026, 11, 22, tzinfo=UTC)
EARLIER = NOW - timedelta(days=365)
TABLE = PriceTable(
    (
        OwnPrice("*", 1_000_000, 2_000_000, 1_000_000, EARLIER),
        OwnPrice("local:*", 0, 0, 0, EARLIER),
        OwnPrice("local:big", 3_000_000, 6_000_000, 300_000, EARLIER),
        OwnPrice("local:big", 4_000_000, 8_000_000, 400_000, NOW - timedelta(days=1)),
        OwnPrice("local:big", 9_000_000, 9_000_000, 9_000_000, NOW + timedelta(days=1)),
    )
)


def test_the_longest_pattern_counts_and_of_equal_ones_the_latest_that_is_valid() -> None:
    million = Tokens(1_000_000, 1_000_000)
    assert TABLE.cost_micros("openai:gpt-5", million, NOW) == 3_000_000
    assert TABLE.cost_micros("local:small", million, NOW) == 0
    assert TABLE.cost_micros("local:big", million, NOW) == 12_000_000
    assert TABLE.cost_micros("local:big", million, NOW - timedelta(days=2)) == 9_000_000


def test_cached_tokens_have_their_own_price_and_are_not_counted_twice() -> None:
    assert TABLE.cost_micros("local:big", Tokens(1_000_000, 0, cached=500_000), NOW) == 2_200_000
    assert TABLE.cost_micros("local:big", Tokens(10, 0, cached=10_000_000), NOW) == 4


def test_the_price_table_as_installed_knows_the_well_known_models() -> None:
    cost = LISTED.cost_micros("openai:gpt-4o", Tokens(1_000_000, 1_000_000), NOW)
    assert cost == 12_500_000
    cached = LISTED.cost_micros("openai:gpt-4o", Tokens(1_000_000, 1_000_000, cached=1_000_000), NOW)
    assert cached is not None
    assert cached < cost
    assert LISTED.cost_micros("anthropic:claude-sonnet-4-5", Tokens(1000, 1000), NOW) is not None


@pytest.mark.parametrize("model", ["openai:gpt-nope-9000", "in-house:gpt-4o", "gpt-4o", "ollama:llama3", ""])
def test_a_model_in_neither_table_has_no_price(model: str) -> None:
    assert LISTED.cost_micros(model, Tokens(1, 1), NOW) is None
    assert LISTED.unpriced([model, "openai:gpt-4o"], NOW) == [model]


@given(
    st.integers(0, 10**7),
    st.integers(0, 10**6),
    st.sampled_from(["openai:gpt-4o", "anthropic:claude-sonnet-4-5", "local:big"]),
    st.data(),
)
def test_an_estimate_is_never_below_what_it_turns_out_to_be(
    size: int, most: int, model: str, data: st.DataObject
) -> None:
    table = TABLE if model == "local:big" else LISTED
    estimate = table.estimate(model, size, most, NOW)
    used = Tokens(data.draw(st.integers(0, size)), data.draw(st.integers(0, most)))
    actual = table.cost_micros(model, used, NOW)
    assert actual is not None
    assert estimate.micros is not None
    assert actual <= estimate.micros
    assert used.input + used.output <= estimate.tokens == size + FRAMING_TOKENS + most


def test_an_estimate_with_one_unknown_price_is_unknown() -> None:
    assert Estimate(1, 5) + Estimate(2, 6) == Estimate(3, 11)
    assert Estimate(1, 5) + Estimate(2, None) == Estimate(3, None)


@pytest.mark.django_db
def test_an_admin_sets_a_price_for_the_own_tenant_only(
    acme: Tenant, globex: Tenant, alice: User, client: Client
) -> None:
    from agentops.tenancy.scope import tenant_scope

    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    form = {
        "pattern": "local:*",
        "input_micros": "1000000",
        "output_micros": "2000000",
        "valid_from_0": "2026-01-01",
        "valid_from_1": "00:00:00",
    }
    answer = client.post("/t/acme/admin/providers/modelprice/add/", form)
    assert answer.status_code == 302, answer.content
    with tenant_scope(acme):
        assert price_table().cost_micros("local:x", Tokens(1_000_000, 0), NOW) == 1_000_000
        assert Event.objects.filter(type="admin.changed", subject_kind="modelprice").count() == 1
        assert ModelPrice.objects.get().cached_micros is None
    with tenant_scope(globex):
        assert price_table() == LISTED
    refused = client.post("/t/acme/admin/providers/modelprice/add/", form | {"pattern": "[a-z"})
    assert refused.status_code == 200
