"""Claims to speak with authority over a reader."""

from collections.abc import Iterator

from agentops.guardrails.detectors.matching import Rule
from agentops.guardrails.score import Family


def rules() -> Iterator[Rule]:
    """Yield the rules for texts in English."""
    i = Family.INSTRUCTION
    yield Rule(
        i,
        "important_message",
        0.45,
        (
            "important message",
            "important instruction",
            "important!!!",
            "important:",
            "important note",
            "urgent:",
            "urgent!",
            "<important>",
            "<information>",
            "system notice",
            "system alert",
            "system override",
            "system update",
            "system message",
            "admin override",
            "security notice",
            "administrator",
            "priority override",
            "from me,",
            "message from",
            "notice from",
            "from your developer",
            "from your creator",
            "critical:",
            "mandatory:",
            "this is your",
            "openai",
            "anthropic",
            "security team",
            "emergency",
        ),
        r"(?:\bthis is an? (?:\w+ )?(?:important|urgent|critical|official|priority|mandatory|authorized|emergency|automated)? ?(?:message|notice|instruction|request|order|directive|update|override) from\b"
        r"|\bimportant (?:message|instructions?|notice|request) (?:from|to|for)\b"
        r"|\b(?:system|admin(?:istrator)?|developer|root|security|priority|emergency) (?:override|notice|alert|update|directive|command|instruction|message|notification|request)\s?(?:[:!\]\-—]|code|mode|engaged|activated|initiated)"
        r"|<(?:important|information|instructions?|secret|admin|priority|urgent|critical|note_to_\w+)>"
        r"|\b(?:important|urgent|attention|critical)\s?!{2,}|!{3,} ?(?:important|urgent|attention|ignore|stop|system)"
        r"|\b(?:from|by|authori[sz]ed by|approved by|on behalf of|behalf of) (?:your |the )?(?:developers?|creators?|system administrators?|administrators?|openai|anthropic|google|meta|microsoft|it department|security team|owner)\b(?:\W+\w+){0,6}?\W+(?:you|must|instruct|request|require|order|asked|please))",
        "Claims to speak with authority over a reader",
    )
