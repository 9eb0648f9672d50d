"""Instructions to an agent inside of what should be data: English by hand, other languages from their lexicon."""

from collections.abc import Iterator
from typing import Final

from agentops.guardrails.detectors.lexicon import LEXICON, UNSPACED, Lexicon
from agentops.guardrails.detectors.matching import Rule, any_of, words_of
from agentops.guardrails.score import Family

_GAP: Final = "[^.!?。！？।]"
_W: Final = r"[\s\W_]+"

_VERBS: Final = (
    r"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overlook|neglect|dismiss|discard|abandon|pay no (?:attention|heed) to"
    r"|(?:do not|don'?t|never|stop) (?:follow|obey|comply with|adher\w+ to|pay attention to|listen to|consider|abide by)(?:ing)?"
    r"|set aside|put aside|let go of|throw (?:away|out)|wipe|erase|nullify|cancel|void|scrap|unlearn|nevermind|never mind|cease following)"
)
_SOFT_VERBS: Final = r"\b(?:override|overrid(?:e|ing)|overwrite|bypass|skip|replace|supersede|drop|break|circumvent|reset|clear|delete|suspend)"
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
        "throw ",
        "wipe",
        "erase",
        "nullify",
        "cancel",
        "void",
        "scrap",
        "unlearn",
        "never mind",
    ),
    *("nevermind", "cease following", "abide by", "not consider"),
)


def _english() -> Iterator[Rule]:
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
        ("ignore", "disregard", "forget"),
        r"(?:ignore|disregard|forget)(?:all|any|the|your|my|these|those){0,3}(?:previous|prior|above|earlier|your|all)(?:system|given)?(?:instruct|prompt|direct|rule|guideline)",
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
        "agent",
        0.3,
        (
            "language model",
            "ai assistant",
            "ai agent",
            "ai model",
            "ai system",
            "llm",
            "chatbot",
            "gpt",
            "claude",
            "copilot",
            "gemini",
            "assistant",
            "as an ai",
            "if you are an",
            "if you're an",
            "automated system",
            "bots reading",
            "ai reading",
            "ai tool",
            "agents reading",
            "llama",
            "virtual assistant",
            "the ai",
            "dear ai",
            "hey ai",
            "note to ai",
            "attention ai",
            "ai:",
            "ai,",
            "agent:",
            "agents:",
            "agent,",
        ),
        r"(?:\bif you(?: are|'re|’re) (?:an? )?(?:ai|llm|large language model|language model|assistant|agent|bot|gpt\w*|claude|automated|machine|artificial|chatbot|model)\b"
        r"|\b(?:attention|note|notice|message|instructions?|hey|hello|hi|dear|to|for|important|reminder|warning|directive|begin)(?: to| for| from)?(?: all| any| the| an| every| any)?:?,? (?:ai(?: (?:assistants?|agents?|models?|systems?|tools?|bots?))?|llms?|language models?|assistants?|agents?|chatbots?|bots?|gpt(?:-?\d)?|chatgpt|claude|copilot|gemini|automated (?:systems?|agents?))\s?[,:!.\]\n—-]"
        r"|\b(?:the |any |an |this )?(?:ai|llm|ai agent|ai assistant|assistant|language model|agent|model|chatbot|copilot|chatgpt|claude|gemini) (?:must|should|shall|has to|needs to|is (?:required|instructed|ordered|asked|requested|authorized|authorised) to|will now|reading this|processing this|parsing this|summari[sz]ing this)\b"
        r"|\b(?:assistants?|agents?|ai|llms?|bots?|models?) (?:reading|processing|parsing|summari[sz]ing|reviewing|indexing|crawling|analy[sz]ing) (?:this|these)\b"
        r"|(?:^|[\n\[(<*#>\"' ])(?:ai assistant|ai agent|ai|llm|assistant|agent|chatgpt|gpt|claude|copilot|bot)\s?[,:] ?(?:please |now |you |kindly |immediately )?(?:\w+ly )?(?:ignore|disregard|forget|send|email|forward|call|use|execute|run|respond|reply|answer|say|print|output|tell|write|do|add|include|transfer|delete|append|follow|stop|click|open|visit|fetch|read|reveal|you)\b)",
        "Speaks to a program that reads, not to a person",
    )
    yield Rule(
        i,
        "agent_called",
        0.55,
        (
            "if you are",
            "if you're",
            "reading this",
            "processing this",
            "parsing this",
            "summarizing this",
            "summarising this",
            "reviewing this",
            "note to",
            "notice to",
            "attention",
            "instructions for",
            "instruction for",
            "message to",
            "message for",
        ),
        r"(?:\bif you(?: are|'re|’re) (?:an? )?(?:ai|llm|large language model|language model|ai assistant|ai agent|chatbot|artificial intelligence)\b"
        r"|\b(?:assistants?|agents?|ai|llms?|bots?|models?) (?:that (?:is|are) )?(?:reading|processing|parsing|summari[sz]ing|reviewing) (?:this|these)\b"
        r"|\b(?:note|notice|attention|message|instructions?) ?(?:to|for|,|:)? (?:all |any |the |every )?(?:ai (?:assistants?|agents?|models?|systems?|readers?)|llms?|language models?|ai)\b ?(?:reading|processing|:|,|who|that|summari))",
        "Calls on a program that reads",
    )
    yield Rule(
        i,
        "only_print",
        0.55,
        (
            "just print",
            "just say",
            "just output",
            "just respond",
            "just reply",
            "just write",
            "only print",
            "only say",
            "only output",
            "simply print",
            "simply say",
            "simply output",
            "instead print",
            "instead say",
            "instead output",
            "instead, print",
            "instead, say",
            "stop everything",
            "stop what you",
        ),
        r"(?:\b(?:just|only|simply|instead),? (?:print|say|output|respond|reply|write)(?: with| the (?:word|phrase|sentence|text|following))?:?\s{0,3}[\"'“‘«<\[]|\bstop (?:everything|what you(?: a|')re doing)\b)",
        "Dictates the one thing a reader is to say",
    )
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
        "answer_only",
        0.46,
        (
            "respond with",
            "reply with",
            "answer with",
            "just print",
            "just say",
            "just output",
            "only say",
            "only output",
            "only print",
            "only respond",
            "respond only",
            "reply only",
            "answer only",
            "print exactly",
            "say exactly",
            "output exactly",
            "instead say",
            "instead print",
            "instead output",
            "instead, ",
            "print the",
            "simply say",
            "simply output",
            "simply print",
            "and print",
            "and say",
            "and output",
            "and then say",
            "then say",
            "begin your",
            "start your",
            "end your",
            "in your response",
            "your response",
            "your answer",
            "your reply",
            "your summary",
            "your output",
            "repeat after",
            "repeat the following",
            'write "',
            'print "',
            'say "',
            'output "',
            "your message",
            "your final",
        ),
        r"(?:\b(?:just|only|simply|instead|exactly|and|then|now|please|must|always|should)\b,? (?:then )?(?:say|print|output|respond|reply|answer|write|return|state|repeat|display|echo)(?:\W+(?:with|the|only|exactly|following|phrase|word|words|sentence|text|that|this|just|in))*\W*[\"'“‘«`<\[]"
        r"|\b(?:respond|reply|answer) (?:only )?(?:with|only|exactly|using|in)\b(?:\W+\w+){0,3}?\W*[\"'“‘`<\[]"
        r"|\b(?:add|include|insert|append|integrate|incorporate|mention|put|embed|place|begin|start|end|finish|conclude|prefix|precede|follow|modify|augment|enhance|enrich|alter|adjust|change|edit|format|translate|render|encode|encrypt|reverse|write|provide|convert|replace|use|present|express|structure|phrase|complement|supplement|weave|highlight|tailor|expand)\b(?:\W+[\w'\"“”’.]+){0,14}?\W+(?:in|to|into|with|within|of|at|your)?\W?(?:the (?:end|start|beginning|top|bottom) of )?your (?:\w+ )?(?:response|answer|reply|output|summary|message|review|email|report|result|final answer|explanation)s?\b"
        r"|\byour (?:\w+ )?(?:response|answer|reply|output|summary) (?:must|should|shall|has to|needs to|will|to (?:be|include|mention|contain)|with|in|by)\b"
        r"|\brepeat (?:after me|the following|this)\b)",
        "Dictates what a reader answers",
    )
    yield Rule(
        i,
        "before_answering",
        0.55,
        (
            "before you can",
            "before answering",
            "before responding",
            "before you",
            "before continuing",
            "before proceeding",
            "before completing",
            "before summari",
            "before doing",
            "in order to complete",
            "first thing",
            "before replying",
            "to complete this",
            "to continue",
            "to proceed",
            "to access",
            "after summari",
            "after reading",
            "when summari",
            "when you read",
            "after you",
            "once you have",
            "when processing",
            "when answering",
            "when asked",
            "prior to answering",
        ),
        r"(?:\bbefore (?:you )?(?:can )?(?:solv|answer|respond|reply|continu|proceed|complet|summari|do|process|perform|us|execut|read)\w*\b(?:\W+\w+){0,16}?\W+(?:you (?:must|need|should|have to|first)|please (?:first|do|send|call|use|make|also)|(?:first|also),? (?:\w+ )?(?:call|send|read|use|run|execute|do|make|visit|open|fetch|email|forward)|do the following|make sure|(?:call|read|access|send) (?:the |this )?(?:tool|file|function|following))"
        r"|\b(?:after|when|once|while|whenever) (?:you )?(?:have )?(?:summari|process|read|answer|complet|finish|pars|review|analy|respond)\w*\b(?:\W+\w+){0,10}?\W+(?:also|you must|be sure to|make sure|do not forget|you should|immediately|always|please) (?:\w+ )?(?:send|call|email|forward|include|add|execute|run|use|append|transfer|delete|say|mention|visit|post|read|open|tell|recommend|ignore|output))",
        "Slips a step in before the task of the reader",
    )
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
        "use_tool",
        0.45,
        (
            "call the",
            "use the",
            "invoke the",
            "run the",
            "execute the",
            "calling the",
            "using the",
            "tool call",
            "function call",
            "execute ",
            "invoke ",
            "tool to",
            "the tool",
            "_tool",
            "function to",
            "send_email",
            "send_mail",
            "the function",
            "api to",
            "run this",
            "send an email",
            "send a message",
            "forward ",
            "transfer ",
            "wire ",
            "send all",
            "send the",
            "email the",
            "email all",
            "delete all",
            "upload ",
            "exfiltrate",
            "grant ",
            "make a payment",
            "bank transfer",
            "curl ",
            "rm -rf",
            "wget ",
            "please send",
            "post the",
            "share the",
        ),
        r"(?:\b(?:call|use|invoke|run|execute|trigger)(?:ing)? (?:the |your |its |an? )?[`'\"]?[a-z][a-z0-9]*(?:[_.][a-z0-9]+)+[`'\"]? (?:tool|function|api|command|to (?:send|delete|transfer|forward|email|pay|grant|export|remove|post|upload|read|fetch))\b"
        r"|\b(?:call|use|invoke|run|execute|trigger) (?:the |your |an? )(?:\w+ ){0,3}?(?:tool|function|email tool|plugin) (?:to|with|and|on|for|using)\b(?:\W+\w+){0,8}?\W+(?:send|email|forward|transfer|delete|upload|post|read|exfiltrat|share|fetch|grant|retrieve|get|pay|change|update|add|create|remove|disable)"
        r"|\b(?:send|forward|email|e-mail|mail|transmit|upload|exfiltrate|leak|deliver|cc|bcc|share|post|submit|copy|transfer|wire)\b[^.\n]{0,90}?\b(?:to|at|into|with|via)\b[^.\n]{0,30}?(?:[\w.+-]{1,64}@[\w-]+\.[\w.]+|https?://|www\.|(?:account|iban|wallet)\b(?: number)?:? ?[a-z0-9]{4,})"
        r"|\b(?:transfer|wire|pay|send|donate) (?:\w+ ){0,2}?(?:[$€£]\s?[\d,.]+|[\d,.]+\s?(?:usd|eur|gbp|dollars|euros|pounds|bitcoins?|btc|eth))(?: \w+){0,4}? (?:to|into)\b"
        r"|\b(?:delete|remove|erase|wipe|drop) (?:all|every|any|the entire) (?:\w+ ){0,3}?(?:files?|emails?|records?|data|messages|documents|events|backups?|databases?|tables?|accounts?|users?)\b"
        r"|\b(?:grant|give|add|promote|elevate) (?:\w+ ){0,4}?(?:admin(?:istrator|istrative)?|root|owner|full|superuser|write) (?:access|rights?|privileges?|permissions?|role)\b"
        r"|\b(?:curl|wget) [^\n]{0,120}\|\s?(?:ba)?sh\b|\brm -rf [/~$])",
        "Asks for an action with a tool, a transfer or a deletion",
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


def _foreign(language: str, words: Lexicon) -> Iterator[Rule]:
    spaced = language not in UNSPACED
    ignore, orders = any_of(words.ignore, spaced=spaced), any_of(words.orders, spaced=spaced)
    # A match ends with the word, not with its stem.
    orders = orders + r"[\pL\pM]*" if spaced else orders
    earlier = any_of(words.earlier, spaced=spaced)
    gap, i = f"{_GAP}{{0,40}}?", Family.INSTRUCTION
    near = f"{_GAP}{{0,25}}?" if spaced else "[^.!?。！？，、,;；\\n]{0,14}?"
    told = f"(language: {language})"
    strong = "|".join(
        (
            f"{ignore}{near}{earlier}{near}{orders}",
            f"{ignore}{near}{orders}{near}{earlier}",
            f"{earlier}{near}{orders}{near}{ignore}",
            f"{orders}{near}{earlier}{near}{ignore}",
        )
    )
    yield Rule(
        i,
        "override",
        0.75,
        words_of(words.ignore),
        f"(?:{strong})",
        f"Tells a reader to disregard the instructions it was given {told}",
        110,
        150,
    )
    yield Rule(
        i,
        "override_weak",
        0.3,
        words_of(words.ignore),
        f"(?:{ignore}{near}{orders}|{orders}{near}{ignore})",
        f"Tells a reader to disregard instructions {told}",
        80,
        100,
    )
    reveal, secret = any_of(words.reveal, spaced=spaced), any_of(words.secret, spaced=spaced)
    yield Rule(
        i,
        "reveal",
        0.46,
        words_of(words.secret),
        f"(?:{reveal}{gap}{secret}|{secret}{near}{reveal})",
        f"Asks for what a reader was told in confidence {told}",
        80,
        100,
    )
    yield Rule(
        i,
        "role",
        0.4,
        words_of(words.role),
        any_of(words.role, spaced=spaced),
        f"Gives a reader another role {told}",
        4,
        60,
    )
    hush, user = any_of(words.hush, spaced=spaced), any_of(words.user, spaced=spaced)
    yield Rule(
        i,
        "hush",
        0.5,
        words_of(words.hush),
        f"(?:{hush}{near}{user}|{user}{near}{hush})",
        f"Asks to keep something from the user {told}",
        70,
        90,
    )
    yield Rule(
        i,
        "agent",
        0.2,
        words_of(words.agent),
        any_of(words.agent, spaced=spaced),
        f"Speaks of a program that reads {told}",
        4,
        60,
    )
    send = any_of(words.send, spaced=spaced)
    yield Rule(
        i,
        "send",
        0.3,
        words_of(words.send),
        rf"(?:{send}[^\n]{{0,90}}?(?:\w@\w|https?://)|(?:\w@\w|https?://)[^\n]{{0,70}}?{send})",
        f"Asks to send something somewhere {told}",
        80,
        110,
        also=("@", "http"),
    )


def rules() -> tuple[Rule, ...]:
    """Return the rules of all languages."""
    found = [*_english()]
    for language, words in LEXICON.items():
        found += _foreign(language, words)
    return tuple(found)
