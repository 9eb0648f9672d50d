"""Another role or mode for a reader."""

from collections.abc import Iterator

from agentops.guardrails.detectors.matching import Rule
from agentops.guardrails.score import Family


def rules() -> Iterator[Rule]:
    """Yield the rules for texts in English."""
    i = Family.INSTRUCTION
    yield Rule(
        i,
        "role",
        0.46,
        (
            "you are now",
            "you're now",
            "from now on",
            "act as",
            "pretend",
            "roleplay",
            "role-play",
            "role play",
            "you will be",
            "imagine you",
            "you are going to",
            "behave as",
            "you are about to",
            "do anything now",
            "developer mode",
            "jailbreak",
            "dan mode",
            "unrestricted",
            "no longer bound",
            "freed from",
            "stay in character",
            "simulate",
            "take on the role",
            "assume the role",
            "you are free",
            "god mode",
            "debug mode",
            "maintenance mode",
            "admin mode",
            "sudo mode",
            "without restrictions",
            "no restrictions",
            "without any restrictions",
        ),
        r"(?:\byou(?: are|'re|’re) now (?:an? |the |in |my |going|acting|operating|playing|free|no longer|called|connected|speaking)"
        r"|\b(?:from now on|henceforth|going forward|starting now),? ?(?:you|your|respond|answer|reply|act|always|only|ignore|all|speak|write|do|every|i want|when|in)\b"
        r"|\b(?:pretend|imagine|act as (?:if|though)|behave as (?:if|though)) (?:that )?(?:you(?: are|'re| have| were| can)?|to be)\b"
        r"|\bact as (?:an? |my |the )(?:\w+ ){0,4}?(?:assistant|ai|bot|model|terminal|interpreter|hacker|dan|character|expert|machine|console|agent|admin\w*|root)\b"
        r"|\b(?:role-?\s?play(?:ing)?|take on the role|assume the role|immerse yourself|play the role|stay in character)\b"
        r"|\b(?:do anything now|developer mode|dan mode|god mode|sudo mode|jailbr(?:eak|oken)|unrestricted (?:mode|ai|model|access)|(?:debug|maintenance|admin|diagnostic|test|evil|root) mode (?:is )?(?:enabled|activated|on|engaged)|(?:enter|activate|enable|switch to) (?:\w+ ){0,2}?mode)\b"
        r"|\b(?:without|no|free (?:from|of)) (?:any )?(?:ethical|moral|safety|content|such)? ?(?:restrictions?|limitations|guidelines|filters|censorship)\b"
        r"|\b(?:are|is) (?:free(?:d)?|released|no longer bound) (?:from|of|by|to)\b)",
        "Gives a reader another role or mode",
    )
    yield Rule(
        i,
        "unbound_role",
        0.5,
        (
            "restriction",
            "guideline",
            "limitation",
            "filter",
            "censor",
            "refus",
            "unfiltered",
            "uncensored",
            "unrestricted",
            "ethic",
            "moral",
            "safeguard",
            "guardrail",
            "any rules",
            "no rules",
            "morals",
        ),
        (
            r"(?:\b(?:you|gpt|ai|model|assistant|bot|character|it|he|she|who|that|which|respond\w*|answers?|comply|complies)\b[^.\n]{0,80}?\b(?:no|without|free (?:of|from)|has no|have no|ignores?|lacks?|not bound by|beyond|bypass\w*|disables?|never refuses?) (?:any |all |the |your |its |of |content |ethical |moral |safety |or |and |usual |standard |built-?in ){0,5}?(?:restrictions?|guidelines?|limitations?|limits|filters?|filtering|censorship|refus\w*|ethics|morals|morality|safeguards?|guardrails?|rules|boundaries|constraints)\b"
            r"|\b(?:unfiltered|uncensored|unrestricted|unaligned|unmoderated|unlimited|amoral) (?:\w+ )?(?:ai|assistant|model|response|answer|version|mode|gpt|chatbot|language|output)s?\b"
            r"|\byou (?:are|will|must|should|can|do) (?:\w+ )?(?:never|not) (?:refuse|decline|say no|reject|apologi[sz]e|moralize|add (?:warnings?|disclaimers?)|warn)\b"
            r"|\b(?:never|do not|don't|cannot|can't) (?:refuse|decline) (?:any|a|to|the|my|anything)\b)"
        ),
        "Frees a reader of its limits",
        200,
        140,
    )
    yield Rule(
        i,
        "role_named",
        0.42,
        (
            "you are ",
            "you're ",
            "as an ai",
            "your name is",
            "call yourself",
            "acting as",
            "play as",
            "respond as",
            "answer as",
            "speak as",
            "roleplay",
            "role-play",
            "persona",
        ),
        (
            r"(?:\byou(?: are|'re|’re)(?: now)? (?:called |named )?[\"'“‘«]?\w{0,20}(?:gpt|bot\b|\bdan\b|\bai\b|jarvis)[\w-]{0,12}"
            r"|\byou(?: are|'re) (?:now )?(?:an? |the )(?:\w+,? ){0,4}?(?:ai|assistant|chatbot|language model|hacker|terminal|shell|console|interpreter|bot)\b(?:\W+\w+){0,8}?\W+(?:that|who|which|with|without|named|called|and|trained|designed)\b"
            r"|\b(?:your name is|call yourself|you will (?:now )?(?:play|act|roleplay|respond|answer|behave|pretend|speak) (?:as|like|to be|in)) (?:an? |the )?[\"'“‘«]?\w"
            r"|\b(?:respond|answer|reply|speak|continue|stay|remain) (?:to me |only )?(?:as|in) (?:the )?(?:character|[\"'“‘]?[\w. ]{2,30}[\"'”’]? (?:would|does|persona)|dan|persona)\b)"
        ),
        "Gives a reader a name or a character",
        20,
        200,
    )
