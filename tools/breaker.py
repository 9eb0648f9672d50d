"""When a tool may be called, as pure functions of its health: a circuit breaker and a rate limit. No clock, no rows.

The breaker is the one of M. Nygard, "Release It!" (2007): closed, open for a while, half-open for exactly one probe.
The rate limit is the generic cell rate algorithm of ITU-T I.371, a token bucket kept as one moment.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from .contracts import BreakerRules, ErrorCode

UNHEALTHY: Final = frozenset(
    {
        ErrorCode.TIMEOUT,
        ErrorCode.UNAVAILABLE,
        ErrorCode.RATE_LIMITED,
        ErrorCode.INTERNAL,
        ErrorCode.OUTCOME_UNKNOWN,
        ErrorCode.OUTPUT_INVALID,
    }
)
"""What a tool answers, or does not, when something is wrong with it."""

HEALTHY: Final = frozenset(
    {ErrorCode.CONFLICT, ErrorCode.NOT_FOUND, ErrorCode.INVALID_INPUT, ErrorCode.PERMISSION_DENIED}
)
"""Refusals by a tool that works. All other codes are our own and say nothing about the tool."""

BURST_SHARE: Final = 10
"""A tenth of a minute's calls may come at once; so any one minute has at most a tenth more than the limit says."""

PROMISE: Final = timedelta(minutes=1)
"""How long a promised turn may be taken late."""

FORESIGHT: Final = timedelta(minutes=10)
"""How far ahead turns are promised."""

HELD_WAIT: Final = timedelta(minutes=1)
"""When to ask again about a tool that a person keeps calls away from."""

FAILED, ANSWERED = "x", "."


class BreakerState(StrEnum):
    """Whether calls reach the tool: all, none, or one to see how it is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Health:
    """What is known about one tool in one tenant.

    `window` has a character per call, the latest last, "x" where the tool failed; it is empty while none of the calls
    it would cover failed. `open_until` is None while open: a person keeps it open. `probe` numbers the probes, so that
    one which comes back too late is told from the present one. `full_at` is when the token bucket is full again.
    """

    state: BreakerState = BreakerState.CLOSED
    window: str = ""
    opened_at: datetime | None = None
    open_until: datetime | None = None
    cool_down_s: int = 0
    probe: int = 0
    probe_until: datetime | None = None
    full_at: datetime | None = None

    @property
    def failures(self) -> int:
        """Failures in a row up to now."""
        return len(self.window) - len(self.window.rstrip(FAILED))

    @property
    def failed(self) -> int:
        """Failures in the window."""
        return self.window.count(FAILED)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The call may start. `probe` is its number if it is the one probe, else 0; `clean`: no failure is on record."""

    probe: int = 0
    clean: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The call may not start before `retry_at` (aware); `code` is breaker_open or rate_limited."""

    code: ErrorCode
    retry_at: datetime
    message: str


Admission = Admitted | Refused


@dataclass(frozen=True, slots=True)
class Change:
    """The health that follows, and the event to record with it (`breaker.opened` ...), empty when there is none."""

    health: Health
    event: str = ""
    reason: str = ""


def admission(
    health: Health,
    rules: BreakerRules,
    *,
    now: datetime,
    lease: timedelta,
    rate: int | None = None,
    promised: datetime | None = None,
) -> tuple[Change, Admission]:
    """Decide whether a call may start at `now`.

    A probe has the tool to itself for `lease`; if nothing is heard of it, the next call is the next probe. `rate` is
    in calls a minute. A call that the limit refuses is promised a turn of its own, in order: it comes again at
    `retry_at` with `promised=retry_at` and takes no other token.
    """
    refused = _breaker_refuses(health, rules, now)
    if refused is not None:
        return Change(health), refused
    after, refused = _take_token(health, now, rate, promised)
    if refused is not None:
        return Change(after), refused
    if health.state is BreakerState.CLOSED:
        return Change(after), Admitted(clean=not health.window)
    probing = replace(
        after, state=BreakerState.HALF_OPEN, probe=health.probe + 1, open_until=None, probe_until=now + lease
    )
    reason = "the last probe was never heard of" if health.state is BreakerState.HALF_OPEN else "the pause is over"
    return Change(probing, "breaker.probed", reason), Admitted(probe=probing.probe)


def _breaker_refuses(health: Health, rules: BreakerRules, now: datetime) -> Refused | None:
    code, until, lease = ErrorCode.BREAKER_OPEN, health.open_until, health.probe_until
    if health.state is BreakerState.OPEN and until is None:
        return Refused(code, now + HELD_WAIT, "A person keeps calls away from this tool.")
    if health.state is BreakerState.OPEN and until is not None and now < until:
        return Refused(code, until, "The tool kept failing, so calls to it wait.")
    if health.state is BreakerState.HALF_OPEN and lease is not None and now < lease:
        # Not the end of the lease: if the probe fails, whoever came back then would only be sent away again.
        again = max(lease, now + timedelta(seconds=_longer(health, rules)))
        return Refused(code, again, "The tool kept failing; one call is finding out whether it works again.")
    return None


def _take_token(
    health: Health, now: datetime, rate: int | None, promised: datetime | None
) -> tuple[Health, Refused | None]:
    if rate is None or (promised is not None and promised <= now < promised + PROMISE):
        return health, None
    interval = timedelta(minutes=1) / rate
    full_at = max(now, health.full_at or now)
    due = full_at - interval * (max(1, rate // BURST_SHARE) - 1)
    taken = replace(health, full_at=full_at + interval)
    if due <= now:
        return taken, None
    message = f"The tool may be called {rate} times a minute."
    return (taken if due - now <= FORESIGHT else health), Refused(ErrorCode.RATE_LIMITED, due, message)


def judged(health: Health, rules: BreakerRules, *, failed: bool, probe: int, now: datetime) -> Change:
    """Take in how a call ended. Calls from before the breaker opened, and probes that are overdue, change nothing."""
    if health.state is BreakerState.HALF_OPEN and probe == health.probe:
        return _opened(_seen(health, rules, failed), rules, now, "the probe failed") if failed else closed(health)
    if health.state is not BreakerState.CLOSED or probe:
        return Change(health)
    after = _seen(health, rules, failed)
    if not failed:
        return Change(after)
    if after.failures >= rules.failures:
        return _opened(after, rules, now, "failures in a row")
    if len(after.window) >= rules.window and after.failed >= rules.share * len(after.window):
        return _opened(after, rules, now, "share of failures")
    return Change(after)


def _seen(health: Health, rules: BreakerRules, failed: bool) -> Health:
    window = (health.window + (FAILED if failed else ANSWERED))[-rules.window :]
    return replace(health, window=window if FAILED in window else "")


def _opened(health: Health, rules: BreakerRules, now: datetime, reason: str) -> Change:
    again = health.state is BreakerState.HALF_OPEN
    cool_down = _longer(health, rules) if again else rules.cool_down_s
    opened = replace(
        health,
        state=BreakerState.OPEN,
        opened_at=health.opened_at if again else now,
        open_until=now + timedelta(seconds=cool_down),
        cool_down_s=cool_down,
        probe_until=None,
    )
    return Change(opened, "breaker.opened", reason)


def _longer(health: Health, rules: BreakerRules) -> int:
    return max(rules.cool_down_s, min(rules.cool_down_cap_s, health.cool_down_s * 2))


def forgone(health: Health, *, probe: int, now: datetime) -> Change:
    """Let the next call be the probe, because this one never reached the tool."""
    if not probe or health.state is not BreakerState.HALF_OPEN or probe != health.probe:
        return Change(health)
    return Change(replace(health, state=BreakerState.OPEN, open_until=now, probe_until=None))


def held(health: Health, *, now: datetime) -> Change:
    """Keep calls away until a person closes the breaker."""
    if health.state is BreakerState.OPEN and health.open_until is None:
        return Change(health)
    opened_at = now if health.state is BreakerState.CLOSED else health.opened_at
    after = replace(health, state=BreakerState.OPEN, opened_at=opened_at, open_until=None, probe_until=None)
    return Change(after, "breaker.opened", "by hand")


def closed(health: Health, reason: str = "the probe succeeded") -> Change:
    """Let calls through again and forget the failures."""
    if health.state is BreakerState.CLOSED:
        return Change(health)
    return Change(Health(probe=health.probe, full_at=health.full_at), "breaker.closed", reason)


def reset(health: Health) -> Change:
    """Forget everything: failures, pauses, and turns that were promised."""
    blank = Health(probe=health.probe)
    return Change(blank, "breaker.reset", "by hand") if blank != health else Change(health)
