"""Every way a run can fail, by its code. What is not in this table does not happen.

A run ends well when its plan is through, its planner says that it is done, or `stop_when` of its task type holds, and
then only if `success_when` holds and the answer may be let out. People end it with `cancelled`.
"""

from collections.abc import Mapping
from typing import Final

ENDS: Final[Mapping[str, str]] = {
    "limit_wall_time": "It took longer than its time limit, the time people took apart.",
    "limit_steps": "The next step would be one more than it may take.",
    "limit_calls": "A step of its plan makes more calls than a step may.",
    "limit_repeats": "The same tool would be called with the same arguments once more than it may be.",
    "limit_plans": "The planner has made as many plans as it may.",
    "limit_model_calls": "The model has been asked as often as it may be.",
    "limit_tokens": "Its models have used as many tokens as it may, or the next request might use more than are left.",
    "limit_cost": "It has cost as much as it may, or what comes next might cost more than is left.",
    "budget_exceeded": "A budget, or one of its own limits between two attempts, does not pay for what it needs next.",
    "loop_detected": "It goes round in circles: the same calls in the same order, or a plan like an earlier one.",
    "plan_invalid": "What the planner answered three times over is no plan.",
    "playbook_missing": "The playbook it was submitted with is gone.",
    "tool_failed": "A call failed for good, and its step says that nothing may follow then.",
    "verification_failed": "A step did not pass its check, or reading its effect back contradicted it.",
    "criteria_not_met": "Everything is done and the success criterion of the task type does not hold.",
    "output_blocked": "The answer held what must not leave, such as a secret, and was not let out.",
    "dead_letter": "Workers took it up again and again and none recorded anything.",
    "internal": "It did not come to a stop.",
}

FAMILIES: Final[Mapping[str, str]] = {
    "model_": "The model gave no answer and waiting does not help, or has been tried as often as it may.",
    "call_": "The gate refused a call, or its permission had ended; the rest of the code is the gate's.",
}
"""Codes by what they begin with."""


def explained(code: str) -> str:
    """Say what a failure code means, or nothing if it is not one."""
    return ENDS.get(code) or next((text for start, text in FAMILIES.items() if code.startswith(start)), "")
