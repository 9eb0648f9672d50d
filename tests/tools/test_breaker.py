"""When a tool may be called: nothing reaches one that keeps failing but a single probe at a time."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.breaker import (
    FORESIGHT,
    PROMISE,
    Admitted,
    BreakerState,
    Health,
    Refused,
    admission,
    closed,
    forgone,
    held,
    judged,
    reset,
)
from tools.contracts import BreakerRules, ErrorCode

NOW: Final = datetime(2026, 11, 22, 9, tzinfo=UTC)
LEASE: Final = timedelta(seconds=40)
RULES: Final = BreakerRules(failures=3, window=10, share=0.5, cool_down_s=30, cool_down_cap_s=100)


def after(outcomes: str, health: Health | None = None, now: datetime = NOW) -> Health:
    """Return the health after calls that ended like this: `x` failed, `.` answered."""
    found = health or Health()
    for outcome in outcomes:
        found = judged(found, RULES, failed=outcome == "x", probe=0, now=now).health
    return found


def ask(health: Health, now: datetime) -> tuple[Health, Admitted | Refused]:
    change, answer = admission(health, RULES, now=now, lease=LEASE)
    return change.health, answer


def probing(health: Health, now: datetime) -> tuple[Health, int]:
    found, answer = ask(health, now)
    assert isinstance(answer, Admitted)
    assert answer.probe
    return found, answer.probe


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("xx", BreakerState.CLOSED),
        ("xx.xx.xx", BreakerState.CLOSED),
        ("xxx", BreakerState.OPEN),
        (".xxx", BreakerState.OPEN),
        ("x.x.x.x.x", BreakerState.CLOSED),  # half of them, but too few to say
        ("x.x.x.x.xx", BreakerState.OPEN),
        ("x..x..x..x..x..x..", BreakerState.CLOSED),
    ],
)
def test_it_opens_after_failures_in_a_row_or_a_share_of_the_latest(outcomes: str, state: BreakerState) -> None:
    assert after(outcomes).state is state


def test_a_tool_that_works_leaves_no_trace() -> None:
    assert after("." * 50) == Health()
    assert after("x" + "." * RULES.window) == Health()
    assert ask(Health(), NOW) == (Health(), Admitted(clean=True))


def test_while_open_every_call_is_told_when_it_may_come_again() -> None:
    opened = after("xxx")
    for seconds in (0, 29.999):
        assert ask(opened, at(seconds))[1] == Refused(
            ErrorCode.BREAKER_OPEN, at(30), "The tool kept failing, so calls to it wait."
        )


def test_after_the_pause_one_call_is_the_probe_and_the_others_wait() -> None:
    half_open, _ = probing(after("xxx"), at(30))
    again, answer = ask(half_open, at(31))
    assert again == half_open
    assert isinstance(answer, Refused)
    assert answer.retry_at == at(31 + 60), "when the next probe would be due if this one fails"


def test_a_successful_probe_closes_it_and_forgets() -> None:
    half_open, probe = probing(after("xxx"), at(30))
    change = judged(half_open, RULES, failed=False, probe=probe, now=at(32))
    assert change.event == "breaker.closed"
    assert change.health == Health(probe=1)


def test_every_probe_that_fails_doubles_the_pause_up_to_the_cap() -> None:
    health, moment, pauses = after("xxx"), NOW, []
    for _ in range(4):
        assert health.open_until is not None
        pauses.append((health.open_until - moment).total_seconds())
        moment = health.open_until
        health, probe = probing(health, moment)
        health = judged(health, RULES, failed=True, probe=probe, now=moment).health
    assert pauses == [30, 60, 100, 100]
    assert health.opened_at == NOW


def test_a_prober_that_died_makes_room_when_its_lease_ends_and_is_not_heard_any_more() -> None:
    first, dead = probing(after("xxx"), at(30))
    assert isinstance(ask(first, at(69))[1], Refused)
    second, alive = probing(first, at(70))
    assert alive != dead
    for failed in (True, False):
        assert judged(second, RULES, failed=failed, probe=dead, now=at(71)).health == second
    assert judged(second, RULES, failed=False, probe=alive, now=at(72)).health.state is BreakerState.CLOSED


def test_calls_that_began_before_it_opened_change_nothing() -> None:
    opened = after("xxx")
    assert after("x.x", opened) == opened
    half_open, _ = probing(opened, at(30))
    assert after("x.x", half_open) == half_open


def test_a_probe_that_never_reached_the_tool_passes_its_turn_on() -> None:
    half_open, probe = probing(after("xxx"), at(30))
    _, second = probing(forgone(half_open, probe=probe, now=at(31)).health, at(31))
    assert second == probe + 1
    assert forgone(after("xx"), probe=0, now=NOW).health == after("xx")


def test_a_person_keeps_it_open_until_a_person_closes_it() -> None:
    shut = held(Health(), now=NOW).health
    assert held(shut, now=at(5)).event == ""
    answer = ask(shut, at(10**6))[1]
    assert isinstance(answer, Refused)
    assert answer.retry_at > at(10**6)
    assert closed(shut, "by hand").health == Health()
    assert closed(Health()).event == ""


def test_what_a_probe_says_does_not_open_what_a_person_shut() -> None:
    half_open, probe = probing(after("xxx"), at(30))
    shut = held(half_open, now=at(31)).health
    assert judged(shut, RULES, failed=False, probe=probe, now=at(32)).health == shut


def test_a_reset_forgets_everything_but_the_number_of_the_last_probe() -> None:
    half_open, probe = probing(after("xxx"), at(30))
    cleared = reset(half_open)
    assert (cleared.health, cleared.event) == (Health(probe=probe), "breaker.reset")
    assert judged(cleared.health, RULES, failed=True, probe=probe, now=at(31)).health == cleared.health
    assert reset(Health()).event == ""


# --- rate limit -----------------------------------------------------------------------------------------------------


def test_a_tenth_of_a_minutes_calls_may_come_at_once_and_the_rest_evenly() -> None:
    health, admitted = Health(), []
    for tenth in range(600):
        change, answer = admission(health, RULES, now=at(tenth / 10), lease=LEASE, rate=60)
        if isinstance(answer, Admitted):
            health = change.health
            admitted.append(tenth / 10)
    assert admitted[:8] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.0]
    assert len(admitted) == 60 + 5


def test_whom_the_limit_refuses_is_promised_a_turn_in_order() -> None:
    health, turns = Health(), []
    for _ in range(4):
        change, answer = admission(health, RULES, now=NOW, lease=LEASE, rate=6)
        health = change.health
        turns.append(answer.retry_at if isinstance(answer, Refused) else NOW)
    assert turns == [at(0), at(10), at(20), at(30)]
    kept, answer = admission(health, RULES, now=at(20), lease=LEASE, rate=6, promised=at(20))
    assert (kept.health, answer) == (health, Admitted(clean=True))


@pytest.mark.parametrize("late", [timedelta(seconds=-1), PROMISE])
def test_a_turn_cannot_be_taken_early_or_long_after(late: timedelta) -> None:
    waiting = Health(full_at=at(3600))
    answer = admission(waiting, RULES, now=at(30) + late, lease=LEASE, rate=6, promised=at(30))[1]
    assert isinstance(answer, Refused)


def test_turns_far_ahead_are_not_promised() -> None:
    far = Health(full_at=NOW + FORESIGHT + timedelta(seconds=1))
    change, answer = admission(far, RULES, now=NOW, lease=LEASE, rate=6)
    assert change.health == far
    assert isinstance(answer, Refused)


def test_a_tool_that_is_down_takes_no_tokens() -> None:
    opened = after("xxx")
    assert admission(opened, RULES, now=NOW, lease=LEASE, rate=1)[0].health == opened


def test_the_limit_holds_for_probes_too_and_a_refused_call_is_none() -> None:
    waiting = after("xxx", Health(full_at=at(100)))
    change, answer = admission(waiting, RULES, now=at(30), lease=LEASE, rate=6)
    assert isinstance(answer, Refused)
    assert answer.code is ErrorCode.RATE_LIMITED
    assert change.health.state is BreakerState.OPEN


# --- whatever happens -----------------------------------------------------------------------------------------------

moves = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "answer", "fail", "forgo", "hold", "close", "reset"]),
        st.integers(0, 50),
        st.integers(0, 3),
    ),
    max_size=60,
)


@given(moves)
def test_at_most_one_probe_is_ever_in_its_lease_and_nothing_passes_while_open(
    steps: list[tuple[str, int, int]],
) -> None:
    health, now = Health(), NOW
    admitted: list[Admitted] = []
    leases: dict[int, datetime] = {}
    numbers: list[int] = []
    for move, seconds, which in steps:
        now += timedelta(seconds=seconds)
        before = health
        match move:
            case "ask":
                change, answer = admission(health, RULES, now=now, lease=LEASE)
                health = change.health
                if isinstance(answer, Refused):
                    assert answer.retry_at > now
                    assert before.state is not BreakerState.CLOSED
                    continue
                admitted.append(answer)
                assert (before.state is BreakerState.CLOSED) == (answer.probe == 0)
                if answer.probe:
                    assert all(end <= now for end in leases.values())
                    assert change.event == "breaker.probed"
                    leases[answer.probe] = now + LEASE
                    numbers.append(answer.probe)
            case "hold":
                health, leases = held(health, now=now).health, {}
            case "close":
                health, leases = closed(health).health, {}
            case "reset":
                health, leases = reset(health).health, {}
            case _ if admitted:
                mine = admitted.pop(which % len(admitted))
                if move == "forgo":
                    health = forgone(health, probe=mine.probe, now=now).health
                else:
                    health = judged(health, RULES, failed=move == "fail", probe=mine.probe, now=now).health
                leases.pop(mine.probe, None)
        assert len(health.window) <= RULES.window
        assert not health.window or "x" in health.window
        assert (health.probe_until is not None) == (health.state is BreakerState.HALF_OPEN)
        assert (health.opened_at is not None) == (health.state is not BreakerState.CLOSED)
    assert numbers == sorted(set(numbers))


@given(st.integers(1, 600), st.lists(st.integers(0, 20_000), min_size=1, max_size=150))
def test_no_minute_has_more_than_a_tenth_above_the_limit(rate: int, gaps: list[int]) -> None:
    """Every caller takes the turn it was promised, exactly when it is due."""
    health, now, starts = Health(), NOW, []
    for gap in gaps:
        now += timedelta(milliseconds=gap)
        change, answer = admission(health, RULES, now=now, lease=LEASE, rate=rate)
        if isinstance(answer, Admitted):
            starts.append(now)
        elif change.health != health:
            starts.append(answer.retry_at)
        health = change.health
    starts.sort()
    for first in starts:
        within = sum(first <= start < first + timedelta(minutes=1) for start in starts)
        assert within <= rate + max(1, rate // 10)
