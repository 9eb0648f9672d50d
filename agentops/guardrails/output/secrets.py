"""Keys, tokens, passwords, card numbers and IBANs in a text: forms their makers marked, and numbers with checksums.

A card number counts only with a known prefix and length and a right Luhn digit (ISO/IEC 7812), an IBAN only with the
structure of its country and a right remainder (ISO 13616), a JWT only with a header that names its algorithm.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Final

import re2
from stdnum import iban, luhn

from agentops.guardrails.output.found import Found, Kind, said
from agentops.guardrails.output.views import View, views

FORMS: Final[dict[str, str]] = {
    "private_key": r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]*-----END [A-Z0-9 ]{0,40}-----)?",
    "age_key": r"AGE-SECRET-KEY-1[0-9A-Z]{50,}",
    "aws_access_key": r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA)[0-9A-Z]{16}\b",
    "aws_secret_key": r"(?i:(?:aws_?)?secret_?access_?key|aws_?secret_?key)[\"' :=]{1,6}[A-Za-z0-9/+]{40}",
    "agentops_token": r"\baod_[a-z0-9-]{1,40}_[a-z2-7]{12}_[A-Za-z0-9_-]*",
    "github_token": r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{40,}",
    "gitlab_token": r"\bgl(?:pat|dt|rt|ptt|cbt|soat)-[A-Za-z0-9_-]{20,}",
    "slack_token": r"\bxox[abceoprs]-[A-Za-z0-9-]{10,}|\bxapp-[0-9]-[A-Za-z0-9-]{20,}",
    "slack_webhook": r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9_/]{30,}",
    "stripe_key": r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9+/=]{24,}",
    "model_key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "google_key": r"\bAIza[A-Za-z0-9_-]{35}|\bya29\.[A-Za-z0-9_-]{20,}|\bGOCSPX-[A-Za-z0-9_-]{24,}",
    "npm_token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "pypi_token": r"\bpypi-[A-Za-z0-9_-]{50,}",
    "sendgrid_key": r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "twilio_key": r"\bSK[0-9a-f]{32}\b",
    "hugging_face_token": r"\bhf_[A-Za-z0-9]{30,}",
    "digitalocean_token": r"\bdo[opr]_v1_[a-f0-9]{64}\b",
    "telegram_token": r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b",
    "azure_key": r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}={0,2}",
    "shopify_token": r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b",
    "vault_token": r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}",
    "jwt": r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    "credentials_in_url": r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s/@:\"'<>]{1,100}:[^\s/@\"'<>]{3,200}@[^\s/@]",
    "password": (
        r"(?i:(?:\b(?:pass[- ]?word|passwd|pass[- ]?phrase|passwort|kennwort|mot de passe|contrase(?:ñ|n)a|senha"
        r"|wachtwoord|has(?:ł|l)o|api[_ -]?key|client[_ -]?secret)|пароль|密码|密碼|パスワード)"
        r"[\"']?\s{0,3}(?:[:=：]|is|ist|est|es|è|é|is:)\s{0,3}[\"']?)[^\s\"'<>]{8,}"
    ),
}
"""Code -> pattern (RE2), in the order of precedence."""

_FORMS: Final = re2.compile("|".join(f"(?P<{code}>{pattern})" for code, pattern in FORMS.items()))
_CARD: Final = re2.compile(r"[0-9](?:[ \-.\x{00A0}\x{2009}]?[0-9]){12,60}")
_GROUPED_CARD: Final = re2.compile(
    r"[0-9]{4}(?:[ \t\-._/\x{00B7}]{1,3}[0-9]{4}){3}(?:[ \t\-._/\x{00B7}]{1,3}[0-9]{1,3})?"
    r"|[0-9]{4}[ \t\-._/\x{00B7}]{1,3}[0-9]{6}[ \t\-._/\x{00B7}]{1,3}[0-9]{4,5}"
)
"""Groups as cards have them, whatever divides them."""
_IBAN: Final = re2.compile(r"(?i)\b[A-Z]{2}[0-9]{2}(?:[ \-\x{00A0}]?[A-Z0-9]){11,30}")
_SHORTEST_IBAN: Final = 15
_SHORTEST_CARD: Final = 13
_LONGEST_CARD: Final = 19


def secrets_in(view: View) -> Iterator[Found]:
    """Yield the keys, tokens and passwords of a text."""
    for match in _FORMS.finditer(view.text):
        code, text = match.lastgroup, match.group()
        if code is None or not _real(code, text):
            continue
        offset, length = view.span(match.start(), match.end())
        yield Found(Kind.SECRET, code, offset, length, said(code))


def holds_secret(text: str) -> bool:
    """Say whether a text holds a key, a token or a password, in any of its forms."""
    return any(True for view in views(text) for _ in secrets_in(view))


def _real(code: str, text: str) -> bool:
    match code:
        case "jwt":
            return _is_jwt(text)
        case "password":
            value = text.split()[-1] if text.split() else text
            value = value.split(":")[-1].split("=")[-1].strip("\"'.,;!?()")
            return len(value) >= 8 and any(c.isdigit() for c in value) and any(not c.isdigit() for c in value)
        case "twilio_key" | "hugging_face_token":
            return any(c.isdigit() for c in text)
        case "model_key":
            return any(c.isdigit() for c in text) or max(map(len, text.split("-"))) >= 30
        case _:
            return not text.endswith("EXAMPLE")  # the key that every manual of AWS shows


def _is_jwt(text: str) -> bool:
    header = text.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(found, dict) and "alg" in found


def cards_in(view: View) -> Iterator[Found]:
    """Yield the numbers that are cards."""
    for pattern in (_CARD, _GROUPED_CARD):
        for match in pattern.finditer(view.text):
            for start, end, digits in _cards(view.text, match.start(), match.end()):
                offset, length = view.span(start, end)
                yield Found(Kind.CARD, "card_number", offset, length, f"card number of {len(digits)} digits")


def _cards(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Yield the cards in a run of groups of digits: other numbers may stand right before or after one."""
    groups: list[tuple[int, int]] = []
    for index in range(start, end):
        if not text[index].isdigit():
            continue
        if groups and groups[-1][1] == index:
            groups[-1] = (groups[-1][0], index + 1)
        else:
            groups.append((index, index + 1))
    if groups and _joined(text, start - 1):
        groups = groups[1:]
    if groups and _joined(text, end):
        groups = groups[:-1]
    first = 0
    while first < len(groups):
        taken = 0
        for last in range(first, len(groups)):
            digits = "".join(text[a:b] for a, b in groups[first : last + 1])
            if len(digits) > _LONGEST_CARD:
                break
            if len(digits) >= _SHORTEST_CARD and _is_card(digits):
                yield groups[first][0], groups[last][1], digits
                taken = last + 1
                break
        first = taken or first + 1


def _joined(text: str, index: int) -> bool:
    return 0 <= index < len(text) and (text[index].isalnum() or text[index] == "_")


def _is_card(digits: str) -> bool:
    two, four, size = int(digits[:2]), int(digits[:4]), len(digits)
    known = (
        (digits[0] == "4" and size in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and size == 16)
        or (two in (34, 37) and size == 15)
        or ((four == 6011 or two == 65 or 644 <= int(digits[:3]) <= 649) and 16 <= size <= 19)
        or (3528 <= four <= 3589 and 16 <= size <= 19)
        or ((300 <= int(digits[:3]) <= 305 or two in (36, 38, 39)) and 14 <= size <= 19)
        or (two == 62 and 16 <= size <= 19)
    )
    return known and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def ibans_in(view: View) -> Iterator[Found]:
    """Yield the account numbers."""
    for match in _IBAN.finditer(view.text):
        places = [index for index, char in enumerate(match.group()) if char.isalnum()]
        compact = "".join(match.group()[index] for index in places)
        # Words that follow look like more of it: the longest beginning that is a number counts.
        for size in range(len(compact), _SHORTEST_IBAN - 1, -1):
            if iban.is_valid(compact[:size]):
                offset, length = view.span(match.start(), match.start() + places[size - 1] + 1)
                yield Found(Kind.IBAN, "iban", offset, length, f"IBAN of {compact[:2].upper()}")
                break
