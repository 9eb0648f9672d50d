"""Text that poses as part of a conversation: chat templates, role headers, delimiters, tool calls and results."""

from collections.abc import Iterator
from typing import Final

from agentops.guardrails.detectors.matching import Rule
from agentops.guardrails.score import Family

_TOKENS: Final = (
    *(
        "<|im_start|>",
        "<|im_end|>",
        "<|im_sep|>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|end|>",
    ),
    *(
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|python_tag|>",
        "<|eom_id|>",
        "<|channel|>",
    ),
    *(
        "<|endofprompt|>",
        "<|fim_",
        "<|return|>",
        "<|call|>",
        "<|constrain|>",
        "<|message|>",
        "<|start|>",
        "<|tool",
        "<|header",
        "<|turn|>",
    ),
    *(
        "[inst]",
        "[/inst]",
        "<<sys>>",
        "<</sys>>",
        "[system_prompt]",
        "[/system_prompt]",
        "[available_tools]",
        "[tool_calls]",
        "[tool_results]",
    ),
    *(
        "<start_of_turn>",
        "<end_of_turn>",
        "<|start_of_role|>",
        "<|end_of_role|>",
        "[gmask]",
        "<|observation|>",
        "begin▁of",
        "end▁of",
    ),
    *(
        "<|start_of_turn|>",
        "<|end_of_turn|>",
        "<|beginofutterance|>",
        "<extra_id_",
        "<|prompter|>",
        "<|context|>",
        "<|human|>",
        "<|bot|>",
    ),
)
_EDGES: Final = (
    *(f"{mark}{space}{word}" for mark in "-=<#*~" for space in ("", " ") for word in ("end", "begin", "start", "stop")),
    *("<<<data", "<<data", "<</data", "<<untrusted", "<</untrusted", "<<external", "<</external", "<<</"),
)


def rules() -> tuple[Rule, ...]:
    """Return the rules of this family."""
    return tuple(_rules())


def _rules() -> Iterator[Rule]:
    f = Family.FORGERY
    yield Rule(
        f,
        "chat_template",
        0.7,
        _TOKENS,
        r"(?:<\|[a-z_▁]{2,24}\|?>?|\[/?inst\]|<</?sys>>|\[/?(?:system_prompt|available_tools|tool_calls|tool_results)\]|</?(?:start|end)_of_turn>|\[gmask\]|(?:begin|end)▁of▁\w+|<extra_id_\d+>)",
        "Holds control tokens of a chat template",
        4,
        40,
    )
    yield Rule(
        f,
        "role_tag",
        0.6,
        (
            "<system",
            "</system",
            "<assistant",
            "</assistant",
            "<user>",
            "</user>",
            "<human>",
            "</human>",
            "<tool_result",
            "</tool_result",
            "<function_result",
            "</function_result",
            "<admin>",
            "</context>",
            "</document",
            "</data>",
            "</user_input",
            "</instructions",
            "<system_prompt",
            "</untrusted",
            "</tool_output",
            "</output>",
            "</search_results",
            "</documents",
            "</retrieved",
        ),
        r"(?:</?(?:system|assistant|human)(?:[_-]?(?:prompt|message|instructions?|note|override|reminder|input|role|turn))?\s?/?>"
        r"|</?(?:tool|function)[_-](?:results?|outputs?|response)\s?>"
        r"|</(?:context|documents?|data|untrusted\w*|search_results|retrieved\w*|instructions|tool_output|output)>[\s\W]{0,20}(?:<|ignore|now|new|system|assistant|user|please|you|important|instructions?|human|the above))",
        "Poses as a tag around a role, a document or a result",
        4,
        90,
    )
    yield Rule(
        f,
        "role_header",
        0.45,
        (
            "system:",
            "assistant:",
            "user:",
            "human:",
            "ai:",
            "system]",
            "assistant]",
            "system message",
            "### instruction",
            "### system",
            "### response",
            "### input",
            "###instruction",
            "## instruction",
            "[system",
            "(system",
            "### assistant",
            "### human",
            "### user",
            "system prompt:",
            "new system prompt",
            "begin system",
            "end system",
            "developer:",
            "**system",
            "tool:",
            "function:",
            "observation:",
            "system :",
            '"""system',
            "#system",
            "=== system",
        ),
        r"(?:(?:^|[\n\r]|[.!?>\"'`|\]\)] {0,3})[ \t>*_#\-=\[\(\"'`]{0,8}(?:system|assistant|human)(?: (?:message|prompt|note|instruction|override|notice))?[\]\)*_\"' ]{0,4}:[ \t*_\]]{0,4}[\n\r]?[ \t]{0,4}(?:you\b|export|grant|approve|delete|forward|transfer|reveal|proceed|stop|run|give|show|list|open|ignore|disregard|forget|please|the |i |your|new|from|do |always|never|all|print|say|send|okay|ok\b|sure|thanks?|of course|understood|certainly|yes|\[|override|update|security|important|translate|could|can you|now\b|next|execute|call|use|here|this|<|for |admin|instruction|attention|as (?:an?|the)\b|it |when|in )"
        r"|[\n\r](?:user|human): [^\n\r]{1,200}[\n\r]{1,3}(?:assistant|ai|bot|system):"
        r"|(?:assistant|ai|bot): [^\n\r]{1,200}[\n\r]{1,3}(?:user|human|system):"
        r"|#{2,4} ?(?:instructions?|system(?: prompt| message)?|response|human|assistant|user)\s?:"
        r"|#{2,4} ?(?:new |system |updated |real )(?:instructions?|prompt|message)\b"
        r"|[\[(<{]{1,2} ?(?:system|assistant|developer|admin)(?: (?:message|prompt|note|override|notice|instructions?|update|alert|command|role))? ?[\])>}]{1,2} ?[:\-]? ?\w"
        r"|\b(?:begin|start|end|new|updated)(?: of)?(?: the)? (?:system prompt|system message|system instructions)\b"
        r"|\bsystem prompt: ?\S)",
        "Poses as the turn of another speaker",
        60,
        320,
    )
    yield Rule(
        f,
        "tool_call",
        0.6,
        (
            "tool_call",
            "tool_use",
            "function_call",
            "<invoke",
            "<tool_code",
            '"function"',
            "'function'",
            '"tool"',
            "'tool'",
            '"action"',
            '"arguments"',
            '"tool_name"',
            '"recipient_name"',
            "action input:",
            "tool_input",
            '"tool_input"',
            "<function=",
            "functioncall",
            "function_calls",
            '"parameters"',
            '"jsonrpc"',
            "tools/call",
            "to=functions",
            '"actions"',
            '"plan"',
            "```tool",
            "<tool>",
            "<function>",
            '"steps"',
        ),
        r"(?:[\"']?(?:tool_calls?|function_calls?|tool_use|tool_uses)[\"']? ?[:=] ?[\[{]"
        r"|</?(?:antml:)?(?:function_calls?|tool_calls?|tool_use|invoke|tool_code|functioncall)\b[^>]{0,80}>|<function=\w+|<(?:tool|function)>\s?[\w{\"]"
        r"|[\"'](?:type|role)[\"'] ?: ?[\"'](?:tool_use|tool_call|function_call|function|tool_result)[\"']"
        r"|[\"'](?:name|tool|tool_name|function|action|recipient_name|api)[\"'] ?: ?[\"'][\w.:/-]{2,60}[\"'] ?,\s{0,20}[\"'](?:arguments|args|parameters|params|input|tool_input|action_input|kwargs)[\"'] ?: ?[\[{\"]"
        r"|[\"'](?:arguments|args|parameters|tool_input|action_input)[\"'] ?: ?[\[{][^\n]{0,160}[\"'](?:name|tool|tool_name|function)[\"'] ?: ?[\"'][\w.:/-]{2,60}[\"']"
        r"|\baction: ?[\w.]{2,40}\s{1,4}action input: ?|\bto=functions\.\w+|[\"']method[\"'] ?: ?[\"']tools/call[\"']|```tool_(?:call|code)"
        r"|[\"'](?:thought|observation)[\"'] ?: ?[\"'][^\"']{0,160}[\"'] ?,\s{0,8}[\"']action[\"'])",
        "Poses as a call of a tool, or its result",
        160,
        260,
    )
    yield Rule(
        f,
        "react_trace",
        0.4,
        ("thought:", "observation:", "final answer:", "action:"),
        r"(?:^|[\n\r])\s{0,4}(?:thought|observation|action): [^\n\r]{0,240}[\n\r]{1,2}\s{0,4}(?:action|observation|final answer|thought|action input): ?",
        "Poses as the notes of an agent at work",
        280,
        300,
    )
    yield Rule(
        f,
        "boundary",
        0.45,
        _EDGES,
        r"(?:(?:-{3,}|={3,}|<{3,}|#{3,}|\*{3,}|~{3,}) ?(?:end|begin|start|stop)(?: of)?(?: the)? ?(?:untrusted|external|retrieved|user|tool|system|trusted|context|document|data|prompt|input|instructions?|output|quoted|search)[ \w]{0,30}(?:-{3,}|={3,}|>{3,}|#{3,}|\*{3,}|~{3,}|[\n\r]|$)"
        r"|<<<(?:end|data) [0-9a-f]{8,64}|<{2,3}/?(?:data|untrusted|external)[^>]{0,60}>{2,3})",
        "Poses as the boundary between data and instructions",
        8,
        120,
    )
