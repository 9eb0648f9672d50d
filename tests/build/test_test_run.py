"""What `make test` makes of tests that fail: once more alone, named, and never hidden."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import chromium, run

pytestmark = pytest.mark.skipif("DATABASE_URL" in os.environ, reason="needs no database; tested in the SQLite run")

UNSTABLE = """
from pathlib import Path

def test_second_time_lucky():
    seen = Path(__file__).with_name("seen")
    again = seen.exists()
    seen.touch()
    assert again
"""
BROKEN = "\ndef test_never():\n    assert False\n"

Suite = Callable[[str], run.Outcome]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Give a function that runs a file of tests as a suite would be run."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "NOTICES", [])
    monkeypatch.delenv("AGENTOPS_TESTS", raising=False)

    def outcome(text: str) -> run.Outcome:
        (tmp_path / "test_it.py").write_text(text)
        return run.run_suite("it", ["-p", "no:django", "-p", "no:asyncio", "-p", "no:playwright", "test_it.py"], {})

    return outcome


def test_a_failure_that_passes_alone_is_named_loudly_and_lets_the_release_go_on(suite: Suite) -> None:
    outcome = suite(UNSTABLE)
    assert outcome.passed
    assert outcome.failed == ()
    assert [notice for notice in run.NOTICES if "UNSTABLE" in notice and "test_second_time_lucky" in notice]


def test_a_failure_that_fails_again_is_named_and_stops_the_release(suite: Suite) -> None:
    outcome = suite(UNSTABLE + BROKEN)
    assert not outcome.passed
    assert outcome.failed == ("test_it.py::test_never",)
    assert run.summary([outcome], 1).endswith("FAILED: it")


def test_many_failures_are_no_accident(suite: Suite) -> None:
    outcome = suite(UNSTABLE + "".join(BROKEN.replace("never", f"never_{n}") for n in range(run.AGAIN)))
    assert not outcome.passed
    assert len(outcome.failed) == run.AGAIN + 1


def test_strictly_nothing_may_fail_even_once(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTOPS_TESTS", "strict")
    outcome = suite(UNSTABLE)
    assert not outcome.passed
    assert outcome.failed == ("test_it.py::test_second_time_lucky",)


def test_what_cannot_even_be_collected_fails(suite: Suite) -> None:
    assert not suite("import nothing_of_this_name\n").passed


def test_tests_run_alike_everywhere_and_compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTEST_ADDOPTS", "DATABASE_URL", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PATH", "/kept")
    assert run.clean_environment()["PATH"] == "/kept"
    assert not {"PYTEST_ADDOPTS", "DATABASE_URL", "PYTHONDONTWRITEBYTECODE"} & set(run.clean_environment())


def test_every_step_runs_once_in_one_of_two_lanes_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    beside = threading.Barrier(2)

    def suite(name: str, words: list[str], environment: dict[str, str]) -> run.Outcome:
        if name in ("sqlite", "integration"):
            beside.wait(30)
        ran.append(name)
        return run.Outcome(name, True, 0)

    monkeypatch.setenv("DATABASE_URL", "postgres://somewhere")
    monkeypatch.delenv("AGENTOPS_TEST_POSTGRES", raising=False)
    monkeypatch.setattr(run, "run_suite", suite)
    monkeypatch.setattr(run, "run_check", lambda check: suite(check.name, [], {}))
    monkeypatch.setattr(chromium, "find", lambda: "chromium")
    outcomes = run.run_all(lambda name: True)
    wanted = {check.name for check in run.CHECKS} | {"sqlite", "postgresql", "integration", "browser"}
    assert set(ran) == {one.name for one in outcomes} == wanted
    assert len(ran) == len(outcomes) == len(wanted)


def test_tests_with_a_mark_are_found_by_the_text_of_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_marked.py").write_text("@pytest.mark.slow\ndef test_it(): ...")
    (tmp_path / "tests" / "test_other.py").write_text("def test_it(): ...")
    assert run.marked("slow") == ["-m", "slow", "tests/test_marked.py"]
