"""Ends of a run that the engine does not decide about: the last check of its answer, and the backstop of the driver."""

import pytest

from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from agentops.worker import session
from tests.shop import drive, open_shop, start, task_type
from tools.allowlist import AllowlistState


def test_an_answer_that_holds_a_secret_is_not_let_out(scoped: Tenant) -> None:
    kind = task_type([], {})
    assert kind.playbook is not None
    kind.playbook.body = '{"steps": [], "answers": [{"text": "The key is AKIAABCDEFGHIJKLMNOP."}]}'
    kind.playbook.save()
    run = drive(start("job", {}).id)
    assert (run.state, run.failure_code, run.answer) == ("failed", "output_blocked", "")
    assert "AKIA" not in run.failure_message


def test_a_run_that_does_not_come_to_a_stop_is_stopped(scoped: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    open_shop(scoped)
    steps: list[JSONObject] = [
        {"id": f"s{i}", "tool": "shop.find_order", "arguments": {"order_ref": f"A-100{i}"}} for i in range(3)
    ]
    task_type(steps, {"shop.find_order": AllowlistState.AUTO})
    run = start("job", {})
    monkeypatch.setattr(session, "MAX_COMMANDS", 3)
    run = drive(run.id)
    assert (run.state, run.failure_code) == ("failed", "internal")
