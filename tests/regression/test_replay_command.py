"""`manage.py replay` and `run_export`: what they say, in words, as JSON and as an exit code."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from agentops.audit.models import Event
from agentops.engine import decide as deciding
from agentops.engine.decide import Command, Fail, Finalize
from agentops.engine.plan import Plan
from agentops.engine.state import State
from agentops.regression.recordings import Masked, read_recording
from agentops.runs.models import Run
from tests.regression.conftest import Shop


def replay(*words: str, **options: Any) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("replay", *words, stdout=out, **options)
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


def test_a_run_is_identical(shop: Shop) -> None:
    run = shop.run()
    assert run.state == "succeeded"
    code, said = replay(str(run.id))
    assert (code, "identical" in said, "1 run replayed: 1 identical" in said) == (0, True, True)


def test_what_is_no_run_and_no_file_is_said(shop: Shop) -> None:
    assert replay(str(uuid4()))[0] == 2
    assert "neither" in replay("nothing-here.json")[1]
    assert replay()[0] == 2
    assert replay(str(uuid4()), tenant="nobody")[0] == 2


@contextmanager
def changed_rule(word: str) -> Iterator[None]:
    """Have an engine in which a run must not end well with this word in its answer."""
    original = deciding._finalize

    def finalize(state: State, plan: Plan | None) -> Command:
        command = original(state, plan)
        return Fail("forbidden", "changed") if isinstance(command, Finalize) and word in command.answer else command

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deciding, "_finalize", finalize)
        yield


def test_a_changed_rule_is_named_for_each_run_it_changes(shop: Shop) -> None:
    paid, refused = shop.run(), shop.run("goodwill-refund", None, "reject")
    assert replay(all=True)[0] == 0
    with changed_rule("issued for order"):
        code, said = replay(all=True, json=True)
    assert code == 1
    found = {one["run"]: one for one in map(json.loads, said.splitlines()[:2])}
    assert found[str(refused.id)]["outcome"] == "identical"
    divergence = found[str(paid.id)]["divergence"]
    assert divergence["expected"].startswith("run.failed {'code': 'forbidden'")
    assert divergence["recorded"].startswith("run.succeeded")
    assert divergence["seq"] == Event.objects.filter(run_id=paid.id).order_by("-seq")[0].seq


def test_an_exported_run_is_identical_as_a_file_and_its_export_is_on_record(shop: Shop, tmp_path: Path) -> None:
    run = shop.run("goodwill-refund", None, "edit")
    file = tmp_path / "run.json"
    call_command("run_export", str(run.id), output=str(file))
    assert replay(str(file)) == (0, f"{file}: {replay(str(run.id))[1].split(': ', 1)[1]}")
    exported = Event.objects.get(type="run.exported")
    assert (exported.subject_id, exported.actor_kind) == (str(run.id), "system")
    recording = read_recording(file.read_bytes())
    assert recording.about["task_type"] == "goodwill-refund"
    assert json.loads(file.read_text())["run"]["state"] == "succeeded"


def test_a_masked_file_holds_nothing_of_a_person_and_still_replays(shop: Shop, tmp_path: Path) -> None:
    run = shop.run("support-email", {"message_id": "M-0001"})
    assert run.state == "succeeded"
    file, key = tmp_path / "run.json", tmp_path / "key"
    key.write_bytes(b"k" * 32)
    call_command("run_export", str(run.id), output=str(file), mask="all", mask_key_file=str(key), stderr=io.StringIO())
    text = file.read_text()
    for hidden in ("wilma@example.com", "Wilma", "tent arrived", "bob"):
        assert hidden not in text
    code, said = replay(str(file))
    assert (code, "identical" in said) == (0, True), said
    again = tmp_path / "again.json"
    call_command("run_export", str(run.id), output=str(again), mask="all", mask_key_file=str(key), stderr=io.StringIO())
    assert json.loads(again.read_text())["events"] == json.loads(text)["events"]


def test_a_masked_file_that_differs_says_that_it_cannot_be_checked(shop: Shop, tmp_path: Path) -> None:
    run = shop.run()
    file = tmp_path / "run.json"
    call_command("run_export", str(run.id), output=str(file))
    recording = read_recording(file.read_bytes())
    last = recording.entries[-1]
    other = replace(
        recording,
        masked=Masked(("secrets",), 1),
        entries=(*recording.entries[:-1], replace(last, data={**last.data, "answer": "[token]"})),
    )
    file.write_text(other.text())
    code, said = replay(str(file))
    assert (code, f"not checkable from event {last.seq}" in said) == (2, True)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"{", "JSON"),
        (b"[]", "no exported run"),
        (b'{"format": "agentops-run", "version": 9}', "version 1"),
        (b'{"format": "agentops-run", "version": 1, "events": []}', "digest"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_bad_file_is_unreadable_and_says_where(shop: Shop, tmp_path: Path, raw: bytes, says: str) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(raw)
    code, said = replay(str(file))
    assert (code, "unreadable: /" in said) == (2, True)
    assert says in said


def test_replaying_writes_nothing(shop: Shop, django_assert_max_num_queries: Any) -> None:
    run = shop.run()
    before = Event.objects.count(), Run.objects.count()
    with django_assert_max_num_queries(8):
        replay(str(run.id))
    assert (Event.objects.count(), Run.objects.count()) == before
