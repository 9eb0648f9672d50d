"""Orders to leave the instructions that a reader was given, and claims that its task is over."""

from collections.abc import Iterator
from typing import Final

from agentops.guardrails.detectors.matching import Rule
from agentops.guardrails.score import Family

_W: Final = r"[\s\W_]{1,8}"

_VERBS: Final = (
    r"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overlook|neglect|dismiss|discard|abandon|pay no (?:attention|heed) to"
    r"|(?:do not|don'?t|never|stop) (?:follow|obey|comply with|adher\w+ to|pay attention to|listen to|consider|abide by)(?:ing)?"
    r"|set aside|put aside|let go of|nullify|unlearn|nevermind|never mind|cease following)"
)
_SOFT_VERBS: Final = r"\b(?:override|overrid(?:e|ing)|overwrite|bypass|skip|replace|supersede|drop|break|circumvent|reset|clear|delete|suspend|wipe|erase|cancel|void|scrap|throw (?:away|out))"
_EARLIER: Final = (
    r"(?:previous(?:ly)?|prior|preceding|above|earlier|before|former|foregoing|past|existing|original|initial|old|other|all|any|every(?:thing)?"
    r"|your|system|current|safety|content|developer|pre-?existing|built-?in|programmed|given)"
)
_ORDERS: Final = (
    r"(?:instruct\w*|prompts?\b|directives?|directions|guidelines?|guidance|rules?\b|command(?:s|ments?)?\b|orders?\b|polic(?:y|ies)|constraints?"
    r"|programming|training|restrictions?|safeguards?|guardrails?|context\b|messages?\b|requests?\b|tasks?\b|safety|protocols?|filters?|moderation)"
)
_IGNORE_WORDS: Final = (
    *(
        "ignore",
        "ignoring",
        "disregard",
        "forget",
        "overlook",
        "neglect",
        "dismiss",
        "discard",
        "abandon",
        "pay no ",
        "not follow",
        "n't follow",
    ),
    *(
        "dont follow",
        "never follow",
        "stop follow",
        "not obey",
        "stop obey",
        "n't obey",
        "comply with",
        "adher",
        "attention to",
        "listen to",
    ),
    *(
        "set aside",
        "put aside",
        "let go of",
        "nullify",
        "unlearn",
        "never mind",
    ),
    *("nevermind", "cease following", "abide by", "not consider"),
)


def rules() -> Iterator[Rule]:
    """Yield the rules for texts in English."""
    i = Family.INSTRUCTION
    yield Rule(
        i,
        "override",
        0.75,
        _IGNORE_WORDS,
        rf"(?:{_VERBS}{_W}(?:\w+{_W}){{0,6}}?{_EARLIER}(?:{_W}\w+){{0,4}}?{_W}{_ORDERS}"
        rf"|{_VERBS}{_W}(?:\w+{_W}){{0,3}}?(?:instruct\w*|guidance|guidelines?|directions|directives?|prompts?|rules|orders){_W}(?:\w+{_W}){{0,5}}?(?:earlier|before|previously|above|so far|up to now|you received|given to you))",
        "Tells a reader to disregard the instructions it was given",
    )
    yield Rule(
        i,
        "override_all",
        0.5,
        _IGNORE_WORDS,
        rf"{_VERBS}{_W}(?:(?:all|everything|anything|what(?:ever)?|the|that|of|is|was|you|i|we|have|has|been|about|else|all that)['’\w]*{_W}){{0,6}}?"
        r"(?:above|before|previous(?:ly)?|said|told|asked|instructed|learned|written|prior|rest of (?:this|the) (?:data|text|document|message|page|task))",
        "Tells a reader to disregard what came before",
    )
    yield Rule(
        i,
        "override_soft",
        0.4,
        (
            "override",
            "overriding",
            "overwrite",
            "bypass",
            "skip",
            "replace",
            "supersede",
            "drop",
            "break",
            "circumvent",
            "reset",
            "clear",
            "delete",
            "suspend",
            "wipe",
            "erase",
            "cancel",
            "void",
            "scrap",
            "throw ",
        ),
        rf"{_SOFT_VERBS}{_W}(?:\w+{_W}){{0,3}}?(?:your|all|any|previous|prior|earlier|safety|original|initial){_W}(?:\w+{_W}){{0,3}}?(?:instructions?|prompts?|directives?|guidelines?|programming|restrictions?|safeguards?|guardrails|safety|filters?|system prompt)",
        "Tells a reader to get around its instructions",
        also=(
            "instruction",
            "prompt",
            "directive",
            "guideline",
            "programming",
            "restriction",
            "safeguard",
            "guardrail",
            "safety",
            "filter",
        ),
    )
    yield Rule(
        i,
        "override_squeezed",
        0.7,
        (
            "ignore",
            "disregard",
            "forget",
            "override",
            "systemprompt",
            "tellingtheuser",
            "telltheuser",
            "youarenow",
            "yournew",
        ),
        r"(?:ignore|disregard|forget|override)(?:all|any|the|your|my|these|those|everything){0,3}(?:previous|prior|above|earlier|instruction)|(?:your|reveal(?:your|the))systemprompt|(?:donottell|withouttelling)theuser|youarenow(?:an?unrestricted|dan)|yournew(?:instructions|taskis)",
        "Tells a reader to disregard its instructions, in letters run together",
    )
    yield Rule(
        i,
        "superseded",
        0.55,
        (
            "supersede",
            "take precedence",
            "takes precedence",
            "replaces",
            "replace ",
            "no longer",
            "override",
            "outdated",
            "new instruction",
            "updated instruction",
            "instruction update",
            "actual task",
            "real task",
            "new task",
            "new objective",
            "new directive",
            "real instruction",
            "true objective",
            "new goal",
            "following instruction",
            "instructions below",
            "revised instruction",
        ),
        r"(?:(?:supersedes?|takes? precedence over|replaces?|overrides?|cancels?) (?:\w+ ){0,4}?(?:your|previous|prior|earlier|existing|original|other|any|all)\b(?:\W+\w+){0,3}?\W+(?:instruct\w+|prompts?|directives?|orders?|guidelines?|rules|tasks?)"
        r"|(?:previous|prior|earlier|original|above) (?:instructions?|prompts?|directives?|tasks?|orders?) (?:are|is|were|was|have been|has been) (?:\w+ ){0,2}?(?:no longer|void|cancell?ed|superseded|replaced|outdated|obsolete|invalid|overridden|revoked|completed?|test)"
        r"|\b(?:new|updated|revised|real|actual|true|additional|urgent|important|mandatory|hidden|secret) (?:system )?(?:instructions?|directives?|objectives?|task|orders?|goal) (?:for (?:the )?(?:ai|assistant|agent|model|you|llm|bot|system)|(?:is|are)?\s?:)"
        r"|\byour (?:new|real|actual|true|only|primary|next|first|current) (?:\w+ )?(?:task|goal|objective|instructions?|directives?|role|job|mission|purpose|orders?)\b"
        r"|(?:strictly )?(?:adhere to|follow|obey|execute|carry out|comply with) (?:only )?(?:the|these|this|my) (?:following|new|below|next) (?:instructions?|directives?|commands?|steps|orders?))",
        "Gives a reader a new task in place of its own",
    )
    yield Rule(
        i,
        "end_of_task",
        0.35,
        (
            "task complete",
            "end of document",
            "end of text",
            "end of data",
            "end of context",
            "end of prompt",
            "user's request has been",
            "task is complete",
            "task is done",
            "tasks are complete",
            "great job",
            "task completed",
            "now that you",
            "end of input",
            "answer: task",
            "new conversation",
            "end of email",
            "end of article",
            "end of instructions",
            "end of user",
        ),
        r"(?:\b(?:task|request|summary|job|translation)s? (?:is |are |has been |have been |was )?(?:now )?(?:complete[d]?|done|finished|fulfilled)\b[.!,:;]?\W{0,6}(?:now|next|please|your|new|ignore|then|here|also|you|instead|print|say|output|proceed|start)"
        r"|[-=*#<\[(]{2,} ?(?:end|start|begin)(?:ning)? (?:of )?(?:the )?(?:user |system |untrusted |retrieved )?(?:document|text|data|context|prompt|input|email|article|instructions?|content|message|query|file|conversation|results?|output)s?\b ?[-=*#>\])]{2,}|\bend of (?:document|text|data|context|prompt|input|instructions|user input|article|email)\b\W{0,8}(?:new|now|system|ignore|next|instructions?|begin|start|task|user|assistant)|\bnew conversation (?:starts|begins|session)\b)",
        "Claims that the reader's task is over",
    )
