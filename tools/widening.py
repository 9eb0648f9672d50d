"""Whether a rule allows more than another one. Pure; what is not provably narrower or equal is wider."""

from collections.abc import Iterator, Sequence
from typing import Final

from .allowlist import AllowlistRule, AllowlistState
from .contracts import parse_version

_LEVEL: Final = {AllowlistState.DENIED: 0, AllowlistState.GATED: 1, AllowlistState.AUTO: 2}


def wider(before: AllowlistRule, after: AllowlistRule, own_rates: Sequence[int | None] | None) -> tuple[str, ...]:
    """Say in words in what way `after` allows what `before` did not; empty only if it provably allows nothing more.

    `own_rates` are the rate limits of the tool's contracts, in calls a minute, None for one without; None altogether if
    nothing is known of the tool. A rule without a rate leaves it to the contract. Constraints are compared by their
    text: a set that has every expression the other one has is at least as strict; anything else is not provable. The
    limits that a denied tool keeps count as well: whoever allows it without them is told.
    """
    if after.state is AllowlistState.DENIED:
        return ()
    if before.tool != after.tool:
        return ("another tool",)
    return tuple(_reasons(before, after, own_rates))


def _reasons(before: AllowlistRule, after: AllowlistRule, own_rates: Sequence[int | None] | None) -> Iterator[str]:
    if _LEVEL[after.state] > _LEVEL[before.state]:
        yield f"{before.state.label} becomes {after.state.label}"
    yield from loosened(before, after, own_rates)


def loosened(before: AllowlistRule, after: AllowlistRule, own_rates: Sequence[int | None] | None) -> Iterator[str]:
    """Say which limits of `before` do not hold in `after` any more, whatever the states; likewise only where proven."""
    if before.min_version and (
        not after.min_version or parse_version(after.min_version) < parse_version(before.min_version)
    ):
        yield f"lower versions than {before.min_version} are allowed"
    if before.max_version and (
        not after.max_version or parse_version(after.max_version) > parse_version(before.max_version)
    ):
        yield f"higher versions than {before.max_version} are allowed"
    if before.max_calls is not None and (after.max_calls is None or after.max_calls > before.max_calls):
        yield f"more than {before.max_calls} calls in one run are allowed"
    kept = {one.expression for one in after.constraints}
    for one in before.constraints:
        if one.expression not in kept:
            yield f"the constraint {one.name} is gone or another one"
    unsaid = before.state is AllowlistState.DENIED and before.rate_per_minute is None
    if (
        not unsaid
        and before.rate_per_minute != after.rate_per_minute
        and not _no_faster(before.rate_per_minute, after.rate_per_minute, own_rates)
    ):
        yield "more calls a minute may be allowed"


def _no_faster(before: int | None, after: int | None, own_rates: Sequence[int | None] | None) -> bool:
    """Whether the rate after is at most the one before, whichever contract of the tool is called."""
    if before is not None and after is not None:
        return after <= before
    if not own_rates:
        return False
    if after is not None:  # before, every contract had its own
        return all(own is None or after <= own for own in own_rates)
    return before is not None and all(own is not None and own <= before for own in own_rates)
