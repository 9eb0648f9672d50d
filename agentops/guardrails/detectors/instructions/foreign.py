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
        "Tells a reader to disregard the instructions it was given",
        110,
        150,
        language=language,
    )
    yield Rule(
        i,
        "override_weak",
        0.3,
        words_of(words.ignore),
        f"(?:{ignore}{near}{orders}|{orders}{near}{ignore})",
        "Tells a reader to disregard instructions",
        80,
        100,
        language=language,
    )
    reveal, secret = any_of(words.reveal, spaced=spaced), any_of(words.secret, spaced=spaced)
    yield Rule(
        i,
        "reveal",
        0.46,
        words_of(words.secret),
        f"(?:{reveal}{gap}{secret}|{secret}{near}{reveal})",
        "Asks for what a reader was told in confidence",
        80,
        100,
        language=language,
    )
    yield Rule(
        i,
        "role",
        0.4,
        words_of(words.role),
        any_of(words.role, spaced=spaced),
        "Gives a reader another role",
        4,
        60,
        language=language,
    )
    hush, user = any_of(words.hush, spaced=spaced), any_of(words.user, spaced=spaced)
    yield Rule(
        i,
        "hush",
        0.5,
        words_of(words.hush),
        f"(?:{hush}{near}{user}|{user}{near}{hush})",
        "Asks to keep something from the user",
        70,
        90,
        language=language,
    )
    yield Rule(
        i,
        "agent",
        0.2,
        words_of(words.agent),
        any_of(words.agent, spaced=spaced),
        "Speaks of a program that reads",
        4,
        60,
        language=language,
    )
    send = any_of(words.send, spaced=spaced) + ("(?:[^dt]|$)" if spaced else "")
    yield Rule(
        i,
        "send",
        0.3,
        words_of(words.send),
        rf"(?:{send}[^\n]{{0,90}}?(?:\w@\w|https?://)|(?:\w@\w|https?://)[^\n]{{0,70}}?{send})",
        "Asks to send something somewhere",
        80,
        110,
        also=("@", "http"),
        language=language,
    )


def _acts_of(language: str, acts: Acts) -> Iterator[Rule]:
    spaced = language not in UNSPACED
    for code, weight, stems, explanation in (
        ("answer_foreign", 0.4, acts.answer, "Dictates what a reader answers"),
        ("stop_foreign", 0.4, acts.stop, "Gives a reader another task"),
        ("approved_foreign", 0.4, acts.allowed, "Claims that something was agreed to, or to be who may give orders"),
        ("agent_foreign", 0.46, acts.reader, "Calls on a program that reads"),
    ):
        pattern = any_of(stems, spaced=spaced)
        yield Rule(Family.INSTRUCTION, code, weight, words_of(stems), pattern, explanation, 4, 80, language=language)
    unbound, bare = any_of(acts.unbound, spaced=spaced), any_of(acts.bare, spaced=spaced)
    near = f"{_GAP}{{0,20}}?" if spaced else "[^.!?。！？，、,;；\\n]{0,8}?"
    yield Rule(
        Family.INSTRUCTION,
        "unbound_foreign",
        0.3,
        words_of(acts.bare),
        f"(?:{unbound}{near}{bare}|{bare}{near}{unbound})" if not spaced else f"{unbound}{near}{bare}",
        "Frees a reader of its limits",
        50,
        60,
        language=language,
    )
