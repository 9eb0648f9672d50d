"""Links, images and addresses that would carry data out when somebody shows, follows or fills them."""

from collections.abc import Iterator
from typing import Final

from agentops.guardrails.detectors.matching import Rule
from agentops.guardrails.score import Family

_SLOT: Final = r"(?:\{\{?[^}\s]{0,60}\}?\}|\$\{?\w{2,40}\}?|\[[a-z_ .'-]{3,60}\]|<[a-z_ .'-]{3,60}>|%7b|%5b|\bbase64\b|\bencoded\b|(?:your|user|the|system|chat|conversation|secret|private|stolen|exfil)[_-]?(?:data|info|secret|prompt|history|message|token|email|conversation|summary|content|here|password|name|keys?))"
_NAMES: Final = r"(?:q|d|data|msg|message|payload|content|text|info|secret|token|leak|exfil|prompt|history|conversation|chat|context|email|password|pwd|key|user|log|c|x|p|stolen|dump|creds?|cookie|session|summary|body|steal|value|out|res|result|note)"


def rules() -> tuple[Rule, ...]:
    """Return the rules of this family."""
    return tuple(_rules())


def _rules() -> Iterator[Rule]:
    f = Family.EXFILTRATION
    yield Rule(
        f,
        "image_slot",
        0.7,
        ("![",),
        rf"!\[[^\]\n]{{0,200}}\]\(\s?<?(?:https?:)?//[^\s)]{{0,400}}[?/=&#][^\s)]{{0,200}}{_SLOT}",
        "An image whose address has a place for data",
        2,
        900,
    )
    yield Rule(
        f,
        "image_query",
        0.4,
        ("![",),
        rf"!\[[^\]\n]{{0,200}}\]\(\s?<?(?:https?:)?//[^\s)?]{{1,300}}\?(?:[^\s)]{{0,200}}&)?{_NAMES}=[^\s)]*",
        "An image whose address carries a query, fetched as soon as it is shown",
        2,
        700,
    )
    yield Rule(
        f,
        "html_image",
        0.4,
        ("<img", "<iframe", "<object", "<embed", "<script", "<link", "<form", "<video", "<audio"),
        rf"<(?:img|iframe|object|embed|script|link|video|audio)\b[^>]{{0,300}}(?:src|href|data)\s?=\s?[\"']?(?:https?:)?//[^\s\"'>]{{1,300}}(?:\?(?:[^\s\"'>]{{0,200}}&)?{_NAMES}=|{_SLOT})",
        "An element that a page fetches from an address that carries data",
        2,
        900,
    )
    yield Rule(
        f,
        "html_active",
        0.35,
        ("<script", "onerror", "onload", "javascript:", "<form", "<meta", "srcdoc"),
        r"(?:<script\b[^>]{0,200}>[^<]{0,400}(?:fetch|xmlhttprequest|sendbeacon|document\.cookie|location)|\bon(?:error|load|click|mouseover)\s?=\s?[\"']?[^\"'>]{0,200}(?:fetch|location|cookie|src\s?=|import\()|(?:href|src|\]\()\s?=?\s?[\"']?javascript:|<form\b[^>]{0,200}action\s?=\s?[\"']?(?:https?:)?//|<meta\b[^>]{0,80}http-equiv\s?=\s?[\"']?refresh[^>]{0,100}url)",
        "Active content that would send something or lead away",
        2,
        800,
    )
    yield Rule(
        f,
        "link_slot",
        0.55,
        (
            "={",
            "=${",
            "=$",
            "=[",
            "=<",
            "=%7b",
            "=%5b",
            "=base64",
            "=encoded",
            "=your",
            "=user",
            "=the_",
            "=system",
            "=chat",
            "=conversation",
            "=secret",
            "=private",
            "=stolen",
            "=exfil",
        ),
        rf"(?:\]\(\s?<?|href\s?=\s?[\"']?|\b)(?:https?:)?//[^\s)\"'<>]{{1,300}}[?&#/](?:[^\s)\"'<>]{{0,100}}[&/])?(?:{_NAMES})=(?:{_SLOT})",
        "A link whose address has a place for data",
        330,
        80,
        also=("://", "](//"),
    )
    yield Rule(
        f,
        "reference_image",
        0.3,
        ("]: http", "]:http"),
        rf"\]:\s?<?https?://[^\s>]{{1,300}}\?(?:[^\s>]{{0,200}}&)?(?:{_NAMES}=[^\s>]*|[^\s>]*{_SLOT})",
        "A reference whose address carries data",
        8,
        600,
    )
    yield Rule(
        f,
        "data_url",
        0.35,
        (
            "data:text/html",
            "data:application",
            "data:image/svg",
            "data:text/javascript",
            "data:;base64",
            "data:text/plain",
        ),
        r"data:(?:text/(?:html|javascript|plain)|application/[\w.+-]{2,40}|image/svg\+xml)?(?:;[\w=-]{1,40}){0,3},[^\s)\"'>]{6,}",
        "A data: address that carries content of its own",
        2,
        400,
    )
    yield Rule(
        f,
        "fill_address",
        0.6,
        (
            "append",
            "replac",
            "substitut",
            "fill in",
            "filling",
            "encode",
            "encoding",
            "insert",
            "concatenat",
            "followed by",
            "include the",
            "including the",
            "query string",
            "query parameter",
            "url parameter",
            "render",
            "display the",
            "show the",
            "markdown image",
            "as a parameter",
            "exfiltrat",
            "add the",
            "put the",
            "pass the",
            "send the",
        ),
        r"(?:\b(?:append|add|replac\w+|substitut\w+|insert\w*|includ\w+|encod\w+|concatenat\w+|put|fill\w*|embed\w*|pass)\b[^\n]{0,90}?\b(?:url|uri|link|query|image|parameter|address|src|endpoint|path|subdomain|markdown)s?\b[^\n]{0,140}?\b(?:(?:chat|conversation|message) (?:history|log|context)s?|conversation|secrets?|passwords?|system prompt|api keys?|access tokens?|confidential|credentials?|private (?:data|information|key|messages?)|(?:user|customer|victim|client|owner|person|their|your|his|her)(?:['’]s)? (?:\w+ )?(?:e-?mail(?: address)?|data|name|messages?|details|information|address|summary|answers?)|the summary|inbox|contacts)"
        r"|\b(?:append|add|replac\w+|substitut\w+|insert\w*|includ\w+|encod\w+|concatenat\w+|put|fill\w*|pass|send|exfiltrat\w+)\b[^\n]{0,60}?\b(?:(?:chat|conversation|message) (?:history|log|context)s?|conversation|secrets?|passwords?|system prompt|api keys?|access tokens?|confidential|credentials?|private (?:data|information|key|messages?)|(?:user|customer|victim|client|owner|person|their|your|his|her)(?:['’]s)? (?:\w+ )?(?:e-?mail(?: address)?|data|name|messages?|details|information|address|summary|answers?)|the summary|inbox|contacts)\b[^\n]{0,90}?\b(?:in|into|to|as|at|on|onto|after|within|via)\b[^\n]{0,40}?\b(?:url|uri|link|query|image|parameter|src|endpoint|subdomain|https?://)"
        r"|\b(?:render|display|show|output|print|embed|include|load|insert|create|add)\b[^\n]{0,50}?\b(?:image|markdown|img)\b[^\n]{0,120}?(?:!\[|<img|https?://))",
        "Asks to put data into an address",
        100,
        420,
        also=("url", "uri", "link", "query", "parameter", "endpoint", "subdomain", "![", "<img", "http"),
    )
    yield Rule(
        f,
        "collector",
        0.45,
        (
            *("webhook.site", "requestbin", "pipedream.net", "ngrok", "burpcollaborator", "oastify", "interact.sh"),
            *("beeceptor", "requestcatcher", "hookbin", "canarytokens", "dnslog", "postb.in", "oast.", "serveo"),
            "trycloudflare",
        ),
        r"(?:https?://)?(?:[\w-]{1,80}\.){0,5}(?:webhook\.site|requestbin\.\w+|(?:m\.)?pipedream\.net|ngrok(?:-free)?\.\w+|burpcollaborator\.net|oastify\.com|interact\.sh|beeceptor\.com|requestcatcher\.com|hookbin\.com|canarytokens\.com|dnslog\.\w+|postb\.in|oast\.\w+|serveo\.net|trycloudflare\.com)(?:[/?:][^\s)\"'<>]{0,200})?",
        "An address at a service that collects what is sent to it",
        100,
        260,
    )
    yield Rule(
        f,
        "collector_name",
        0.2,
        ("exfil", "evil", "attacker", "malicious", "steal", ".onion"),
        r"https?://[\w.-]{0,80}(?:exfil|evil|attacker|malicious|steal)[\w.-]{0,80}(?:[/?:][^\s)\"'<>]{0,200})?|https?://[\w.-]{8,80}\.onion\b"
        r"|\b[\w.+-]{1,40}@[\w.-]{0,40}(?:exfil|evil|attacker|malicious)[\w.-]{0,40}\.\w",
        "An address that names itself an attacker's",
        100,
        260,
    )
