"""Personal data in a text, of the kinds a tenant asked for. Numbers count only where their checksum is right.

The checks of national numbers are those of python-stdnum. Names of people are not looked for: nothing pure finds them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Final

import re2
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ch import ssn as ch_ssn
from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import ssn

from agentops.guardrails.output.found import Found, Kind, said
from agentops.guardrails.output.links import listed
from agentops.guardrails.output.views import View


@dataclass(frozen=True, slots=True)
class _Form:
    title: str
    pattern: str
    valid: Callable[[str], bool] = lambda text: True


def _checked(module: ModuleType) -> Callable[[str], bool]:
    def valid(text: str) -> bool:
        return bool(module.is_valid(text))

    return valid


_SEPARATED_9: Final = r"[0-9](?:[ .-]?[0-9]){8}"
_SEPARATED_10: Final = r"[0-9](?:[ .-]?[0-9]){9}"
_SEPARATED_11: Final = r"[0-9](?:[ .-]?[0-9]){10}"

FORMS: Final[Mapping[str, _Form]] = {
    "email": _Form("e-mail addresses", r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}"),
    "phone": _Form("phone numbers with a country code", r"(?:\+|\b00)[1-9](?:[ ()./-]{0,2}[0-9]){7,14}"),
    "ip_address": _Form(
        "IPv4 addresses", r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})"
    ),
    "us_ssn": _Form("US social security numbers", r"[0-9]{3}-[0-9]{2}-[0-9]{4}", _checked(ssn)),
    "gb_nhs_number": _Form("British NHS numbers", _SEPARATED_10, _checked(nhs)),
    "de_tax_number": _Form("German tax identification numbers", _SEPARATED_11, _checked(idnr)),
    "fr_social_security": _Form("French social security numbers", r"[12](?:[ .]?[0-9AB]){14}", _checked(nir)),
    "it_tax_code": _Form(
        "Italian tax codes", r"(?i)[A-Z]{6}[0-9]{2}[A-Z][0-9]{2}[A-Z][0-9]{3}[A-Z]", _checked(codicefiscale)
    ),
    "es_dni": _Form("Spanish identity numbers", r"(?i)[0-9]{8}-?[A-Z]", _checked(dni)),
    "es_nie": _Form("Spanish foreigner numbers", r"(?i)[XYZ]-?[0-9]{7}-?[A-Z]", _checked(nie)),
    "nl_bsn": _Form("Dutch citizen numbers", _SEPARATED_9, _checked(bsn)),
    "be_national_number": _Form("Belgian national numbers", _SEPARATED_11, _checked(nn)),
    "pl_pesel": _Form("Polish PESEL", r"[0-9]{11}", _checked(pesel)),
    "br_cpf": _Form("Brazilian CPF", r"[0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}", _checked(cpf)),
    "se_personnummer": _Form("Swedish personal numbers", r"(?:[0-9]{2})?[0-9]{6}[-+][0-9]{4}", _checked(personnummer)),
    "dk_cpr": _Form("Danish CPR numbers", r"[0-9]{6}-[0-9]{4}", _checked(cpr)),
    "no_birth_number": _Form("Norwegian birth numbers", r"[0-9]{6} ?[0-9]{5}", _checked(fodselsnummer)),
    "fi_hetu": _Form("Finnish personal codes", r"(?i)[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Z]", _checked(hetu)),
    "ch_ahv": _Form("Swiss AHV numbers", r"756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}", _checked(ch_ssn)),
    "tr_identity_number": _Form("Turkish identity numbers", r"[1-9][0-9]{10}", _checked(tckimlik)),
    "in_aadhaar": _Form("Indian Aadhaar numbers", r"[2-9][0-9]{3} ?[0-9]{4} ?[0-9]{4}", _checked(aadhaar)),
    "cn_identity_number": _Form("Chinese identity numbers", r"(?i)[0-9]{17}[0-9X]", _checked(ric)),
}
"""Code -> what it is, where it may stand, and whether it is right."""

_PATTERNS: Final = {code: re2.compile(form.pattern) for code, form in FORMS.items()}


def personal_in(view: View, codes: Sequence[str], hosts: Sequence[str]) -> Iterator[Found]:
    """Yield the personal data of these kinds; addresses at a listed host are the tenant's own."""
    text = view.text
    for code in codes:
        form = FORMS[code]
        for match in _PATTERNS[code].finditer(text):
            start, end = match.span()
            if _goes_on(text, start - 1) or _goes_on(text, end) or not form.valid(match.group()):
                continue
            if code == "email" and listed(match.group().rpartition("@")[2], hosts):
                continue
            offset, length = view.span(start, end)
            yield Found(Kind.PERSONAL, code, offset, length, said(code))


def _goes_on(text: str, index: int) -> bool:
    return 0 <= index < len(text) and text[index].isalnum()
