"""The answer to a question about a call that a playbook planned: what the record says, the same every time.

Nobody wrote the call during the run, so there is nobody to ask: the answer says which step of which playbook it is,
when it runs, and of each argument what the playbook says and where the value came from. Values are not repeated.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agentops.engine.planner import Answered, AnswerRequest
from agentops.runs.timeline import tree_words
from agentops.runs.words import planner_words
from approvals.values.origins import origin_of


@dataclass(frozen=True, slots=True)
class PlanReader:
    """Answers from the recorded plan of `name`."""

    name: str

    def answer(self, request: AnswerRequest) -> Answered:
        return Answered("\n".join(self._lines(request)))

    def _lines(self, request: AnswerRequest) -> Iterator[str]:
        step = request.step
        yield f"{planner_words(self.name).capitalize()} planned this before the run began; no model wrote it."
        yield f"It is step {step.id}{': ' + step.why.rstrip('. ') if step.why else ''}."
        if step.when:
            yield f"The step runs only when {step.when}, which held."
        order = {call.call_id: index for index, call in enumerate(request.about.calls)}
        planned = dict(request.call.arguments.members)
        for name in request.arguments:
            sources = origin_of(f"/{name}", request.provenance, order)["sources"]
            tree = planned.get(name)
            says = f"; the playbook says {tree_words(tree)}" if tree is not None else ""
            yield f"{name} is from {' and '.join(sources) or 'the playbook'}{says}."
        if step.expect:
            yield f"Afterwards it is checked that {step.expect}."
