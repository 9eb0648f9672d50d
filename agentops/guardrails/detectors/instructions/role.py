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
