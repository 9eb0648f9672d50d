"""Instructions to an agent in the languages of the lexicon."""

from collections.abc import Iterator
from typing import Final

from agentops.guardrails.detectors.acts import ACTS, Acts
from agentops.guardrails.detectors.lexicon import LEXICON, UNSPACED, Lexicon
from agentops.guardrails.detectors.matching import Rule, any_of, words_of
from agentops.guardrails.score import Family

_GAP: Final = "[^.!?。！？।]"


def rules() -> Iterator[Rule]:
    """Yield the rules of every language."""
    for language, words in LEXICON.items():
        yield from _of(language, words)
    for language, acts in ACTS.items():
        yield from _acts_of(language, acts)


def _of(language: str, words: Lexicon) -> Iterator[Rule]:
    spaced = language not in UNSPACED
    ignore, orders = any_of(words.ignore, spaced=spaced), any_of(words.orders, spaced=spaced)
    # A match ends with the word, not with its stem.
    orders = orders + r"[\pL\pM]*" if spaced else orders
    earlier = any_of(words.earlier, spaced=spaced)
    i = Family.INSTRUCTION
    gap = f"{_GAP}{{0,40}}?" if spaced else "[^.!?。！？\\n]{0,20}?"
    near = f"{_GAP}{{0,25}}?" if spaced else "[^.!?。！？，、,;；\\n]{0,14}?"
    told = f"(language: {language})"
    strong = "|".join(
        (
            f"{ignore}{near}{earlier}{near}{orders}",
            f"{ignore}{near}{orders}{near}{earlier}",
            f"{earlier}{near}{orders}{near}{ignore}",
            f"{orders}{near}{earlier}{near}{ignore}",
        )
    )
    yield Rule(
        i,
        "override",
        0.75,
        words_of(words.ignore),
        f"(?:{strong})",
        f"Tells a reader to disregard the instructions it was given {told}",
        110,
        150,
    )
    yield Rule(
        i,
        "override_weak",
        0.3,
        words_of(words.ignore),
        f"(?:{ignore}{near}{orders}|{orders}{near}{ignore})",
        f"Tells a reader to disregard instructions {told}",
        80,
        100,
    )
    reveal, secret = any_of(words.reveal, spaced=spaced), any_of(words.secret, spaced=spaced)
    yield Rule(
        i,
        "reveal",
        0.46,
        words_of(words.secret),
        f"(?:{reveal}{gap}{secret}|{secret}{near}{reveal})",
        f"Asks for what a reader was told in confidence {told}",
        80,
        100,
    )
    yield Rule(
        i,
        "role",
        0.4,
        words_of(words.role),
        any_of(words.role, spaced=spaced),
        f"Gives a reader another role {told}",
        4,
        60,
    )
    hush, user = any_of(words.hush, spaced=spaced), any_of(words.user, spaced=spaced)
    yield Rule(
        i,
        "hush",
        0.5,
        words_of(words.hush),
        f"(?:{hush}{near}{user}|{user}{near}{hush})",
        f"Asks to keep something from the user {told}",
        70,
        90,
    )
    yield Rule(
        i,
        "agent",
        0.2,
        words_of(words.agent),
        any_of(words.agent, spaced=spaced),
        f"Speaks of a program that reads {told}",
        4,
        60,
    )
    send = any_of(words.send, spaced=spaced) + ("(?:[^dt]|$)" if spaced else "")
    yield Rule(
        i,
        "send",
        0.3,
        words_of(words.send),
        rf"(?:{send}[^\n]{{0,90}}?(?:\w@\w|https?://)|(?:\w@\w|https?://)[^\n]{{0,70}}?{send})",
        f"Asks to send something somewhere {told}",
        80,
        110,
        also=("@", "http"),
    )


def _acts_of(language: str, acts: Acts) -> Iterator[Rule]:
    spaced = language not in UNSPACED
    told = f"(language: {language})"
    for code, weight, stems, explanation in (
        ("answer_foreign", 0.4, acts.answer, "Dictates what a reader answers"),
        ("stop_foreign", 0.4, acts.stop, "Gives a reader another task"),
        ("approved_foreign", 0.4, acts.allowed, "Claims that something was agreed to, or to be who may give orders"),
        ("agent_foreign", 0.46, acts.reader, "Calls on a program that reads"),
    ):
        pattern = any_of(stems, spaced=spaced)
        yield Rule(Family.INSTRUCTION, code, weight, words_of(stems), pattern, f"{explanation} {told}", 4, 80)
    unbound, bare = any_of(acts.unbound, spaced=spaced), any_of(acts.bare, spaced=spaced)
    near = f"{_GAP}{{0,20}}?" if spaced else "[^.!?。！？，、,;；\\n]{0,8}?"
    yield Rule(
        Family.INSTRUCTION,
        "unbound_foreign",
        0.3,
        words_of(acts.bare),
        f"(?:{unbound}{near}{bare}|{bare}{near}{unbound})" if not spaced else f"{unbound}{near}{bare}",
        f"Frees a reader of its limits {told}",
        50,
        60,
    )
