"""Words to a program that reads, not to a person."""

from collections.abc import Iterator

from agentops.guardrails.detectors.matching import Rule
from agentops.guardrails.score import Family


def rules() -> Iterator[Rule]:
    """Yield the rules for texts in English."""
    i = Family.INSTRUCTION
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
