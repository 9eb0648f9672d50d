"""What the run recorded that speaks for the arguments of a call: the sources, the very spans, and what has none. Pure.

Evidence is the output of a tool at the very place an argument came from; provenance says which that is. Only inside
those texts is the value searched for, to show the reader where it stands: a match proves nothing by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentops.audit.services import Recorded
from agentops.engine.events import CallReconciled, CallSucceeded
from agentops.guardrails.provenance import Provenance, SourceKind
from agentops.wire.money import currency_exponent
from agentops.wire.parse import JSON, JSONObject
from approvals.assessing.reasons import unsupported
from approvals.cards.arguments import text_of
from approvals.models import Proposal
from approvals.values.leaves import leaves
from tools.contracts import ToolContract, Trust

MAX_EVIDENCE: Final = 2_000
MAX_PIECES: Final = 8
MAX_SPANS: Final = 20
MAX_QUOTE: Final = 160
_SHORTEST: Final = 2


@dataclass(frozen=True, slots=True)
class _Output:
    tool: str
    output: JSON
    trust: Mapping[str, str]
    screened: tuple[JSONObject, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a quoted text; `argument` names the argument whose value it is, or is empty."""

    text: str
    argument: str = ""


def evidence_of(proposal: Proposal, recorded: Sequence[Recorded]) -> list[dict[str, Any]]:
    """Return the recorded text each argument came from: untrusted sources first, at most eight pieces.

    Each is {source, text, trust, arguments, segments, findings}: `segments` are the text again, cut where values stand,
    `findings` what guardrails found there: {explanation, quote} each, at most eight.
    """
    outputs = dict(_outputs(recorded))
    wanted: dict[tuple[str, str], list[str]] = {}
    for path, raw in proposal.provenance.items():
        name = path.split("/")[1] if path.count("/") else ""
        for source in Provenance.from_json(raw).sources:
            if source.kind is SourceKind.TOOL:
                names = wanted.setdefault((source.ref, source.path), [])
                if name not in names:
                    names.append(name)
    needles = _needles(proposal.argument_values)
    pieces = []
    for (ref, path), names in wanted.items():
        output = outputs.get(ref.partition(":")[2])
        if output is None or (found := dig(output.output, path)) in (None, ""):
            continue
        top = path.split("/")[1] if path.count("/") else ""
        trust = output.trust.get(top, output.trust.get("", Trust.UNTRUSTED.value))
        text = _as_text(found)
        pieces.append(
            {
                "source": f"{ref.partition(':')[0]}{path and f' ({path[1:]})'}, for {', '.join(names)}",
                "text": _cut(text),
                "segments": quoted(text, {name: needles.get(name, ()) for name in names}),
                "arguments": names,
                "findings": list(_findings(output, path)),
                "trust": Trust.TRUSTED.value if trust == Trust.TRUSTED else Trust.UNTRUSTED.value,
            }
        )
    pieces.sort(key=lambda piece: piece["trust"] == Trust.TRUSTED.value)
    return pieces[:MAX_PIECES]


def _findings(output: _Output, path: str) -> Iterator[dict[str, str]]:
    """Yield what guardrails found at a place of an output, below or above it, the flagged texts first."""
    told = 0
    for entry in sorted(output.screened, key=lambda one: not one.get("flagged")):
        place = str(entry.get("path", ""))
        if not (f"{place}/".startswith(f"{path}/") or f"{path}/".startswith(f"{place}/")):
            continue
        if entry.get("failed"):
            yield {"explanation": "A guardrail broke on this text, so nobody has looked at it", "quote": ""}
            continue
        text, listed = dig(output.output, place), entry.get("findings")
        for finding in listed if isinstance(listed, list) else ():
            if told >= MAX_PIECES or not isinstance(finding, dict):
                return
            told += 1
            start, end = finding.get("start"), finding.get("end")
            quote = text[start:end] if isinstance(text, str) and isinstance(start, int) and isinstance(end, int) else ""
            more = "…" if len(quote) > MAX_QUOTE else ""
            yield {"explanation": str(finding.get("explanation", "")), "quote": quote[:MAX_QUOTE] + more}


def unsupported_in(contract: ToolContract | None, proposal: Proposal) -> dict[str, str]:
    """Return the must-see and authority arguments that a model wrote and nothing on record supports: pointer, why."""
    if contract is None:
        return {}
    known = {path: Provenance.from_json(raw) for path, raw in proposal.provenance.items()}
    return unsupported(contract, proposal.argument_values, known)


def quoted(text: str, needles: Mapping[str, Sequence[str]]) -> list[Segment]:
    """Return the text cut where the values of arguments stand in it, at most 20 of them.

    A text of more than 2,000 characters is shown around the first value, or from its beginning where there is none.
    """
    spans = _spans(text, needles)
    start = 0
    if len(text) > MAX_EVIDENCE and spans and spans[0][1] > MAX_EVIDENCE:
        start = max(0, spans[0][0] - MAX_EVIDENCE // 4)
    end = min(len(text), start + MAX_EVIDENCE)
    segments = [Segment(f"[{start:,} characters before this]\n")] if start else []
    at = start
    for first, last, name in spans:
        if first < at or last > end:
            continue
        segments += [Segment(text[at:first]), Segment(text[first:last], name)]
        at = last
    segments.append(Segment(text[at:end]))
    if end < len(text):
        segments.append(Segment(f"\n[{len(text) - end:,} more characters in the run's record]"))
    return [one for one in segments if one.text]


def _spans(text: str, needles: Mapping[str, Sequence[str]]) -> list[tuple[int, int, str]]:
    folded = text.casefold()
    if len(folded) != len(text):  # folding changed its length, so places in it mean nothing
        folded = text
    found: list[tuple[int, int, str]] = []
    for name, values in needles.items():
        for value in values:
            wanted = value.casefold() if folded is not text else value
            at = folded.find(wanted)
            while at >= 0 and len(found) < MAX_SPANS:
                end = at + len(wanted)
                if not (_joined(folded, at - 1, wanted[0]) or _joined(folded, end, wanted[-1])):
                    found.append((at, end, name))
                at = folded.find(wanted, end)
    return sorted(found, key=lambda span: (span[0], -span[1]))  # of two that begin together the longer one counts


def _joined(text: str, index: int, edge: str) -> bool:
    """Say whether the character beside a match goes on with its word: 13 does not stand in 2013."""
    return 0 <= index < len(text) and text[index].isalnum() and edge.isalnum()


def _needles(arguments: JSONObject) -> dict[str, list[str]]:
    currency = arguments.get("currency")
    found: dict[str, list[str]] = {}
    for name, value in arguments.items():
        texts: list[str] = []
        for _, member in leaves(value):
            if isinstance(member, str):
                texts.append(member.strip())
            elif isinstance(member, int) and not isinstance(member, bool):
                texts += [str(member), *_amounts(member, currency)]
        found[name] = [text for text in dict.fromkeys(texts) if _SHORTEST <= len(text) <= MAX_EVIDENCE]
    return found


def _amounts(minor: int, currency: JSON) -> list[str]:
    """Return how people write an amount: 1240.00, 1,240.00, 1.240,00, 1240."""
    if not isinstance(currency, str):
        return []
    try:
        exponent = currency_exponent(currency)
    except ValueError:
        return []
    whole, rest = divmod(abs(minor), 10**exponent)
    if not exponent:
        return [f"{whole:,}"]
    decimals = f"{rest:0{exponent}d}"
    written = [f"{whole}.{decimals}", f"{whole:,}.{decimals}", f"{whole:,}".replace(",", ".") + f",{decimals}"]
    return [*written, f"{whole},{decimals}", *([str(whole), f"{whole:,}"] if not rest else [])]


def _outputs(recorded: Sequence[Recorded]) -> Iterator[tuple[str, _Output]]:
    for one in recorded:
        call_id = one.data.get("call_id")
        if one.type in (CallSucceeded.type, CallReconciled.type) and isinstance(call_id, str):
            trust = one.data.get("trust")
            known = {str(k): str(v) for k, v in trust.items()} if isinstance(trust, Mapping) else {}
            screened = one.data.get("screened")
            entries = tuple(e for e in screened if isinstance(e, dict)) if isinstance(screened, list) else ()
            yield call_id, _Output(one.tool, one.data.get("output"), known, entries)


def dig(value: JSON, pointer: str) -> JSON:
    """Return the member at a JSON pointer, None when there is none."""
    found = value
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def _as_text(value: JSON) -> str:
    return value if isinstance(value, str) else text_of("", value, {}, {})


def _cut(text: str) -> str:
    more = len(text) - MAX_EVIDENCE
    return text if more <= 0 else f"{text[:MAX_EVIDENCE]}\n[{more:,} more characters in the run's record]"
