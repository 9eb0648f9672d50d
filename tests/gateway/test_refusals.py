"""An address that shows one bad token after the other is soon not listened to; everybody else is."""

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client

from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.gateway.conftest import Program

Problem = Callable[..., dict[str, Any]]
MOMENT = "2026-11-25T09:00:10Z"


def show(token: str, address: str = "10.0.0.1", **headers: str) -> Any:
    sent = {"authorization": f"Bearer {token}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Client(raise_request_exception=False).get("/api/v1/runs", headers=sent, REMOTE_ADDR=address)


def guess(times: int, address: str = "10.0.0.1", **headers: str) -> list[int]:
    return [
        show(f"aod_acme_{number:012d}_{'a' * 52}".replace("0", "a").replace("1", "b"), address, **headers).status_code
        for number in range(times)
    ]


@pytest.fixture(autouse=True)
def _few(settings: Any) -> None:
    settings.API_BAD_TOKENS_PER_MINUTE = 3


def test_after_a_few_bad_tokens_an_address_is_not_listened_to(shop: Tenant, problem: Problem) -> None:
    with time_machine.travel(MOMENT, tick=False):
        assert guess(5) == [401, 401, 401, 429, 429]
        response = show("nonsense")
        problem(response, 429, "throttled")
        assert 1 <= int(response["Retry-After"]) <= 61


def test_nothing_is_looked_up_any_more(shop: Tenant, django_assert_num_queries: Any) -> None:
    with time_machine.travel(MOMENT, tick=False):
        guess(3)
        with django_assert_num_queries(0):
            assert show("aod_acme_aaaaaaaaaaaa_" + "a" * 52).status_code == 429


def test_the_next_minute_it_is_listened_to_again(shop: Tenant, agent: Program) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        guess(3)
        assert show(agent.token).status_code == 429, "a token nobody has seen yet waits as well"
        clock.shift(50)
        assert show(agent.token).status_code == 200


def test_a_program_beside_the_guesser_goes_on_working(shop: Tenant, agent: Program) -> None:
    with time_machine.travel(MOMENT, tick=False):
        assert show(agent.token).status_code == 200
        guess(10)
        assert show(agent.token).status_code == 200


def test_a_token_that_was_good_is_still_checked(shop: Tenant, agent: Program) -> None:
    with time_machine.travel(MOMENT, tick=False):
        assert show(agent.token).status_code == 200
        guess(10)
        agent.row.revoked_at = agent.row.created_at
        with tenant_scope(shop):
            agent.row.save()
        assert show(agent.token).status_code == 401


def test_other_addresses_are_not_concerned(shop: Tenant) -> None:
    with time_machine.travel(MOMENT, tick=False):
        guess(5)
        assert guess(1, "10.0.0.2") == [401]


def test_the_addresses_of_one_customer_count_together(shop: Tenant) -> None:
    with time_machine.travel(MOMENT, tick=False):
        statuses = [guess(1, f"2001:db8:1:2::{number}")[0] for number in range(1, 6)]
        assert statuses == [401, 401, 401, 429, 429]
        assert guess(1, "2001:db8:1:3::1") == [401]
        assert guess(4, "::ffff:10.0.0.9")[-1] == 429
        assert guess(1, "10.0.0.9") == [429], "the same address, written in another way"


def test_a_header_does_not_give_an_address_a_new_name(shop: Tenant) -> None:
    with time_machine.travel(MOMENT, tick=False):
        statuses = [guess(1, x_forwarded_for=f"1.2.3.{number}")[0] for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


def test_behind_a_trusted_proxy_the_address_is_the_one_it_tells(shop: Tenant, settings: Any) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    with time_machine.travel(MOMENT, tick=False):
        guess(5, x_forwarded_for="9.9.9.9, 1.2.3.4")
        assert guess(1, x_forwarded_for="9.9.9.9, 1.2.3.5") == [401]
        assert guess(1, x_forwarded_for="8.8.8.8, 1.2.3.4") == [429]


def test_requests_without_a_token_are_not_counted(shop: Tenant) -> None:
    for _ in range(10):
        assert Client().get("/api/v1/runs").status_code == 401


def test_the_cache_never_holds_a_token(shop: Tenant, agent: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    add = cache.add

    def watched(key: str, value: object, timeout: int | None = None) -> bool:
        seen.append(f"{key}={value}")
        return add(key, value, timeout)

    monkeypatch.setattr(cache, "add", watched)
    show(agent.token)
    assert seen
    assert not any(agent.token[-20:] in text for text in seen)
