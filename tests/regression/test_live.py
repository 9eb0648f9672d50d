"""With a live model the prompt itself is put to the test: a planted change of it fails the suite."""

from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from agentops.prompts.built_in import PLAN_FIRST
from agentops.prompts.models import Prompt
from agentops.prompts.services import save_prompt
from agentops.regression.runner import Runner, Trial
from agentops.regression.setups import copy_of
from agentops.runs.models import TaskType
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.regression.conftest import Shop
from tests.regression.test_runner import promoted
from tests.shop import Clock, open_shop
from tests.stubs.model_server import Asked, Reply, plan, serving


def shopkeeper(asked: Asked) -> Reply:
    """Plan a refund; a prompt that asks for it is obeyed and everything is looked up twice, with a doubt."""
    common = {"when": "", "expect": "", "on_failure": "fail", "why": "Because."}
    order = {"order_ref": {"$ref": "input.order_ref"}}
    steps: list[dict[str, Any]] = [{"id": "order", "tool": "shop.find_order", "arguments": order, **common}]
    if any("look everything up twice" in text for text in asked.texts["system"]):
        doubt = {**common, "expect": "output.total_minor > 1000000"}
        steps.append({"id": "again", "tool": "shop.find_order", "arguments": order, **doubt})
    refund = {
        **order,
        "amount_minor": {"$ref": "input.amount_minor"},
        "currency": {"$ref": "steps.order.output.currency"},
        "reason": {"$ref": "input.reason"},
    }
    steps.append({"id": "refund", "tool": "shop.issue_refund", "arguments": refund, **common})
    return plan(steps, [{"when": "", "text": "Refunded."}])


class Real(Clock):
    """The time of this machine: a model takes as long as it takes."""

    def __call__(self) -> datetime:
        return timezone.now()


@pytest.mark.django_db
def test_a_planted_prompt_fails_with_a_live_model_and_not_with_what_a_model_once_answered(
    acme: Tenant, bob: User, actor_of: Any, settings: Any
) -> None:
    with serving(shopkeeper) as server:
        settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL = "stub", server.url
        with tenant_scope(acme):
            open_shop(acme)
            TaskType.objects.filter(slug="goodwill-refund").update(planner="model")
            run = Shop(acme, actor_of(bob, acme), clock=Real()).run()
            assert (run.state, run.answer) == ("succeeded", "Refunded.")
            case = promoted(run)
            assert len(case.model) == 1

        def tried(*, live: bool) -> Trial:
            with tenant_scope(acme):
                kind = TaskType.objects.select_related("prompt", "playbook").get(slug="goodwill-refund")
                prepare = copy_of(kind)
            return Runner("goodwill-refund", prepare, live=live).run(case)

        asked = len(server.asked)
        assert tried(live=False).problems == ()
        assert len(server.asked) == asked
        assert tried(live=True).problems == ()
        assert len(server.asked) == asked + 1
        with tenant_scope(acme):
            template = PLAN_FIRST.replace("Plan no more than the task needs.", "Always look everything up twice.")
            saved = save_prompt(slug="eager", planning="plan_first", template=template, actor=SYSTEM)
            assert isinstance(saved, Prompt), saved
            TaskType.objects.filter(slug="goodwill-refund").update(prompt=saved)
        assert tried(live=False).problems == ()
        found = tried(live=True)
        assert found.problems
        assert found.problems[0].code == "no_answer"
