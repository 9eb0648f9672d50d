"""When to try again: exponential backoff with full jitter, or what the other side asked for."""

import random
from datetime import timedelta
from typing import Final

BASE_S: Final = 2.0
CAP_S: Final = 300.0


def backoff(attempt: int, retry_after: float | None, rng: random.Random) -> timedelta:
    """Return the wait before attempt `attempt + 1`; `retry_after` (seconds) is a floor, both are capped at 5 minutes.

    Full jitter as in the AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
    """
    drawn = rng.uniform(0, min(CAP_S, BASE_S * 2 ** min(attempt, 16)))
    return timedelta(seconds=min(CAP_S, max(drawn, retry_after or 0.0)))
