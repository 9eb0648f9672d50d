"""What a reader is to keep from its user, and what it is to give away."""

from collections.abc import Iterator

from agentops.guardrails.detectors.matching import Rule
from agentops.guardrails.score import Family


def rules() -> Iterator[Rule]:
    """Yield the rules for texts in English."""
    i = Family.INSTRUCTION
    yield Rule(
        i,
        "hush",
        0.5,
        (
            "no need to ask",
            "no need for",
            "tell the user",
            "inform the user",
            "mention th",
            "tell anyone",
            "the user know",
            "notify the user",
            "alert the user",
            "reveal th",
            "user aware",
            "without telling",
            "without informing",
            "without mentioning",
            "without notifying",
            "without asking",
            "without confirm",
            "do not disclose",
            "don't disclose",
            "keep this secret",
            "keep this hidden",
            "silently",
            "user's knowledge",
            "without the user",
            "not ask for",
            "don't ask for",
            "do not ask",
            "not warn",
            "n't warn",
            "acknowledge th",
            "n't mention",
            "not mention",
            "never mention",
            "the user see",
            "user's consent",
            "to the user",
        ),
        r"(?:(?:do not|don['’]?t|never|without|avoid|must not|should not|refrain from) (?:\w+ ){0,2}?(?:tell|inform|notify|alert|mention|let|show|reveal|warn|disclos\w+|telling|informing|notifying|alerting|mentioning|letting|showing|revealing|acknowledg\w+|explain\w*|asking|ask)(?: \w+){0,4}? (?:user|users|anyone|anybody|human|operator|customer|owner|this (?:instruction|message|note|prompt|request|step|to)|these (?:instructions|steps)|confirmation|permission|approval)"
        r"|\bno need (?:to (?:ask|wait|check|inform|tell|notify)|for (?:any )?(?:confirmation|approval|permission))"
        r"|(?:without|no need for|not require) (?:the |any )?(?:user|human|operator)['’]?s? (?:\w+ ){0,2}?(?:knowledge|consent|confirmation|approval|noticing|knowing|permission|interaction)"
        r"|\b(?:silently|quietly|secretly|covertly|discreetly) (?:\w+ ){0,2}?(?:send|forward|email|call|execute|run|upload|transfer|include|add|append|post|copy|exfiltrate|perform|delete|invoke))",
        "Asks to keep something from the user",
    )
    yield Rule(
        i,
        "reveal",
        0.5,
        (
            "system prompt",
            "system message",
            "initial prompt",
            "initial instruction",
            "your instruction",
            "original instruction",
            "hidden instruction",
            "your prompt",
            "secret key",
            "hidden prompt",
            "your system",
            "above instruction",
            "previous instruction",
            "prior instruction",
            "instructions verbatim",
            "prompt verbatim",
            "your rules",
            "your guidelines",
            "secret word",
            "confidential",
            "instructions above",
            "text above",
            "words above",
            "everything above",
            "your initial",
            "your configuration",
            "developer message",
            "conversation history",
            "chat history",
            "internal instruction",
        ),
        r"(?:\b(?:reveal|show|print|repeat|output|display|tell|give|share|leak|disclose|dump|expose|list|write|return|send|include|summari[sz]e|translate|copy|recite|provide|echo|append|spell|encode|what(?:'s| is| are| were)?)\b(?:\W+\w+){0,6}?\W+"
        r"(?:(?:system|initial|hidden|secret|original|developer|internal|full|entire|starting|first) (?:prompt|message|instructions?|rules|configuration)|your (?:\w+ )?(?:instructions?|prompt|rules|guidelines|secret key|password|system|configuration|programming)|(?:the )?secret (?:key|word|code|password|phrase)"
        r"|(?:instructions?|text|words|prompt|everything|message)s? (?:above|before|verbatim|you were given|you received|that you)|(?:conversation|chat|message) (?:history|log)))",
        "Asks for what a reader was told in confidence",
    )
    yield Rule(
        i,
        "reveal_secret",
        0.4,
        (
            "password",
            "secret",
            "api key",
            "api-key",
            "credentials",
            "system prompt",
            "your instructions",
            "hidden",
            "favorite",
            "the key",
            "access code",
            "passcode",
            "guidelines",
            "context window",
            "prompt above",
            "your prompt",
            "previous conversation",
            "confidential",
            "internal",
        ),
        (
            r"(?:\b(?:what(?:['’]s| is| are| was| were)|tell me|give me|show me|share|reveal|provide|send me|print|output|list|display|dump|disclose|spell|encode|translate|repeat|write|know|see|access|summari[sz]e|describe|explain|recite|quote|leak|return|echo|confirm|hint) (?:me |us |out |to |about |all |any |of |the |your |full |exact |entire |complete |user'?s? |current |original |secret |own |initial |internal |first |verbatim |hidden |a |for ){0,7}?(?:system prompt|secret key|secret word|secret code|secret passw?(?:ord|hrase)|secret|hidden (?:instructions?|prompt|rules|message|information|text)|internal (?:instructions?|prompt|rules|guidelines|policy|policies|configuration|documentation|notes|data)|initial (?:instructions?|prompt|message)|previous conversations?|confidential \w+|favorite color|(?:prompt|instructions?|conversation|context) (?:above|so far|you (?:were|have been) (?:given|told)))"
            r"|\byour (?:exact |full |complete |entire |original |own |initial |current |hidden |secret ){0,3}(?:system prompt|system instructions?|system message|initial prompt|initial instructions|training data|instructions|prompt) (?:verbatim|word for word|exactly|in full|above|as (?:a|an|json|text|is)|in (?:a|base64|json|markdown|your|reverse|the|french|german|spanish)|so|to|and|out|line)\b"
            r"|\b(?:were you|you were|you've been|you have been|are you) (?:told|instructed|given|asked|programmed|configured)(?: not)? (?:to|with|by|in|before|at)\b)"
        ),
        "Asks for a secret of a reader",
        140,
        160,
    )
