"""What differs between two versions of a contract, in words, and what number the new one needs. Pure.

Works on the JSON of contracts (`ToolContract.to_json`), so that a version whose code is gone can still be compared.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject

from .contracts import parse_version


class Matter(StrEnum):
    """Whom a difference concerns. The first three need a new major version."""

    CALLERS = "breaks_callers"
    CONSUMERS = "breaks_consumers"
    RISK = "riskier"
    ADDS = "adds"
    WORDS = "words"


BUMP: Final = {
    Matter.CALLERS: 0,
    Matter.CONSUMERS: 0,
    Matter.RISK: 0,
    Matter.ADDS: 1,
    Matter.WORDS: 2,
}
PARTS: Final = ("major", "minor", "patch")


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: whom it concerns, where (a path such as `input/amount_minor`), and a sentence."""

    matter: Matter
    where: str
    words: str

    def to_json(self) -> JSONObject:
        return {"matter": self.matter.value, "where": self.where, "words": self.words}


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return every difference between two versions of a contract, the gravest first; the version itself is none."""
    found = [*_inputs(old, new), *_outputs(old, new), *_meaning(old, new), *_limits(old, new), *_promised(old, new)]
    named = {*_READ, "version", "name"}
    others = (part for part in sorted({*old, *new} - named) if old.get(part) != new.get(part))
    found += (Difference(Matter.WORDS, part, f"The {part.replace('_', ' ')} is another one.") for part in others)
    order = list(Matter)
    return tuple(sorted(found, key=lambda one: order.index(one.matter)))


_READ: Final = frozenset(
    {
        *("input_schema", "output_schema", "effect", "sensitivity", "roles", "output_trust", "error_codes"),
        *("timeout_s", "reversible", "must_see", "egress", "rate_per_minute", "cost_micros"),
        *("idempotency", "bounds", "sinks", "cosmetic", "attestations", "undo_tool"),
    }
)


def needed_part(differences: tuple[Difference, ...]) -> int:
    """Return which number has to grow: 0 major, 1 minor, 2 patch."""
    return min((BUMP[one.matter] for one in differences), default=2)


def version_problem(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return why the number of `new` is too low after `old`, or nothing."""
    before, after = parse_version(str(old["version"])), parse_version(str(new["version"]))
    differences = compare(old, new)
    part = needed_part(differences)
    if after[: part + 1] > before[: part + 1]:
        return ""
    least = list(before)
    least[part], least[part + 1 :] = least[part] + 1, [0] * (2 - part)
    why = differences[0].words if differences else "Every version is another one."
    return f"needs a new {PARTS[part]} version, {'.'.join(map(str, least))} or higher: {why}"


# --- schemas --------------------------------------------------------------------------------------------------------


_GONE: Final = "The parameter {} is gone; calls that give it are refused."
_NEW: Final = "The parameter {} is new, and calls without it are refused."
_LOST: Final = "The output {} is gone; references to it find nothing."


def _inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    before, after = _properties(old["input_schema"]), _properties(new["input_schema"])
    roles = old.get("roles", {})
    for name in before.keys() - after.keys():
        yield Difference(Matter.CALLERS, f"input/{name}", _GONE.format(name))
    for name in after.keys() - before.keys():
        yield Difference(Matter.CALLERS, f"input/{name}", _NEW.format(name))
    for name in before.keys() & after.keys():
        for where, narrower, words in _moves(before[name], after[name], f"input/{name}"):
            if narrower:
                yield Difference(Matter.CALLERS, where, f"{words}; calls that fitted may be refused.")
            elif roles.get(name) == "authority":
                yield Difference(Matter.RISK, where, f"{words}; it decides where the effect lands.")
            else:
                yield Difference(Matter.ADDS, where, f"{words}.")


def _outputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    before, after = _properties(old["output_schema"]), _properties(new["output_schema"])
    for name in before.keys() - after.keys():
        yield Difference(Matter.CONSUMERS, f"output/{name}", _LOST.format(name))
    for name in after.keys() - before.keys():
        yield Difference(Matter.ADDS, f"output/{name}", f"The output {name} is new.")
    for name in before.keys() & after.keys():
        for where, narrower, words in _moves(before[name], after[name], f"output/{name}"):
            if narrower:
                yield Difference(Matter.ADDS, where, f"{words}.")
            else:
                yield Difference(Matter.CONSUMERS, where, f"{words}; what reads it may not expect that.")


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = schema.get("properties")
    return dict(found) if isinstance(found, Mapping) else {}


_UPPER: Final = ("maxLength", "maximum", "maxItems")
_LOWER: Final = ("minLength", "minimum", "minItems")
_SAYS_NOTHING: Final = frozenset({"title", "description"})


def _moves(old: Any, new: Any, where: str) -> Iterator[tuple[str, bool, str]]:
    """Yield (place, whether it admits less, words) for what a schema admits differently. What is unclear is both."""
    if canonical(_bare(old)) == canonical(_bare(new)):
        return
    name = where.partition("/")[2]
    before, after = _types(old), _types(new)
    if gone := sorted(before - after):
        yield where, True, f"{name} may no longer be {', '.join(gone)}"
    if more := sorted(after - before):
        yield where, False, f"{name} may now be {', '.join(more)}"
    was, now = _values(old), _values(new)
    if (was is None) != (now is None):
        yield where, now is not None, f"{name} is {'now' if now is not None else 'no longer'} one of a closed list"
    elif was is not None and now is not None:
        if fewer := sorted(was - now):
            yield where, True, f"{name} may no longer be {', '.join(fewer)}"
        if added := sorted(now - was):
            yield where, False, f"{name} may now be {', '.join(added)}"
    for keyword in (*_UPPER, *_LOWER):
        low, high = old.get(keyword), new.get(keyword)
        if low == high:
            continue
        bound = f"{keyword} of {name} is {'none' if high is None else high} and was {'none' if low is None else low}"
        tightened = high is not None and (low is None or (high < low if keyword in _UPPER else high > low))
        yield where, tightened, bound
    for keyword in ("pattern", "format", "uniqueItems", "const"):
        if old.get(keyword) != new.get(keyword):
            if new.get(keyword) is not None:
                yield where, True, f"the {keyword} of {name} is another one"
            if old.get(keyword) is not None:
                yield where, False, f"the {keyword} of {name} is another one"
    if canonical(_bare(old.get("anyOf"))) != canonical(_bare(new.get("anyOf"))) and was == now:
        yield where, True, f"the alternatives of {name} are others"
        yield where, False, f"the alternatives of {name} are others"
    inner, outer = _properties(old), _properties(new)
    for gone_name in inner.keys() - outer.keys():
        yield f"{where}/{gone_name}", True, f"{name}/{gone_name} is gone"
        yield f"{where}/{gone_name}", False, f"{name}/{gone_name} is gone"
    for new_name in outer.keys() - inner.keys():
        yield f"{where}/{new_name}", True, f"{name}/{new_name} is new and has to be there"
    for both in inner.keys() & outer.keys():
        yield from _moves(inner[both], outer[both], f"{where}/{both}")
    if isinstance(old.get("items"), Mapping) and isinstance(new.get("items"), Mapping):
        yield from _moves(old["items"], new["items"], f"{where}/*")


def _bare(schema: Any) -> Any:
    """Return a schema without the words that admit and refuse nothing."""
    match schema:
        case Mapping():
            bare = {key: _bare(value) for key, value in schema.items() if key not in _SAYS_NOTHING}
            # A property that is called "title" is no annotation.
            if isinstance(schema.get("properties"), Mapping):
                bare["properties"] = {key: _bare(value) for key, value in schema["properties"].items()}
            return bare
        case list():
            return [_bare(member) for member in schema]
        case _:
            return schema


def _types(schema: Mapping[str, Any]) -> set[str]:
    if isinstance(schema.get("anyOf"), list):
        return {kind for branch in schema["anyOf"] for kind in _types(branch)}
    declared = schema.get("type")
    return set(declared) if isinstance(declared, list) else {str(declared)} if declared else set()


def _values(schema: Mapping[str, Any]) -> set[str] | None:
    """Return the closed list of a schema, also of one that is nullable; None where there is none."""
    branches = schema.get("anyOf") if isinstance(schema.get("anyOf"), list) else [schema]
    lists = [branch["enum"] for branch in branches or [] if isinstance(branch, Mapping) and "enum" in branch]
    return {str(value) for values in lists for value in values} if lists else None


# --- meaning --------------------------------------------------------------------------------------------------------

_EFFECTS: Final = ("read", "idempotent_write", "unsafe_write")
_REVERSALS: Final = ("none_needed", "undo_tool", "compensable", "by_hand", "irreversible")
_TRUSTS: Final = ("untrusted", "carried", "inherit", "trusted")
_IDEMPOTENCY: Final = ("not_needed", "natural", "key", "none")


def _meaning(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    if (move := _step(old["effect"], new["effect"], _EFFECTS)) != 0:
        words = f"The effect is {_said(new['effect'])} and was {_said(old['effect'])}"
        if move > 0:
            yield Difference(Matter.RISK, "effect", f"{words}.")
        else:
            yield Difference(Matter.ADDS, "effect", f"{words}.")
    for kind in sorted(set(old["sensitivity"]) - set(new["sensitivity"])):
        yield Difference(Matter.RISK, "sensitivity", f"It no longer counts as {_said(kind)}; that asked for a person.")
    for kind in sorted(set(new["sensitivity"]) - set(old["sensitivity"])):
        yield Difference(Matter.CALLERS, "sensitivity", f"It counts as {_said(kind)} now and always needs a person.")
    roles = old["roles"], new["roles"]
    for name in sorted(roles[0].keys() & roles[1].keys()):
        if roles[0][name] != roles[1][name]:
            riskier = roles[1][name] == "content"
            words = f"{name} no longer counts as" if riskier else f"{name} counts as"
            yield Difference(
                Matter.RISK if riskier else Matter.ADDS, f"roles/{name}", f"{words} an authority argument."
            )
    fields = sorted({*_properties(old["output_schema"])} & {*_properties(new["output_schema"])})
    for name in fields:
        was, now = (trust.get(name, trust.get("", "untrusted")) for trust in (old["output_trust"], new["output_trust"]))
        if (move := _step(was, now, _TRUSTS)) != 0:
            matter = Matter.RISK if move > 0 else Matter.CONSUMERS
            yield Difference(matter, f"trust/{name}", f"The output {name} is {_said(now)} and was {_said(was)}.")
    was, now = old["reversible"]["state"], new["reversible"]["state"]
    if (move := _step(was, now, _REVERSALS)) != 0:
        matter = Matter.RISK if move > 0 else Matter.ADDS
        yield Difference(matter, "reversible", f"Taking it back is {_said(now)} and was {_said(was)}.")
    elif old["reversible"] != new["reversible"]:
        yield Difference(Matter.WORDS, "reversible", "The words about taking it back are others.")
    for code in sorted(set(new["error_codes"]) - set(old["error_codes"])):
        yield Difference(Matter.ADDS, "error_codes", f"It may fail with {code} now.")
    for code in sorted(set(old["error_codes"]) - set(new["error_codes"])):
        yield Difference(Matter.ADDS, "error_codes", f"It does not fail with {code} any more.")


def _step(old: str, new: str, order: tuple[str, ...]) -> int:
    return order.index(new) - order.index(old)


def _said(word: str) -> str:
    return word.replace("_", " ")


def _limits(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    was, now = old["timeout_s"], new["timeout_s"]
    if was != now:
        yield Difference(Matter.ADDS, "timeout_s", f"A call may take {now} s and was given {was} s.")
    was, now = old.get("cost_micros", 0), new.get("cost_micros", 0)
    if was != now:
        matter = Matter.RISK if now > was else Matter.ADDS
        yield Difference(matter, "cost_micros", f"A call costs {now:,} millionths of a dollar and did cost {was:,}.")
    was, now = old.get("rate_per_minute"), new.get("rate_per_minute")
    if was != now:
        fewer = now is not None and (was is None or now < was)
        yield Difference(
            Matter.CALLERS if fewer else Matter.ADDS,
            "rate_per_minute",
            f"It may be called {now if now is not None else 'any number of'} times a minute "
            f"and was {was if was is not None else 'without a limit'}.",
        )


def _promised(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for part, words, more_is in (
        ("egress", "leaves the tenant", Matter.RISK),
        ("sinks", "is a place where it acts", Matter.RISK),
        ("cosmetic", "counts as cosmetic", Matter.RISK),
        ("must_see", "has to be seen", Matter.ADDS),
        ("attestations", "is picked out by approvers", Matter.ADDS),
    ):
        before, after = set(old.get(part, ())), set(new.get(part, ()))
        less_is = Matter.ADDS if more_is is Matter.RISK else Matter.RISK
        for name in sorted(after - before):
            yield Difference(more_is, f"{part}/{name}", f"{name} {words} now.")
        for name in sorted(before - after):
            yield Difference(less_is, f"{part}/{name}", f"{name} {words} no longer.")
    was, now = _idempotency(old), _idempotency(new)
    if (move := _step(was, now, _IDEMPOTENCY)) != 0:
        matter = Matter.RISK if move > 0 else Matter.ADDS
        yield Difference(matter, "idempotency", f"What makes a repeat harmless is {_said(now)} and was {_said(was)}.")
    if old.get("undo_tool", "") != new.get("undo_tool", ""):
        yield Difference(Matter.ADDS, "undo_tool", "Another tool takes it back, or none.")
    yield from _bounds(old.get("bounds", {}), new.get("bounds", {}))


def _idempotency(contract: Mapping[str, Any]) -> str:
    return str(contract.get("idempotency") or ("not_needed" if contract["effect"] == "read" else "key"))


def _bounds(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*old, *new}):
        was, now, where = old.get(name), new.get(name), f"bounds/{name}"
        if was == now:
            continue
        if was is None:
            yield Difference(Matter.CALLERS, where, f"The {name} of one call are bounded now.")
        elif now is None:
            yield Difference(Matter.RISK, where, f"The {name} of one call are not bounded any more.")
        elif name == "amount":
            for code in sorted({*was["most"], *now["most"]}):
                least, most = (bound["most"].get(code, bound["most"].get("*")) for bound in (was, now))
                yield from _bound(least, most, where, f"minor units ({code})")
        else:
            yield from _bound(was["most"], now["most"], where, name)
        if was is not None and now is not None and _counted(was) != _counted(now):
            yield Difference(Matter.RISK, where, f"The bound of the {name} counts other parameters.")


def _counted(bound: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in bound.items() if key != "most"}


def _bound(was: int | None, now: int | None, where: str, what: str) -> Iterator[Difference]:
    if was == now:
        return
    said = ["none" if most is None else f"{most:,}" for most in (now, was)]
    words = f"At most {said[0]} {what} at once; it was {said[1]}."
    yield Difference(Matter.RISK if (now or 0) > (was or 0) else Matter.CALLERS, where, words)
