"""Make text that hides something visible: invisible, bidi and tag characters, and hidden parts of HTML.

Pure. Nothing here drops content silently: findings say what is there and where, `surface` shows it, `visible`
returns what a reader of the unsurfaced text would see. Classes after UTS 39, UTR 36 and UTS 51.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from html import unescape

MAX_FINDINGS = 50
SAMPLE_CHARS = 160

_BIDI = frozenset([0x061C, *range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
INVISIBLE = frozenset(
    [
        *(0x00AD, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x2800, 0x3164, 0xFEFF, 0xFFA0),
        *(*range(0x200B, 0x200E), *range(0x2060, 0x2066), *range(0x206A, 0x2070), *range(0xFFF9, 0xFFFC)),
    ]
)
"""Code points that show nothing."""
_JOINERS = frozenset([0x200C, 0x200D])
_KEEP = frozenset("\t\n")
_JOINING_SCRIPTS = (
    *("ARABIC", "SYRIAC", "NKO", "MONGOLIAN", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL"),
    *("TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "MYANMAR", "KHMER", "TIBETAN"),
)
_FLAG = "\U0001f3f4"
_FLAGS = frozenset(["gbeng", "gbsct", "gbwls"])
_SUSPECT = re.compile(
    f"(?P<flag>{_FLAG}[\U000e0061-\U000e007a]{{5}}\U000e007f)"
    "|(?P<control_character>[\x00-\x08\x0b-\x1f\x7f-\x9f]+)"
    f"|(?P<bidi_control>[{''.join(map(chr, sorted(_BIDI)))}]+)"
    "|(?P<tag_characters>[\U000e0000-\U000e007f]+)"
    "|(?P<variation_selector>[\ufe00-\ufe0f\U000e0100-\U000e01ef]+)"
    f"|(?P<joiner>[{''.join(map(chr, sorted(_JOINERS)))}]+)"
    f"|(?P<invisible_character>[{''.join(map(chr, sorted(INVISIBLE - _JOINERS)))}]+)"
)
"""Everything that may be hidden, by its class; a flag takes tag characters, and a joiner depends on its neighbours."""
_SUSPECTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ufe00-\ufe0f"
    + "".join(map(chr, sorted(_BIDI | INVISIBLE | _JOINERS)))
    + "\U000e0000-\U000e01ef"
    + "]"
)
"""The same in one class, which is far faster where there is nothing."""
_PADDING = re.compile(r"[^\S\n]{60,}|(?:[^\S\n]*\n){12,}")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something hidden: `offset` and `length` count code points of the scanned text; `sample` is printable."""

    code: str
    offset: int
    length: int
    sample: str


def scan(text: str) -> list[Finding]:
    """Return what is hidden in a text, in order, at most 50 findings; neighbours of one class are one finding.

    Codes: bidi_control, invisible_character, tag_characters, variation_selector, control_character,
    whitespace_padding. Joiners and selectors where a script or an emoji needs them are not findings.
    """
    found = list(_hidden_runs(text))
    found += [
        Finding("whitespace_padding", m.start(), len(m.group()), f"{len(m.group())} characters of white space")
        for m in _PADDING.finditer(text)
    ]
    return sorted(found, key=lambda f: f.offset)[:MAX_FINDINGS]


def visible(text: str) -> str:
    """Return the text without its hidden characters; what scripts and emoji need stays."""
    parts, end = [], 0
    for start, until, _ in hidden_runs(text):
        parts.append(text[end:start])
        end = until
    return "".join([*parts, text[end:]])


def surface(text: str) -> str:
    """Return the text with every hidden character replaced by a label such as ⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩.

    A run of tag characters becomes one label with the ASCII text it spells.
    """
    parts: list[str] = []
    end = 0
    for finding in _hidden_runs(text):
        run = text[finding.offset : finding.offset + finding.length]
        parts.append(text[end : finding.offset])
        if finding.code == "tag_characters":
            parts.append(f"⟨hidden text: {_decoded_tags(run)}⟩")
        else:
            parts.extend(f"⟨{_label(char)}⟩" for char in run)
        end = finding.offset + finding.length
    parts.append(text[end:])
    return "".join(parts)


def printable(text: str) -> str:
    """Return the text with each control character (except tab and newline) and lone surrogate made U+FFFD."""
    return "".join("\ufffd" if _is_control(char) or "\ud800" <= char <= "\udfff" else char for char in text)


def _hidden_runs(text: str) -> Iterator[Finding]:
    for start, end, code in hidden_runs(text):
        yield _finding(text, start, end, code)


def hidden_runs(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and class (see `scan`) of every run of hidden characters, in order; neighbours of one class
    are one run."""
    first, last, current = 0, 0, ""
    for start, end, code in _hidden_pieces(text):
        if start == last and code == current:
            last = end
            continue
        if current:
            yield first, last, current
        first, last, current = start, end, code
    if current:
        yield first, last, current


def _finding(text: str, start: int, end: int, code: str) -> Finding:
    run = text[start:end]
    if code == "tag_characters":
        sample = f"spells: {_decoded_tags(run)}"
    else:
        names = list(dict.fromkeys(_label(char) for char in run[:200]))
        sample = ", ".join(names[:4]) + (f" ({len(run)} characters)" if len(run) > 1 else "")
    return Finding(code, start, end - start, sample[:SAMPLE_CHARS])


def _hidden_pieces(text: str) -> Iterator[tuple[int, int, str]]:
    first = _SUSPECTS.search(text)
    if first is None:
        return
    for match in _SUSPECT.finditer(text, max(0, first.start() - 1)):
        start, end, kind = match.start(), match.end(), match.lastgroup or ""
        if kind == "flag":
            if _decoded_tags(match.group()) not in _FLAGS:
                yield start + 1, end, "tag_characters"
        elif kind == "joiner":
            for index in range(start, end):
                if not _needs_joiner(text, index):
                    yield index, index + 1, "invisible_character"
        elif kind == "variation_selector" and start and _takes_selector(text[start - 1]):
            if start + 1 < end:
                yield start + 1, end, kind
        else:
            yield start, end, kind


def _is_control(char: str) -> bool:
    return (char < " " or "\x7f" <= char <= "\x9f") and char not in _KEEP


def _takes_selector(base: str) -> bool:
    return base in "#*0123456789©®‼⁉" or unicodedata.category(base) in {"So", "Sm", "Lo", "Po", "Sk"}


def _needs_joiner(text: str, index: int) -> bool:
    if index == 0 or index + 1 >= len(text):
        return False
    before, after = text[index - 1], text[index + 1]
    if text[index] == "\u200d" and unicodedata.category(after) == "So":
        return before == "\ufe0f" or unicodedata.category(before) in {"So", "Sk"}
    return all(unicodedata.name(char, "").startswith(_JOINING_SCRIPTS) for char in (before, after))


def _decoded_tags(run: str) -> str:
    return "".join(chr(ord(char) - 0xE0000) for char in run if 0xE0020 <= ord(char) <= 0xE007E)


def _label(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, 'CONTROL')}"


@dataclass(frozen=True, slots=True)
class HiddenPart:
    """A piece of HTML that a reader does not see, and by which means (comment, display, font_size, ...)."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class HtmlText:
    """An HTML document as a person sees it, and apart from that everything it holds back."""

    text: str
    hidden: tuple[HiddenPart, ...]

    @property
    def hidden_text(self) -> str:
        """All hidden parts, one per line, each with its reason."""
        return "\n".join(f"[{part.reason}] {part.text}" for part in self.hidden)


MAX_HTML_CHARS = 400_000
_MAX_HIDDEN = 200
_MAX_HIDDEN_CHARS = 100_000
_MAX_DEPTH = 5000
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
_BLOCK = frozenset(
    [
        *("address", "article", "aside", "blockquote", "body", "center", "dd", "div", "dl", "dt", "fieldset"),
        *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "li"),
        *("main", "nav", "ol", "p", "pre", "section", "table", "tbody", "tfoot", "thead", "tr", "ul"),
    ]
)
_DROPPED = frozenset(["script", "style"])
_NEVER_SHOWN = frozenset(["template", "title", "datalist", "noembed", "noframes"])
_ONE_EACH = frozenset(["comment", "alt", "title", "aria-label"])
_RAW = {
    tag: re.compile(f"</{tag}(?=[\\s/>])", re.IGNORECASE)
    for tag in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
}
_MARKUP = re.compile(r"<[^<>]*>")
_SPACE = re.compile(r"\s+")
_TAG_NAME = re.compile(r"[A-Za-z][^\s/>]*")
_ATTRIBUTE = re.compile(r"[\s/]*([^\s/>=]*)\s*(=\s*)?")
_BARE = re.compile(r"[^\s>]*")
_STYLE = re.compile(r"<style[^>]{0,500}>(.{0,50000})", re.IGNORECASE | re.DOTALL)
_NAMED_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "snow": (255, 250, 250), "ivory": (255, 255, 240)}
_HEX_COLOUR = re.compile(r"#([0-9a-f]{3}|[0-9a-f]{6})\b")
_RGB_COLOUR = re.compile(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:[\s,/]+([\d.]{1,6})(%?))?")
_NUMBER = re.compile(r"-?\d{0,6}(?:\.\d{1,6})?")

Colour = tuple[int, int, int]


@dataclass(slots=True)
class _Element:
    tag: str
    reason: str | None
    colour: Colour
    background: Colour
    href: str = ""
    pre: bool = False


@dataclass(slots=True)
class _Hidden:
    reason: str
    pieces: list[str] = field(default_factory=list)


class _Reader:
    """Walks a document once with a stack of open elements and what each of them hides.

    The tokens are those of the HTML standard (13.2.5), in linear time: what is not terminated runs to the end of
    the document. `html.parser` is quadratic there, which a message of 400 kB turns into a minute.
    """

    def __init__(self, html: str, rules: dict[str, str]) -> None:
        self._html = html
        self._rules = rules
        self._stack = [_Element("", None, (0, 0, 0), (255, 255, 255))]
        self._hidden_chars = 0
        self.shown: list[str] = []
        self.hidden: list[_Hidden] = []

    def read(self) -> None:
        """Consume the whole document."""
        position = 0
        while (start := self._html.find("<", position)) >= 0:
            self._text(self._html[position:start])
            position = self._markup(start)
        self._text(self._html[position:])

    def _markup(self, start: int) -> int:
        """Consume what begins with the `<` at `start`; return the index after it."""
        html = self._html
        if html.startswith("<!--", start):
            return self._comment(start + 4, "-->")
        if html.startswith("<![CDATA[", start):
            return self._comment(start + 9, "]]>")
        if html.startswith(("<!", "<?"), start):
            if html[start + 2 : start + 9].lower() == "doctype":
                return self._until(start, ">")[1]
            return self._comment(start + 2, ">")
        if html.startswith("</", start) and html[start + 2 : start + 3].isalpha():
            body, end = self._until(start + 2, ">")
            self._close(body.split()[0].rstrip("/").lower() if body.split() else "")
            return end
        name = _TAG_NAME.match(html, start + 1)
        if name is None:
            self._text("<")
            return start + 1
        attributes, end = self._attributes(name.end())
        tag = name.group().lower()
        if end < 0:
            return len(html)
        self._open(tag, attributes)
        return self._raw_text(tag, end) if tag in _RAW else end

    def _until(self, start: int, mark: str) -> tuple[str, int]:
        end = self._html.find(mark, start)
        return (self._html[start:], len(self._html)) if end < 0 else (self._html[start:end], end + len(mark))

    def _comment(self, start: int, mark: str) -> int:
        body, end = self._until(start, mark)
        self._hide("comment", _MARKUP.sub(" ", body))
        return end

    def _attributes(self, position: int) -> tuple[dict[str, str], int]:
        """Return the attributes of a tag and the index after its `>`, or -1 when it never ends."""
        html, given = self._html, dict[str, str]()
        while True:
            match = _ATTRIBUTE.match(html, position)
            position = match.end() if match else position
            name = (match.group(1) or "").lower() if match else ""
            value = ""
            if match and match.group(2):
                quote = html[position : position + 1]
                if quote in {'"', "'"}:
                    end = html.find(quote, position + 1)
                    if end < 0:
                        return given, -1
                    value, position = html[position + 1 : end], end + 1
                elif (bare := _BARE.match(html, position)) is not None:
                    value, position = bare.group(), bare.end()
            if name and len(given) < 100:
                given.setdefault(name, unescape(value[:20_000]))
            if html.startswith(">", position):
                return given, position + 1
            if position >= len(html):
                return given, -1
            if not name:
                position += 1

    def _raw_text(self, tag: str, start: int) -> int:
        """Consume up to the end tag of an element whose content is not mark-up."""
        closing = _RAW[tag].search(self._html, start)
        end = closing.start() if closing else len(self._html)
        self._text(self._html[start:end])
        return end

    def _open(self, tag: str, given: dict[str, str]) -> None:
        for name in ("alt", "title", "aria-label"):
            self._hide(name, given.get(name, ""))
        if tag == "input" and given.get("type", "").lower() == "hidden":
            self._hide("input", given.get("value", ""))
        if tag == "br" or tag in _BLOCK:
            self._break("\n\n" if tag in {"p", "table", "h1", "h2", "h3"} else "\n")
        if tag not in _VOID and len(self._stack) < _MAX_DEPTH:
            self._stack.append(self._element(tag, given))
        if tag == "li":
            self._break("- ")
        if tag in {"td", "th"}:
            self._break(" ")

    def _close(self, tag: str) -> None:
        for depth in range(len(self._stack) - 1, max(0, len(self._stack) - 200), -1):
            if self._stack[depth].tag == tag:
                element = self._stack[depth]
                if element.href and element.reason is None:
                    self.shown.append(f" <{element.href}>")
                del self._stack[depth:]
                break
        if tag in _BLOCK:
            self._break("\n")

    def _text(self, data: str) -> None:
        top = self._stack[-1]
        if not data or top.tag in _DROPPED:
            return
        if top.tag not in _RAW or top.tag in {"title", "textarea"}:
            data = unescape(data)
        if top.reason is not None:
            self._hide(top.reason, data)
        else:
            self.shown.append(data if top.pre else _SPACE.sub(" ", data))

    def _break(self, mark: str) -> None:
        if self._stack[-1].reason is None:
            self.shown.append(mark)

    def _hide(self, reason: str, text: str) -> None:
        text = " ".join(text.split())[: _MAX_HIDDEN_CHARS - self._hidden_chars]
        if not text:
            return
        if not (self.hidden and self.hidden[-1].reason == reason and reason not in _ONE_EACH):
            if len(self.hidden) >= _MAX_HIDDEN:
                return
            self.hidden.append(_Hidden(reason))
        self.hidden[-1].pieces.append(text)
        self._hidden_chars += len(text)

    def _element(self, tag: str, given: dict[str, str]) -> _Element:
        parent = self._stack[-1]
        selectors = [tag, *(f".{name}" for name in given.get("class", "").split()[:20]), f"#{given.get('id', '')}"]
        style = ";".join([*(self._rules.get(s.lower(), "") for s in selectors), given.get("style", "")])
        declared = _declarations(style)
        colour = _colour(declared.get("color", given.get("color", ""))) or parent.colour
        painted = declared.get("background-color") or declared.get("background") or given.get("bgcolor", "")
        background = _colour(painted) or parent.background
        reason = parent.reason or _why_hidden(tag, given, declared)
        if reason is None and tag not in {"html", "body"} and _alike(colour, background):
            reason = "colour"
        href = given.get("href", "").strip() if tag == "a" else ""
        shown_href = href[:500] if _is_link(href) else ""
        return _Element(tag, reason, colour, background, shown_href, parent.pre or tag in {"pre", "textarea"})


def html_text(html: str) -> HtmlText:
    """Return what a person sees of an HTML document, and apart what is hidden in it. Never raises.

    Hidden are comments, alternative texts, `hidden` elements, and elements that inline styles or simple style
    rules (tag, .class, #id) make invisible: display, visibility, opacity, font size 0, no size, moved out of view,
    text in the colour of its background. Links keep their address in angle brackets. Reads at most 400,000
    characters, in linear time.
    """
    html = html[:MAX_HTML_CHARS]
    reader = _Reader(html, _style_rules(html))
    reader.read()
    lines = [re.sub(r" {2,}", " ", line).strip() for line in "".join(reader.shown).split("\n")]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return HtmlText(text, tuple(HiddenPart(part.reason, " ".join(part.pieces)) for part in reader.hidden))


def _style_rules(html: str) -> dict[str, str]:
    """Return the declarations of every simple selector in the style sheets, lower case, media queries ignored."""
    rules: dict[str, str] = {}
    for sheet in _STYLE.findall(html)[:20]:
        for rule in _without_comments(sheet.lower().partition("</style")[0]).split("}")[:2000]:
            selectors, brace, body = rule.rpartition("{")
            for selector in selectors.rpartition("{")[2].split(",")[:20] if brace else ():
                name = selector.strip()
                rules[name] = f"{rules.get(name, '')};{body}"[:4000]
    return rules


def _without_comments(css: str) -> str:
    parts = css.split("/*")
    return parts[0] + "".join(part.partition("*/")[2] for part in parts[1:])


@lru_cache(maxsize=64)
def _declarations(style: str) -> Mapping[str, str]:
    declared = {}
    for part in _without_comments(style.lower()[:8000]).split(";"):
        name, colon, value = part.partition(":")
        if colon:
            declared[name.strip()] = value.replace("!important", "").strip()
    return declared


def hidden_by(tag: str, given: dict[str, str]) -> bool:
    """Say whether an element hides what is in it by its tag, its attributes or its own style alone."""
    style = given.get("style", "")
    declared = _declarations(style) if style else {}
    if _why_hidden(tag, given, declared) is not None:
        return True
    colour = _colour(declared.get("color", given.get("color", "")))
    painted = declared.get("background-color") or declared.get("background") or given.get("bgcolor", "")
    return colour is not None and _alike(colour, _colour(painted) or (255, 255, 255))


def _why_hidden(tag: str, given: dict[str, str], declared: Mapping[str, str]) -> str | None:
    checks: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("title" if tag == "title" else "never_shown", lambda: tag in _NEVER_SHOWN),
        ("hidden", lambda: "hidden" in given),
        ("display", lambda: declared.get("display") == "none" or declared.get("mso-hide") == "all"),
        ("visibility", lambda: declared.get("visibility") in {"hidden", "collapse"}),
        ("opacity", lambda: _at_most(declared.get("opacity"), 0.05)),
        ("font_size", lambda: _at_most(declared.get("font-size"), 1) or _size_zero(tag, given)),
        ("no_size", lambda: any(_at_most(declared.get(p), 1) for p in ("height", "max-height", "width", "max-width"))),
        ("out_of_view", lambda: _out_of_view(declared)),
    )
    return next((reason for reason, applies in checks if applies()), None)


def _size_zero(tag: str, given: dict[str, str]) -> bool:
    return tag == "font" and given.get("size", "").strip() == "0"


def _at_most(value: str | None, limit: float) -> bool:
    """Say whether a CSS size is at most `limit` px (or em, pt, %: close enough to zero for any unit)."""
    if not value:
        return False
    match = _NUMBER.match(value)
    number = match.group() if match else ""
    if number in {"", "-", "."}:
        return False
    unit = value[len(number) :].strip()
    bound = limit if unit in {"px", "pt", "%", ""} else 0.1
    return float(number) <= bound


def _out_of_view(declared: Mapping[str, str]) -> bool:
    if "rect(0" in declared.get("clip", "").replace(" ", "") or "inset(50%" in declared.get("clip-path", ""):
        return True
    moved = ("left", "top", "right", "text-indent", "margin-left", "margin-top")
    return any(_at_most(declared.get(name), -500) for name in moved if declared.get(name, "").startswith("-"))


def _colour(text: str) -> Colour | None:
    text = text.lower()
    if match := _HEX_COLOUR.search(text):
        digits = match.group(1)
        if len(digits) == 3:
            digits = "".join(d * 2 for d in digits)
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    if match := _RGB_COLOUR.search(text):
        red, green, blue = (min(255, int(part)) for part in match.group(1, 2, 3))
        return red, green, blue
    return next((value for name, value in _NAMED_COLOURS.items() if name in text.split()), None)


def _alike(one: Colour, other: Colour) -> bool:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) <= 24


def _is_link(href: str) -> bool:
    return href.lower().startswith(("http://", "https://", "mailto:"))
