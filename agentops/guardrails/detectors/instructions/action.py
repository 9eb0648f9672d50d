"""Actions with a tool, transfers, deletions."""

from collections.abc import Iterator

from agentops.guardrails.detectors.matching import Rule
from agentops.guardrails.score import Family


def rules() -> Iterator[Rule]:
    """Yield the rules for texts in English."""
    i = Family.INSTRUCTION
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
