"""The last check before anybody sees what a run says: its answer, and what its agent answers to a person."""

from typing import Final

from agentops.engine.events import AnswerBlocked, RunSucceeded
from agentops.guardrails.output.found import Kind
from agentops.guardrails.output.policy import Action
from agentops.guardrails.output.review import OutputContext, check, redacted, sentence, strictest, to_json
from agentops.wire.parse import JSONObject, clean_text

MAX_ANSWER: Final = 16_384


def review_answer(answer: str, context: OutputContext, *, untrusted: bool) -> RunSucceeded | AnswerBlocked:
    """Let an answer out, with what was found in it, or hold it back and say why.

    What the policy redacts is taken out first; the findings point into the answer as it was written. Nobody can be
    asked about an answer: where the policy says so it is held back as well, and a planner that can tries again.
    """
    written = clean_text(answer)
    judged = check(written, context, untrusted=untrusted)
    if strictest(judged).rank >= Action.ASK.rank:
        stopped = [one for one in judged if one.action.rank >= Action.ASK.rank]
        return AnswerBlocked(sentence(stopped, of="The answer"), to_json(judged))
    findings: list[JSONObject] = to_json(judged)
    text = redacted(written, findings)
    if len(text) > MAX_ANSWER:
        findings.append({"code": "shortened", "offset": MAX_ANSWER, "length": len(text) - MAX_ANSWER})
    return RunSucceeded(text[:MAX_ANSWER], findings)


_OF_AN_ANSWER: Final = frozenset({Kind.CLAIM, Kind.REPORTED_CLAIM, Kind.LINK, Kind.CARRIER})
"""What a reply may hold: it goes to a person at the desk, as inert text beside what has been done and what has not."""


def review_reply(text: str, context: OutputContext, *, untrusted: bool) -> str:
    """Return what a person may see of an agent's reply to their question: all, with parts taken out, or why nothing."""
    written = clean_text(text)
    judged = [one for one in check(written, context, untrusted=untrusted) if one.found.kind not in _OF_AN_ANSWER]
    if stopped := [one for one in judged if one.action.rank >= Action.ASK.rank]:
        return f"(Held back. {sentence(stopped, of='The answer')})"
    return redacted(written, to_json(judged))
