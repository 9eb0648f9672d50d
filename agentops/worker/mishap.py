"""What an engineer is told about an error nobody expected: which kind, where, when, on which worker. Never its text.

The message of an exception may quote a secret, a customer or an attacker; its class and place cannot.
"""

import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]


def told(error: BaseException, *, worker: str, now: datetime) -> str:
    """Describe an unexpected error in one line of at most 300 characters."""
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    moment = now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{name[:90]} in {_place(error)[:100]}, on worker {worker[:64]}, {moment}"


def dead_letter(*, attempts: int, last_error: str, last_owner: str) -> str:
    """Say why a run was taken out: how often it was tried, and the last thing that is known of it."""
    tries = f"{attempts} workers took the run up and none recorded a step."
    if last_owner:
        # The lease of the one before ran out: it did not get to say anything.
        silent = f"The last one, {last_owner}, stopped without a word: killed, out of memory, or cut off."
        return f"{tries} {silent}" + (f" Before that: {last_error}." if last_error else "")
    if last_error:
        return f"{tries} The last error was {last_error}."
    return f"{tries} None of them said why."


def _place(error: BaseException) -> str:
    """Name the innermost line of ours that the error came through, and the innermost of all when that is not ours."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    ours = [frame for frame in frames if _within(frame.filename)]
    frame = ours[-1] if ours else frames[-1]
    path = Path(frame.filename)
    shown = path.relative_to(_ROOT) if _within(frame.filename) else Path(path.name)
    return f"{shown}:{frame.lineno} ({frame.name})"


def _within(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(_ROOT) and ".venv" not in path.parts and "site-packages" not in path.parts
