"""`python -m tests.guardrails.corpus --clones DIR [--use measure]`: recall at 1 % false positives, by source.

Attacks are put into the middle of an ordinary text of the same use, plain and transformed; false positives are ordinary
texts without one. Prints JSON.
"""

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from agentops.guardrails.scan import scan
from agentops.guardrails.score import THRESHOLDS, Point
from tests.guardrails.corpus.sources import SOURCES, Text, exists, texts_of
from tests.guardrails.corpus.transforms import ASCII_ONLY, TRANSFORMS

OWN = Path(__file__).with_name("own.jsonl")


def main() -> None:
    """Score everything, find the threshold of 1 % false positives on benign texts, and print the shares above it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clones", type=Path, required=True)
    parser.add_argument("--use", choices=("tune", "measure"), default="measure")
    parser.add_argument("--attacks", type=int, default=400, help="at most so many of a source")
    parser.add_argument("--show", type=int, default=0, help="print so many benign texts with the highest scores")
    parser.add_argument("--missed", type=int, default=0)
    options = parser.parse_args()
    chosen = [source for source in SOURCES if source.use == options.use and exists(source, options.clones)]
    texts = [text for source in chosen for text in texts_of(source, options.clones)]
    benign = [text for text in texts if text.kind != "attack"]
    attacks = [text for text in texts if text.kind == "attack"]
    if options.use == "tune":
        attacks += own()
    rng = random.Random(7)
    scored = sorted(((scan(text.text), text) for text in benign), key=lambda one: -one[0].score)
    line = line_of([(found.score, text.kind) for found, text in scored])
    carriers = carriers_of(benign)
    report: dict[str, object] = {
        "benign": len(benign),
        "attacks": len(attacks),
        "threshold_at_1_percent": line,
        "false_positives": {
            point.value: round(sum(found.score >= limit for found, _ in scored) / max(1, len(scored)), 4)
            for point, limit in THRESHOLDS.items()
        },
        "false_positives_by_kind": shares(
            [(f"{t.source} {t.kind}", f.score >= THRESHOLDS[Point.BALANCED]) for f, t in scored]
        ),
    }
    results: list[tuple[Text, str, int]] = []
    for text in sample(attacks, options.attacks, rng):
        for name, transform in TRANSFORMS.items():
            if name != "plain" and (len(text.text) > 600 or (name in ASCII_ONLY and not text.text.isascii())):
                continue
            results.append((text, name, scan(hidden_in(text, transform, carriers, rng)).score))
    for key, group in (
        ("recall_by_source", lambda t, n: t.source if n == "plain" else None),
        ("recall_by_label", lambda t, n: f"{t.source} {t.label}" if n == "plain" else None),
        ("recall_by_language", lambda t, n: t.language if n == "plain" else None),
        ("recall_by_transform", lambda t, n: n),
    ):
        report[key] = shares([(g, s >= line) for t, n, s in results if (g := group(t, n)) is not None])
    report["recall_by_point"] = {
        p.value: round(
            sum(s >= limit for _, n, s in results if n == "plain") / max(1, sum(n == "plain" for _, n, _ in results)), 3
        )
        for p, limit in THRESHOLDS.items()
    }
    print(json.dumps(report, indent=1))
    for found, text in scored[: options.show]:
        print(
            found.score,
            text.source,
            text.label,
            [(f.code, f.view, text.text[f.start : f.end][:90]) for f in found.findings[:5]],
        )
    missed = [t for t, n, s in results if n == "plain" and s < line]
    for text in rng.sample(missed, min(len(missed), options.missed)):
        print("MISSED", text.source, text.language, text.label, repr(text.text[:200]))


def carriers_of(benign: list[Text]) -> list[str]:
    """Return the ordinary texts that attacks are hidden in."""
    kinds = ("prose", "mail", "code", "interface")
    return [text.text for text in benign if text.kind in kinds and len(text.text) > 200]


def hidden_in(text: Text, transform: Callable[[str], str], carriers: list[str], rng: random.Random) -> str:
    """Return an ordinary text with an attack in its middle."""
    carrier = rng.choice(carriers)
    at = carrier.find("\n", len(carrier) // 2)
    return f"{carrier[:at]}\n\n{transform(text.text)}\n\n{carrier[at:]}"


def line_of(scores: list[tuple[int, str]]) -> int:
    """Return the least score that at most 1 % of benign texts reach, every kind of them counting the same."""
    kinds = Counter(kind for _, kind in scores)
    for line in range(1, 102):
        above = Counter(kind for score, kind in scores if score >= line)
        if sum(above[kind] / kinds[kind] for kind in kinds) / max(1, len(kinds)) <= 0.01:
            return line
    return 101


def own() -> list[Text]:
    """Return the attacks that were written for this corpus, by family and language."""
    rows = [json.loads(line) for line in OWN.read_text("utf-8").splitlines() if line.strip()]
    return [
        Text("own", "attack", row["language"], row["family"], row["text"]) for row in rows if row["family"] != "benign"
    ]


def sample(attacks: list[Text], most: int, rng: random.Random) -> list[Text]:
    """Return at most so many attacks of each source."""
    by_source: dict[str, list[Text]] = defaultdict(list)
    for text in attacks:
        by_source[text.source].append(text)
    return [text for found in by_source.values() for text in (rng.sample(found, most) if len(found) > most else found)]


def shares(marks: list[tuple[str, bool]]) -> dict[str, str]:
    """Return the share of true marks by name, with counts."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, hit in marks:
        counts[name][0] += hit
        counts[name][1] += 1
    return {name: f"{hits / total:.3f} ({hits} of {total})" for name, (hits, total) in sorted(counts.items())}


if __name__ == "__main__":
    main()
