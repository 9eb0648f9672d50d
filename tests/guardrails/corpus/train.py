"""`python -m tests.guardrails.corpus.train --clones DIR`: set the weights of findings on the tuning sources alone.

The score is linear in evidence (`-ln(1 - weight)`), so texts are scanned once and weights are then changed one code at
a time, as long as it raises recall around 1 % false positives, every source of attacks and every kind of benign text
counting the same; moving away from what a rule says costs a little. Nothing is random: the same sources give the same
weights.
"""

import argparse
import json
import math
import random
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agentops.guardrails.detectors import credentials, exfiltration, forgery, instructions, weights
from agentops.guardrails.detectors.matching import Rule
from agentops.guardrails.scan import ENGINE, scan
from agentops.guardrails.score import NEAR, taken_by
from tests.guardrails.corpus.__main__ import carriers_of, hidden_in, own, sample
from tests.guardrails.corpus.sources import SOURCES, exists, texts_of
from tests.guardrails.corpus.transforms import TRANSFORMS

STEPS = (0.5, 0.7, 0.85, 1.2, 1.45, 1.8)
RATES = (0.004, 0.008, 0.012, 0.02)
FREE = 0.004
"""What moving a weight by one power of e from what its rule says costs in the objective."""
LEAST, MOST = 0.03, 0.85
DISGUISES = ("plain", "base64", "comment", "hidden", "quoted", "json")


@dataclass(slots=True)
class Seen:
    """A text as findings: windows of (group, code, times), each code's largest; fixed evidence; what length takes."""

    name: str
    attack: bool
    windows: list[dict[str, dict[str, float]]]
    fixed: list[float]
    less: float


def main() -> None:
    """Train, and write the weights beside the rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clones", type=Path, required=True)
    parser.add_argument("--attacks", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    chosen = [source for source in SOURCES if source.use == "tune" and exists(source, options.clones)]
    texts = [text for source in chosen for text in texts_of(source, options.clones)]
    rng = random.Random(7)
    benign = [text for text in texts if text.kind != "attack"]
    attacks = sample([text for text in texts if text.kind == "attack"] + own(), options.attacks, rng)
    priors = {rule.code: rule.weight for rule in _rules()}
    seen = [_seen(text.kind, False, text.text, priors) for text in benign]
    carriers = carriers_of(benign)
    for text in attacks:
        names = DISGUISES if len(text.text) < 600 else DISGUISES[:1]
        seen += [_seen(text.source, True, hidden_in(text, TRANSFORMS[name], carriers, rng), priors) for name in names]
    start = {code: -math.log(1 - weight) for code, weight in priors.items()}
    found = _train(seen, start, options.rounds)
    rounded = {code: round(1 - math.exp(-found[code]), 3) for code in sorted(found) if found[code] != start[code]}
    path = Path(weights.__file__).with_name(weights.FILE)
    path.write_text(json.dumps({"engine": ENGINE, "weights": rounded}, indent=1) + "\n", "utf-8")


def _rules() -> Iterable[Rule]:
    return (*instructions.rules(), *forgery.rules(), *exfiltration.rules(), *credentials.rules())


def _seen(name: str, attack: bool, text: str, priors: dict[str, float]) -> Seen:
    """Scan a text; where findings stand within reach of each other they are one window."""
    ordered = sorted(scan(text).findings, key=lambda f: f.start)
    windows: list[dict[str, dict[str, float]]] = []
    fixed: list[float] = []
    for first, finding in enumerate(ordered):
        window: dict[str, dict[str, float]] = defaultdict(dict)
        other: dict[str, float] = {}
        for near in ordered[first:]:
            if near.start > finding.start + NEAR:
                break
            evidence = -math.log(1 - min(near.weight, 0.999))
            group = near.code.partition("_")[0]
            weight = weights.trained().get(near.code, priors.get(near.code, 0.0))
            if not weight:
                other[group] = max(other.get(group, 0.0), evidence)
                continue
            times = evidence / -math.log(1 - weight)
            window[group][near.code] = max(window[group].get(near.code, 0.0), times)
        windows.append(dict(window))
        fixed.append(sum(other.values()))
    return Seen(name, attack, windows, fixed, taken_by(len(text)))


def _evidence(one: Seen, weight: dict[str, float]) -> float:
    best = 0.0
    for window, fixed in zip(one.windows, one.fixed, strict=True):
        total = fixed
        for codes in window.values():
            total += max(weight[code] * times for code, times in codes.items())
        best = max(best, total)
    return best - one.less


def _train(seen: list[Seen], start: dict[str, float], rounds: int) -> dict[str, float]:
    weight = dict(start)
    users: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(seen):
        for code in {code for window in one.windows for codes in window.values() for code in codes}:
            users[code].append(index)
    scores = [_evidence(one, weight) for one in seen]
    best = _objective(seen, scores) - _cost(weight, start)
    for _ in range(rounds):
        before = best
        for code in sorted(users):
            for step in STEPS:
                value = min(-math.log(1 - MOST), max(-math.log(1 - LEAST), weight[code] * step))
                kept, weight[code] = weight[code], value
                tried = list(scores)
                for index in users[code]:
                    tried[index] = _evidence(seen[index], weight)
                worth = _objective(seen, tried) - _cost(weight, start)
                if worth > best + 1e-9:
                    best, scores = worth, tried
                else:
                    weight[code] = kept
        sys.stderr.write(f"objective {best:.4f}\n")
        if best - before < 1e-4:
            break
    return weight


def _cost(weight: dict[str, float], start: dict[str, float]) -> float:
    return FREE * sum(math.log(weight[code] / start[code]) ** 2 for code in weight)


def _objective(seen: list[Seen], scores: list[float]) -> float:
    """Return recall at some rates of false positives, averaged; every source and every kind counts the same."""
    names: dict[bool, dict[str, int]] = {True: defaultdict(int), False: defaultdict(int)}
    for one in seen:
        names[one.attack][one.name] += 1
    share = [1 / names[one.attack][one.name] / len(names[one.attack]) for one in seen]
    order = sorted(range(len(seen)), key=lambda index: -scores[index])
    false, true, at, total = 0.0, 0.0, 0, 0.0
    rates = list(RATES)
    while at < len(order) and rates:
        level = scores[order[at]]
        level_true = level_false = 0.0
        while at < len(order) and scores[order[at]] == level:
            if seen[order[at]].attack:
                level_true += share[order[at]]
            else:
                level_false += share[order[at]]
            at += 1
        while rates and false + level_false > rates[0]:
            total += true
            rates.pop(0)
        if level <= 0:
            break
        false, true = false + level_false, true + level_true
    return (total + true * len(rates)) / len(RATES)


if __name__ == "__main__":
    main()
