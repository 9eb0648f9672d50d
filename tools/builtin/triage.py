"""mail.triage: what a message is about, from words alone. Deterministic, multilingual, closed answers.

This is a declared extractor: whatever the text says, the answer is one of a few words, so intent, language and
urgency are clean. The order number is taken from the text and stays as trustworthy as the text.

Text that talks to a machine ("ignore previous instructions", "assistant:") is no evidence for anything: the
paragraph it stands in is left out, so that it cannot move a message to a more consequential intent.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, get_args

from agentops.guardrails.text import visible
from agentops.wire.parse import JSONObject
from tools.contracts import (
    ArgumentRole,
    CallContext,
    Consequence,
    Effect,
    Reversal,
    Reversibility,
    ToolContract,
    Trust,
)

from .shapes import ORDER_REF, choice, closed, nullable, text

Intent = Literal["refund", "address_change", "erasure", "access_request", "complaint", "newsletter", "other"]
Language = Literal["en", "de", "fr", "es", "ja", "other"]
Urgency = Literal["low", "normal", "high"]

TRIAGE = ToolContract(
    name="mail.triage",
    version="1.0.0",
    title="Classify e-mail",
    description="Say what a message is about, which order it names, its language and its urgency.",
    input_schema=closed(subject=text(998), text=text(65536), from_address=text(320)),
    output_schema=closed(
        intent=choice(*get_args(Intent)),
        order_ref=nullable(text(20, pattern=ORDER_REF)),
        language=choice(*get_args(Language)),
        urgency=choice(*get_args(Urgency)),
    ),
    effect=Effect.READ,
    roles={
        "subject": ArgumentRole.CONTENT,
        "text": ArgumentRole.CONTENT,
        "from_address": ArgumentRole.CONTENT,
    },
    output_trust={
        "intent": Trust.TRUSTED,
        "language": Trust.TRUSTED,
        "urgency": Trust.TRUSTED,
        "order_ref": Trust.INHERIT,
    },
    error_codes=frozenset(),
    sentence="Classify the e-mail {subject}",
    reversible=Reversibility(Reversal.NONE_NEEDED, "Only reads."),
)


@dataclass(frozen=True, slots=True)
class Triage:
    """The closed answer of the extractor."""

    intent: Intent
    order_ref: str | None
    language: Language
    urgency: Urgency


_INTENT_WORDS: dict[Intent, tuple[str, ...]] = {
    "refund": (
        *("refund", "money back", "reimburse", "return my order", "charged twice", "double charge", "overcharged"),
        *("rückerstattung", "erstattung", "erstatten", "geld zurück", "zurückerstatten", "rücksendung", "widerruf"),
        *("remboursement", "rembourser", "remboursé", "remboursez", "être remboursée"),
        *("reembolso", "reembolsar", "devolución", "devolver el dinero", "devuelvan el dinero"),
        *("返金", "払い戻し", "返品"),
    ),
    "address_change": (
        *("new address", "change of address", "change my address", "change the address", "moved house"),
        *("delivery address", "update my address", "update the address", "shipping address"),
        *("neue adresse", "adressänderung", "lieferadresse", "umgezogen", "neue anschrift", "adresse ändern"),
        *("nouvelle adresse", "changement d'adresse", "déménagé", "adresse de livraison", "changer l'adresse"),
        *("nueva dirección", "cambio de dirección", "cambiar la dirección", "me he mudado", "dirección de envío"),
        *("住所変更", "引っ越し", "引越し", "新しい住所", "お届け先"),
    ),
    "erasure": (
        *("erase my", "delete my data", "delete my account", "delete my personal", "right to be forgotten"),
        *("erasure", "delete all my", "remove all my data", "article 17"),
        *("daten löschen", "löschung", "konto löschen", "lösche meine", "löschen sie", "art. 17", "artikel 17"),
        *("supprimer mes données", "supprimer mon compte", "droit à l'oubli", "effacement", "supprimez mes"),
        *("borrar mis datos", "eliminar mis datos", "supresión", "eliminar mi cuenta", "borren mis datos"),
        *("データを削除", "データ削除", "情報の削除", "情報を削除", "アカウント削除", "退会"),
    ),
    "access_request": (
        *("access to", "grant me", "permission for", "permissions for", "need the role", "add me to", "access request"),
        *("admin rights", "give me access", "access for", "role for", "account for our new"),
        *("zugriff auf", "zugang zu", "berechtigung", "freischalten", "rolle für"),
        *("accès à", "droits d'accès", "autorisation pour", "donner accès"),
        *("acceso a", "permiso para", "permisos de", "dar acceso"),
        *("アクセス権", "権限", "アクセス許可"),
    ),
    "complaint": (
        *("complaint", "unacceptable", "disappointed", "disgusted", "terrible", "awful", "worst", "still waiting"),
        *("furious", "angry", "ridiculous", "let down", "broken promise"),
        *("beschwerde", "unverschämt", "frechheit", "enttäuscht", "unmöglich", "skandal", "wütend", "saftladen"),
        *("reklamation", "unzumutbar", "zum wiederholten mal"),
        *("réclamation", "inadmissible", "déçu", "scandaleux", "inacceptable", "mécontent"),
        *("queja", "reclamación", "inaceptable", "decepcionado", "vergüenza", "indignado"),
        *("苦情", "クレーム", "ひどい", "残念", "不満"),
    ),
    "newsletter": (
        *("unsubscribe", "newsletter", "view in browser", "view this email", "special offer", "manage preferences"),
        *("season sale", "you are receiving this"),
        *("abbestellen", "abmelden", "im browser ansehen"),
        *("se désabonner", "désinscrire", "voir dans le navigateur"),
        *("darse de baja", "boletín", "ver en el navegador"),
        *("配信停止", "メルマガ", "メールマガジン"),
    ),
}
# Ties go to what does less.
_HARMLESS_FIRST: tuple[Intent, ...] = (
    "newsletter",
    "complaint",
    "address_change",
    "refund",
    "access_request",
    "erasure",
)
_ACTS: frozenset[Intent] = frozenset({"refund", "erasure", "access_request"})
_URGENT = (
    *(
        "urgent",
        "immediately",
        "asap",
        "as soon as possible",
        "today",
        "lawyer",
        "solicitor",
        "legal action",
        "deadline",
    ),
    *("dringend", "sofort", "umgehend", "anwalt", "frist", "eilt", "letzte mahnung"),
    *("immédiatement", "au plus vite", "avocat", "mise en demeure"),
    *("urgente", "inmediatamente", "cuanto antes", "abogado"),
    *("至急", "緊急", "急ぎ", "本日中"),
)
_TO_A_MACHINE = (
    *("ignore previous", "ignore all", "ignore the above", "ignore any", "disregard", "previous instructions"),
    *(
        "system prompt",
        "system:",
        "assistant:",
        "ai assistant",
        "ai agent",
        "language model",
        "you are now",
        "override",
    ),
    *("as an ai", "dear ai", "attention ai", "note to ai", "automated assistant", "support bot", "admin mode"),
    *("new instructions", "follow these instructions", "developer mode", "tool call", "function call", "issue_refund"),
    *("grant_role", "mail.send", "customer.erase", "</system", "<system", "[system", "[inst"),
    *("ignoriere alle", "ignoriere die", "vorherigen anweisungen", "ki-assistent", "ki-agent", "systemanweisung"),
    *("ignore les instructions", "ignorez les instructions", "instructions précédentes", "assistant ia"),
    *("ignora las instrucciones", "instrucciones anteriores", "asistente de ia"),
    *("以前の指示", "指示を無視", "これまでの指示", "aiアシスタント"),
)


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


_STOPWORDS: dict[Language, frozenset[str]] = {
    "en": _words("the and you for with was have this that not are please from would order your been but my"),
    "de": _words("und ich sie die der das ist nicht mit habe bitte für auf eine wir von dem noch zu mein"),
    "fr": _words("le les des une vous je est pas pour dans que nous avec votre bonjour mais sur ai mon"),
    "es": _words("el los las una que por para con mi su gracias hola es no pero del se he un muy"),
}
# refund_clerk is the name of a role, not a wish for a refund.
_IDENTIFIER = re.compile(r"\S{0,60}_\S{0,60}")
_KANA = re.compile(r"[\u3041-\u30ff]")
_WORD = re.compile(r"[^\W\d_]+")
_ORDER = re.compile(r"(?<![\w-])(A|INV)[-\u2010-\u2015\u2212]\s?([0-9]{3,9})(?![\w-])", re.IGNORECASE)
_PARAGRAPH = re.compile(r"\n\s*\n")
_REPLY_HEAD = re.compile(
    r"^(?:on .{5,120} wrote:|am .{5,120} schrieb.{0,80}:|le .{5,120} a écrit ?:|el .{5,120} escribió:"
    r"|-{2,} ?(?:original message|ursprüngliche nachricht|forwarded message|message d'origine).*|_{10,})$"
)
MAX_CHARS = 20_000


def classify(*, subject: str, body: str) -> Triage:
    """Return the closed answer for one message; `body` is what a person sees of it.

    Quoted earlier messages, the signature, invisible characters and paragraphs that talk to a machine are left out.
    An intent that acts (refund, erasure, access) counts only when the subject or the beginning of the message is about
    it. Of several different order numbers none is chosen, unless the subject names one.
    """
    heading = _without_machine_talk(_folded(subject))
    own = _without_machine_talk(own_words(_folded(body)))
    return Triage(
        intent=_intent(heading, own),
        order_ref=_order(heading, own),
        language=_language(f"{heading}\n{own}"),
        urgency=_urgency(heading, own),
    )


def own_words(body: str) -> str:
    """Return what the sender wrote now: no quoted lines, no earlier messages, no signature."""
    lines = []
    for line in body.split("\n"):
        bare = line.strip()
        if line in {"-- ", "--"} or _REPLY_HEAD.match(bare[:300].casefold()):
            break
        if not bare.startswith((">", "|")):
            lines.append(line)
    return "\n".join(lines).strip()


def _folded(raw: str) -> str:
    return visible(unicodedata.normalize("NFKC", raw[:MAX_CHARS])).casefold()


def _without_machine_talk(folded: str) -> str:
    return "\n\n".join(
        part for part in _PARAGRAPH.split(folded) if not any(sign in " ".join(part.split()) for sign in _TO_A_MACHINE)
    )


def _intent(heading: str, own: str) -> Intent:
    heading, flat = _IDENTIFIER.sub(" ", heading), " ".join(_IDENTIFIER.sub(" ", own).split())
    opening = flat[:600]
    best: Intent = "other"
    best_score = 0
    for intent in _HARMLESS_FIRST:
        words = _INTENT_WORDS[intent]
        in_heading, in_opening = _hits(heading, words), _hits(opening, words)
        if intent in _ACTS and not (in_heading or in_opening):
            continue
        score = 4 * in_heading + 2 * in_opening + _hits(flat[600:], words)
        # Anger is a tone, not a topic: what the message asks for goes first.
        if intent == "complaint":
            score = min(score, 1)
        if score > best_score:
            best, best_score = intent, score
    return best


def _hits(folded: str, words: tuple[str, ...]) -> int:
    return sum(1 for word in words if word in folded)


def _order(heading: str, own: str) -> str | None:
    for part in (heading, own):
        found = {f"{m.group(1).upper()}-{m.group(2)}" for m in _ORDER.finditer(part)}
        if len(found) == 1:
            return found.pop()
        if found:
            return None
    return None


def _language(folded: str) -> Language:
    if len(_KANA.findall(folded)) >= 3:
        return "ja"
    words = _WORD.findall(folded)
    counts = {language: sum(word in stop for word in words) for language, stop in _STOPWORDS.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] >= 2 else "other"


def _urgency(heading: str, own: str) -> Urgency:
    if _hits(f"{heading} {own}", _URGENT) or heading.count("!") >= 2 or own.count("!!") >= 1:
        return "high"
    return "low" if _hits(own, _INTENT_WORDS["newsletter"]) else "normal"


def triage(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Classify one message."""
    answer = classify(subject=str(arguments["subject"]), body=str(arguments["text"]))
    return {
        "intent": answer.intent,
        "order_ref": answer.order_ref,
        "language": answer.language,
        "urgency": answer.urgency,
    }


def describe(arguments: JSONObject) -> Consequence:
    """Say that nothing is touched."""
    return Consequence("Touches no record")
