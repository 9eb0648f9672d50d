"""Where the development corpus comes from: repositories at fixed commits, their licences, and what each is used for.

Nothing of them is stored here: `python -m tests.guardrails.corpus` reads them from clones, and from installed
packages. Every source is either for tuning or for measuring, never for both.
"""

import csv
import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

Use = Literal["tune", "measure"]
Kind = Literal["attack", "prose", "security", "code", "interface"]


@dataclass(frozen=True)
class Source:
    """A repository (`owner/name` at `commit`): files that match a prefix and a suffix hold texts of one kind."""

    repository: str
    commit: str
    licence: str
    use: Use
    kind: Kind
    prefix: str
    suffix: str
    reader: str = "blocks"


@dataclass(frozen=True)
class Text:
    """A text of a source: `language` is an ISO 639-1 code as far as the source tells, `label` names its variant."""

    source: str
    kind: Kind
    language: str
    label: str
    text: str


SOURCES = (
    Source(
        "Giskard-AI/prompt-injections",
        "ce50a549dadc46b48c931250d2dd71d5f003c0c2",
        "MIT",
        "tune",
        "attack",
        "prompt_injections.csv",
        ".csv",
        "giskard",
    ),
    Source(
        "jlevy/the-art-of-command-line",
        "6b50745d2e788add2e8f1ed29010e72659a9a074",
        "CC BY-SA 4.0",
        "tune",
        "prose",
        "README",
        ".md",
    ),
    Source("tldr-pages/tldr", "08e345f42639f67d99282813247ac670dc6e87cb", "CC BY 4.0", "tune", "prose", "pages", ".md"),
    Source(
        "NVIDIA/garak",
        "cafbe992780df70015de7295ca026b70c4629ada",
        "Apache-2.0",
        "tune",
        "code",
        "garak/generators",
        ".py",
    ),
    Source("httpie/cli", "5b604c37c6c67e18e7c3e9aee6c88a8c22b98345", "BSD-3-Clause", "tune", "prose", "docs", ".md"),
    Source(
        "OWASP/CheatSheetSeries",
        "6b8819da79e0537d072e04296ffa3adfc94ba881",
        "CC BY-SA 4.0",
        "tune",
        "security",
        "cheatsheets/",
        ".md",
    ),
    Source(
        "meta-llama/PurpleLlama",
        "4be64c3a24442b51c76175e6ec67722cc3f5fe38",
        "MIT",
        "measure",
        "attack",
        "CybersecurityBenchmarks/datasets/prompt_injection/prompt_injection",
        ".json",
        "purple",
    ),
    Source(
        "microsoft/BIPIA",
        "1a2a91da6bb12838e05d1b2e54d98e2f37b835f3",
        "MIT",
        "measure",
        "attack",
        "benchmark/text_attack_test.json",
        ".json",
        "bipia",
    ),
    Source(
        "OWASP/www-project-top-10-for-large-language-model-applications",
        "020595761a4b7b0c3f9cf01a0457b78f9f1e7f9c",
        "CC BY-SA 4.0",
        "measure",
        "security",
        "2_0_vulns",
        ".md",
    ),
    Source(
        "EbookFoundation/free-programming-books",
        "5b277d20f623ce5b2889b16fc9dd5e266536f521",
        "CC BY 4.0",
        "measure",
        "prose",
        "docs",
        ".md",
    ),
    Source(
        "kubernetes/kubernetes.github.io",
        "1454c2abf0b9423697c5dea8d453b5d08a0b942b",
        "CC BY 4.0",
        "measure",
        "prose",
        "content/",
        ".md",
    ),
    Source(
        "healthchecks/healthchecks",
        "29b5ec251059034b79e0120e2ff0c3e35d7bd9f8",
        "BSD-3-Clause",
        "measure",
        "code",
        "hc",
        ".py",
    ),
    Source("package:allauth", "", "MIT", "tune", "interface", "", ".po", "messages"),
    Source("package:django", "", "BSD-3-Clause", "measure", "interface", "contrib", ".po", "messages"),
)

BLOCK = 1_500
PER_FILE = 12
PER_SOURCE = 900
_LANGUAGES = {
    "English": "en",
    "French": "fr",
    "Italian": "it",
    "German": "de",
    "Portuguese": "pt",
    "Hindi": "hi",
    "Spanish": "es",
    "Thai": "th",
    "Vietnamese": "vi",
    "Bengali": "bn",
    "Russian": "ru",
    "Japanese": "ja",
    "Chinese": "zh",
    "Arabic": "ar",
    "Korean": "ko",
    "Turkish": "tr",
    "Indonesian": "id",
    "Filipino/Tagalog": "tl",
    "Tagalog": "tl",
    "Filipino": "tl",
}


def texts_of(source: Source, clones: Path) -> list[Text]:
    """Return the texts of a source from its clone, a bare or ordinary one at `clones`/owner+name[/repo]."""
    if source.repository.startswith("package:"):
        found = _installed(source)
        return found[:: max(1, len(found) // PER_SOURCE)]
    clone = clones / source.repository.replace("/", "+")
    clone = clone / "repo" if (clone / "repo").exists() else clone
    revision = source.commit or "HEAD"
    names = _git(clone, "ls-tree", "-r", "--name-only", revision).splitlines()
    chosen = [name for name in names if name.startswith(source.prefix) and name.endswith(source.suffix)]
    step = max(1, len(chosen) * PER_FILE // PER_SOURCE)
    texts: list[Text] = []
    for name in chosen[::step]:
        content = _git(clone, "show", f"{revision}:{name}")
        texts += _READERS[source.reader](source, name, content)
    return texts[:: max(1, len(texts) // PER_SOURCE)]


def _installed(source: Source) -> list[Text]:
    """Read the files that an installed package ships; the lock file fixes its version."""
    root = Path(str(resources.files(source.repository.removeprefix("package:"))))
    paths = sorted(path for path in (root / source.prefix).rglob(f"*{source.suffix}"))
    step = max(1, len(paths) // PER_SOURCE)
    return [
        text
        for path in paths[::step]
        for text in _READERS[source.reader](source, path.relative_to(root).as_posix(), path.read_text("utf-8"))
    ]


def _git(clone: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(clone), *arguments], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def _blocks(source: Source, name: str, content: str) -> Iterator[Text]:
    places = range(0, len(content), BLOCK)
    for at in list(places)[:: max(1, len(places) // PER_FILE)]:
        part = content[at : at + BLOCK]
        if len(part) > BLOCK // 5:
            yield Text(source.repository, source.kind, _language(name), name, part)


def _language(name: str) -> str:
    for part in name.replace("\\", "/").split("/"):
        for mark in ("pages.", "README-", "translations/", "books-", "LC_"):
            if part.startswith(mark):
                return part.removeprefix(mark).removesuffix(".md")[:2].lower()
        if len(part) == 5 and part[2] == "-" and part[:2].islower():
            return part[:2]
    if name.startswith("content/"):
        return name.split("/")[1][:2]
    if "/locale/" in f"/{name}":
        return name.split("locale/")[1][:2]
    return "en"


def _messages(source: Source, name: str, content: str) -> Iterator[Text]:
    """Gather the translations of a gettext catalogue to screens of text."""
    lines = [
        line.partition('"')[2].rstrip().rstrip('"') for line in content.splitlines() if line.startswith(("msgstr", '"'))
    ]
    for at in range(0, len(lines), 40):
        part = "\n".join(lines[at : at + 40])
        if len(part) > 200:
            yield Text(source.repository, source.kind, _language(name), name, part)


def _giskard(source: Source, name: str, content: str) -> Iterator[Text]:
    for row in csv.DictReader(io.StringIO(content)):
        yield Text(source.repository, "attack", row.get("language") or "en", row.get("group") or "", row["prompt"])


def _purple(source: Source, name: str, content: str) -> Iterator[Text]:
    if "visual" in name:
        return
    for row in json.loads(content):
        language = _LANGUAGES.get(row["speaking_language"], row["speaking_language"][:2].lower())
        yield Text(source.repository, "attack", language, row["injection_variant"], row["user_input"])


def _bipia(source: Source, name: str, content: str) -> Iterator[Text]:
    for label, lines in json.loads(content).items():
        for line in lines:
            yield Text(source.repository, "attack", "en", label, line)


_READERS = {"blocks": _blocks, "messages": _messages, "giskard": _giskard, "purple": _purple, "bipia": _bipia}
