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
    yield Rule(
        i,
        "approved",
        0.45,
        (
            "already approved",
            "already authori",
            "already confirmed",
            "already agreed",
            "already consented",
            "pre-approved",
            "preapproved",
            "pre-authori",
            "has approved",
            "has authori",
            "have authori",
            "been approved",
            "been authori",
            "been verified",
            "user agreed",
            "explicitly authori",
            "on behalf of the user",
            "user has asked",
            "user wants you",
            "user has requested",
            "user consents",
            "has consented",
            "previously approved",
            "user asked",
            "user confirmed",
            "user has already",
            "user already",
            "you confirmed",
            "you agreed",
            "you already",
        ),
        (
            r"(?:\b(?:the |your |our |this )?(?:user|customer|owner|admin(?:istrator)?|operator|client|human|manager|management|ceo|cfo|security team|legal|compliance|supervisor|account holder|developer)s? (?:has |have |had |is |was )?(?:already |previously |explicitly |fully |hereby |also |now )*(?:been )?(?:approved|authori[sz]ed|confirmed|agreed|consented|pre-?approved|requested|verified|granted|signed off|cleared|wants? you|asks? you|asked you|instructed|okayed|given (?:permission|consent|approval))\b"
            r"|\b(?:this|the|it|that|such|these)(?: \w+){0,3}? (?:has|have|is|was|are) (?:already |been |previously |fully )*(?:pre-?approved|pre-?authori[sz]ed|approved by|authori[sz]ed by|cleared by|verified by|approved in (?:a |an |the )?(?:earlier|previous))\b"
            r"|\b(?:earlier|previously|already|before),? you (?:confirmed|agreed|said|promised|told|approved|accepted)\b|\byou (?:already|previously) (?:agreed|confirmed|approved|accepted|promised)\b)"
        ),
        "Claims that something was agreed to already",
        60,
        160,
    )
    yield Rule(
        i,
        "authority",
        0.4,
        (
            "administrator",
            "openai",
            "anthropic",
            "creator",
            "engineer",
            "security team",
            "i am your",
            "this is your",
            "it department",
            "diagnostic",
            "maintenance",
            "ceo",
            "on behalf",
            "red team",
            "calibration",
            "emergency",
            "override code",
            "authorization code",
            "debug mode",
            "debugging",
            "debug session",
            "security audit",
            "compliance ",
            "an authorized",
            "an authorised",
            "an admin",
            "your admin",
            "the admin",
            "your developer",
            "the developer",
            "a developer",
            "developers",
        ),
        (
            r"(?:\b(?:i am|i['’]m|this is|we are|it['’]s|speaking as) (?:\w+ )?(?:your|the|an?|one of your) (?:\w+ ){0,3}?(?:developers?|creators?|administrators?|admin|engineers?|owners?|operators?|maintainers?|programmers?|supervisor|ceo|security (?:team|officer|researcher|engineer)|auditor|sysadmin|red team\w*)\b"
            r"|\b(?:note|message|notice|instructions?|update|request|directive|announcement|memo|command|order)s? (?:from|by|of) (?:the |your |our )?(?:\w+ ){0,2}?(?:developers?|creators?|administrators?|admins?|engineers?|security team|it (?:department|team|support)|management|ceo|system|operators?|owners?|openai|anthropic|google|microsoft|meta|vendor|platform)\b"
            r"|\b(?:this is|i['’]m (?:running|conducting|doing|performing)|as part of|for|run|running|perform|enter|initiate) (?:an? |the |this |our )?(?:authori[sz]ed |official |routine |security |internal |scheduled |emergency |system |required |mandatory |safety |automated ){0,3}(?:diagnostics?(?: \w+)?|debug(?:ging)? (?:session|mode|purposes)|maintenance (?:mode|check|procedure)|security (?:audit|test|check|review|assessment|research|drill)|compliance (?:check|audit|review|test)|penetration test|red[- ]team\w*|safety (?:test|evaluation|audit|drill)|calibration|system (?:check|test|audit|override)|stress test)\b"
            r"|\b(?:authori[sz]ation|override|access|admin|security|clearance|verification) (?:code|key|token|level|id)s?:? ?[a-z]{0,10}[-_ ]?[a-z]*[-_]?\d{2,}"
            r"|\b(?:openai|anthropic|google|microsoft|meta)(?:['’]s)? (?:\w+ ){0,3}?(?:requires?|policy|policies|has|have|authori[sz]ed|instructs?|team|staff|employee|engineer|asks?)\b)"
        ),
        "Claims to be somebody who may give orders to a reader",
        120,
        180,
    )
