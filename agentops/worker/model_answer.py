"""What a model is asked when a person asks about a call, and how its answer is read. Pure.

The turn has no tools: nothing can happen in it. The person's words, what tools returned and what was said before reach
the model as quoted data. At the end of its text a model may name arguments that it wants otherwise; these are read as
strictly as anything from outside, and are only a new version of the proposal.
"""

from collections.abc import Sequence
from typing import Final

from agentops.engine.planner import Answered, AnswerRequest
from agentops.guardrails import spotlight
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject, WireError, parse_json
from agentops.worker.model import Instructions, Message, ModelAnswer, UserText

MAX_ANSWER: Final = 4_000
"""Characters of an answer that are kept; the whole of it is in the exchange."""

NEW_ARGUMENTS: Final = "NEW ARGUMENTS"

TOLD: Final = f"""\
You have planned work for an operations team. One call of your plan waits for a person, who has to decide whether it \
may run and asks you about it. Answer that person's question, which stands in the block "question", in plain text and \
in at most 150 words. Say what you know and where it is from; say so where you do not know. Do not argue for an \
approval. You have no tools now and nothing happens by what you say.

Only if the call should have other arguments, end your answer with a line that says {NEW_ARGUMENTS} and below it one \
JSON object with the arguments that change, by their names, and their new values. The call with these is then put \
before people anew. Otherwise leave that line out.

{{data_rules}}

The task is of the type {{task_type}}. {{instructions}}"""


def messages(request: AnswerRequest, earlier: Sequence[str], word: str) -> tuple[Message, ...]:
    """Return what a model is asked; `earlier` are the calls of the run in words, `word` the delimiter of data."""
    about = request.about
    told = (
        TOLD.replace("{data_rules}", spotlight.instructions(word))
        .replace("{task_type}", about.task_type)
        .replace("{instructions}", about.instructions)
    )
    call: JSONObject = {
        "tool": request.call.tool,
        "version": request.version,
        "arguments": request.arguments,
        "step": request.step.id,
        "why": request.step.why,
    }
    said = [f"The task's input:\n{canonical(about.input)}"]
    if earlier:
        said += ["The calls of the run so far:", *earlier]
    said += ["The call that waits for the person:", spotlight.block(canonical(call), label="call", delimiter=word)]
    for question, answer in request.said:
        said.append(spotlight.block(question, label="earlier question", delimiter=word))
        said.append(spotlight.block(answer, label="your earlier answer", delimiter=word))
    said.append(spotlight.block(request.question, label="question", delimiter=word))
    return Instructions(told.strip()), UserText("\n\n".join(said))


def read(answer: ModelAnswer) -> Answered:
    """Read a model's answer: its text, and the arguments it wants otherwise."""
    whole = spotlight.unmark(answer.text).strip()
    text, changes, refused = _split(whole)
    if not text:
        text = "(The model gave no text.)"
    return Answered(text[:MAX_ANSWER], changes, refused, answer.usage, answer.exchange)


def _split(text: str) -> tuple[str, JSONObject | None, str]:
    """Return the text before the arguments, the arguments, and why they cannot be used if they cannot."""
    lines = text.splitlines()
    at = next((i for i in reversed(range(len(lines))) if lines[i].strip(" *#`:") == NEW_ARGUMENTS), None)
    if at is None:
        return text, None, ""
    before = "\n".join(lines[:at]).strip()
    written = "\n".join(line for line in lines[at + 1 :] if not line.strip().startswith("```")).strip()
    try:
        changes = parse_json(written)
    except WireError as error:
        return before, None, f"The agent wrote new arguments that cannot be read: {error.message}"
    if not isinstance(changes, dict) or not changes:
        return before, None, "The agent wrote new arguments that are no JSON object with members."
    return before, changes, ""
