"""Claims of deeds that nothing executed supports: "I have refunded you" where no call that moves money succeeded.

A claim is a verb of a class of deeds in the first person of a past tense, or at the start of a sentence ("Refunded
order 7"); what is negated, asked or conditional is none. It is supported by an executed call of that class. Words are
known in English, German, French, Spanish, Italian, Portuguese and Dutch. What is said in other words is not found: this
points reviewers and planners at the plain case, and vouches for nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import re2

from agentops.guardrails.output.found import Found, Kind
from agentops.guardrails.output.views import View


class DeedClass(StrEnum):
    """What a claim says was done."""

    FINANCIAL = "financial"
    DELETION = "deletion"
    COMMUNICATION = "communication"
    PERMISSION = "permission"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class Deed:
    """One executed call: the tool's name, whether it writes, and its sensitivity classes."""

    tool: str
    writes: bool
    sensitivity: frozenset[str] = frozenset()


_PAST: Final[Mapping[DeedClass, Mapping[str, str]]] = {
    DeedClass.FINANCIAL: {
        "en": "refunded|reimbursed|paid|repaid|transferred|credited|charged|wired|debited",
        "de": "erstattet|zurückerstattet|überwiesen|zurückgezahlt|bezahlt|ausgezahlt|gutgeschrieben|abgebucht",
        "fr": "remboursée?s?|payée?s?|versée?s?|viré|créditée?s?|débitée?s?",
        "es": "reembolsado|devuelto|pagado|transferido|abonado|cobrado",
        "it": "rimborsat[oaie]|pagat[oaie]|trasferit[oaie]|accreditat[oaie]|addebitat[oaie]",
        "pt": "reembolsado|devolvido|pago|transferido|creditado|cobrado",
        "nl": "terugbetaald|betaald|overgemaakt|gecrediteerd|bijgeschreven",
    },
    DeedClass.DELETION: {
        "en": "deleted|erased|purged|wiped",
        "de": "gelöscht|getilgt|vernichtet",
        "fr": "supprimée?s?|effacée?s?",
        "es": "eliminado|borrado|suprimido",
        "it": "eliminat[oaie]|cancellat[oaie]",
        "pt": "eliminado|apagado|excluído",
        "nl": "verwijderd|gewist",
    },
    DeedClass.COMMUNICATION: {
        "en": "sent|e-?mailed|forwarded|notified|informed|replied|messaged|texted",
        "de": "gesendet|geschickt|verschickt|versandt|zugesandt|benachrichtigt|informiert|weitergeleitet|geantwortet",
        "fr": "envoyée?s?|transmise?s?|informée?s?|prévenue?s?|notifiée?s?|répondu",
        "es": "enviado|remitido|notificado|informado|avisado|respondido|reenviado",
        "it": "inviat[oaie]|spedit[oaie]|notificat[oaie]|informat[oaie]|avvisat[oaie]|inoltrat[oaie]|risposto",
        "pt": "enviado|notificado|informado|avisado|respondido|encaminhado",
        "nl": "verzonden|gestuurd|verstuurd|geïnformeerd|doorgestuurd|gemaild|beantwoord",
    },
    DeedClass.PERMISSION: {
        "en": "granted|revoked|promoted|demoted|authori[sz]ed",
        "de": "berechtigt|freigeschaltet|freigegeben|entzogen|gewährt",
        "fr": "accordée?s?|révoquée?s?|autorisée?s?",
        "es": "concedido|otorgado|revocado|autorizado",
        "it": "concess[oaie]|revocat[oaie]|autorizzat[oaie]",
        "pt": "concedido|revogado|autorizado",
        "nl": "verleend|ingetrokken|gemachtigd",
    },
    DeedClass.CHANGE: {
        "en": "cancelled|canceled|updated|changed|created|booked|scheduled|removed|added|closed|blocked|ordered",
        "de": "storniert|geändert|aktualisiert|angelegt|erstellt|gebucht|entfernt|hinzugefügt|gesperrt|bestellt",
        "fr": "annulée?s?|modifiée?s?|créée?s?|réservée?s?|retirée?s?|ajoutée?s?|clôturée?s?|bloquée?s?|commandée?s?",
        "es": "cancelado|anulado|cambiado|modificado|actualizado|creado|reservado|quitado|añadido|cerrado|bloqueado",
        "it": "annullat[oaie]|modificat[oaie]|aggiornat[oaie]|creat[oaie]|prenotat[oaie]|rimoss[oaie]|aggiunt[oaie]",
        "pt": "cancelado|alterado|atualizado|criado|reservado|removido|adicionado|fechado|bloqueado",
        "nl": "geannuleerd|gewijzigd|bijgewerkt|aangemaakt|geboekt|toegevoegd|gesloten|geblokkeerd|besteld",
    },
}
"""Class -> language -> participles (RE2)."""

_PRETERITE: Final[Mapping[DeedClass, str]] = {
    DeedClass.FINANCIAL: "reembolsé|devolví|pagué|transferí|reembolsei|devolvi|paguei|transferi",
    DeedClass.DELETION: "eliminé|borré|eliminei|apaguei|excluí",
    DeedClass.COMMUNICATION: "envié|notifiqué|informé|enviei|notifiquei|avisei",
    DeedClass.PERMISSION: "concedí|otorgué|revoqué|concedi|revoguei",
    DeedClass.CHANGE: "cancelé|anulé|cambié|actualicé|creé|reservé|cancelei|alterei|atualizei|criei|reservei",
}
"""Spanish and Portuguese say it in one word."""

_FIRST_PERSON: Final[Mapping[str, str]] = {
    "en": r"\b(?:i|we)(?:['’]ve| have|)(?: (?:also|already|just|now|successfully|hereby|then))*? (?:{verb}){end}",
    "de": r"\b(?:(?:ich|wir) hab(?:e|en)|hab(?:e|en) (?:ich|wir))\b[^.!?;\n]{{0,120}}?\b(?:{verb}){end}",
    "fr": r"(?:\bj['’]ai|\bnous avons|\bje (?:vous|t['’]|l['’]|lui|leur|les?|la)\s?(?:ai|l['’]ai)|\bje vous en ai)"
    r"(?: (?:bien|aussi|déjà|également))*? (?:{verb}){end}",
    "es": r"\b(?:he|hemos|le he|te he|les hemos|ya he)(?: ya)? (?:{verb}){end}",
    "it": r"\b(?:ho|abbiamo|l['’]ho|gliel['’]ho)(?: (?:già|anche|appena))*? (?:{verb}){end}",
    "pt": r"\b(?:tenho|temos|foi por mim) (?:{verb}){end}",
    "nl": r"\b(?:ik heb|wij hebben|we hebben|heb ik|hebben we)\b[^.!?;\n]{{0,120}}?\b(?:{verb}){end}",
}
_END: Final = r"(?:[^\pL\pN_]|\z)"
"""Where a word ends in any script; RE2's own boundary knows ASCII alone."""
_SENTENCE_START: Final = (
    r"(?:\A|[.!?:;\n]\s{{0,5}}|[-*•]\s)(?:(?:done|ok|okay)[:,.]? )?(?:successfully )?(?:{verb}){end}"
)
_PASSIVE: Final = r"\b(?:has|have|was|were) (?:(?:been|also|already|now|successfully|just) ){{0,3}}(?:{verb}){end}"
_NOT_SAID: Final = re2.compile(
    r"(?i)\b(?:not|never|n['’]t|cannot|unable|without|if|once|unless|until|after|when|would|could|should|whether|before"
    r"|nicht|kein\w*|nie|wenn|falls|sobald|nachdem|ob|bevor|pas|jamais|si|lorsque|quand|après"
    r"|no|nunca|cuando|não|se|quando|non|mai|niet|geen|nooit|als|zodra|no one|nobody)\b|n['’]t\b"
)
_WORDS_BEFORE: Final = 40

_SUPPORTS: Final[Mapping[DeedClass, str]] = {
    DeedClass.FINANCIAL: "financial",
    DeedClass.DELETION: "data_deletion",
    DeedClass.COMMUNICATION: "external_communication",
    DeedClass.PERMISSION: "permission_change",
}
_NAMES: Final[Mapping[DeedClass, re2._Regexp]] = {
    DeedClass.FINANCIAL: re2.compile(r"(?i)refund|pay|transfer|credit|charge|invoice|money"),
    DeedClass.DELETION: re2.compile(r"(?i)delete|erase|remove|purge|wipe|archive"),
    DeedClass.COMMUNICATION: re2.compile(r"(?i)send|mail|message|notify|post|reply|forward|sms|invite"),
    DeedClass.PERMISSION: re2.compile(r"(?i)grant|revoke|role|permission|access|invite"),
    DeedClass.CHANGE: re2.compile(r""),
}


def _compiled(forms: Mapping[DeedClass, Sequence[str]]) -> Mapping[DeedClass, re2._Regexp]:
    return {deed: re2.compile("(?i)" + "|".join(f"(?:{form})" for form in some)) for deed, some in forms.items()}


_CLAIMED: Final = _compiled(
    {
        deed: [
            *(template.format(verb=verbs[language], end=_END) for language, template in _FIRST_PERSON.items()),
            rf"\b(?:{_PRETERITE[deed]}){_END}",
        ]
        for deed, verbs in _PAST.items()
    }
)
_BARE: Final = _compiled({d: [_SENTENCE_START.format(verb=verbs["en"], end=_END)] for d, verbs in _PAST.items()})
_REPORTED: Final = _compiled({d: [_PASSIVE.format(verb=verbs["en"], end=_END)] for d, verbs in _PAST.items()})
_ATTRIBUTE: Final = re2.compile(r"(?i)^\W{0,3}(?:by|with|on|at|in|via|from|as|since|until|before|after)\b|^ ?:")
"""What follows a participle that begins a sentence and claims nothing: "Paid by card", "Updated: 3 May"."""


def claims_in(view: View, deeds: Sequence[Deed]) -> Iterator[Found]:
    """Yield the claims that no executed call supports."""
    for deed in DeedClass:
        if supported(deed, deeds):
            continue
        forms = ((Kind.CLAIM, _CLAIMED), (Kind.CLAIM, _BARE), (Kind.REPORTED_CLAIM, _REPORTED))
        for kind, patterns in forms:
            for match in patterns[deed].finditer(view.text):
                start, end = match.span()
                while end > start and not view.text[end - 1].isalnum():
                    end -= 1
                if not _is_said(view.text, start, end):
                    continue
                if patterns is _BARE and _ATTRIBUTE.search(view.text[end : end + 20]):
                    continue
                offset, length = view.span(start, end)
                yield Found(kind, f"unsupported_{deed.value}", offset, length, f"nothing executed is {_A[deed]}")


_A: Final[Mapping[DeedClass, str]] = {
    DeedClass.FINANCIAL: "a payment",
    DeedClass.DELETION: "a deletion",
    DeedClass.COMMUNICATION: "a message",
    DeedClass.PERMISSION: "a change of rights",
    DeedClass.CHANGE: "a change",
}


def supported(deed: DeedClass, deeds: Sequence[Deed]) -> bool:
    """Say whether one of the executed calls is of a class: by its sensitivity, or a write by its name."""
    return any(
        (_SUPPORTS.get(deed) in one.sensitivity) or (one.writes and _NAMES[deed].search(one.tool) is not None)
        for one in deeds
    )


def _is_said(text: str, start: int, end: int) -> bool:
    """Say whether the words before and inside a match leave it a statement."""
    line = text[max(0, start - _WORDS_BEFORE) : start]
    for mark in ".!?;\n":
        line = line.rpartition(mark)[2]
    if _NOT_SAID.search(line) or _NOT_SAID.search(text[start:end]):
        return False
    rest = text[end : end + 200]
    stop = min((at for at in (rest.find(mark) for mark in ".!\n") if at >= 0), default=len(rest))
    return "?" not in rest[:stop]
