"""Text that wants to be more than text, for every slot that somebody can write into."""

from base64 import b64encode

MARK = "pwned"
RTL, ZERO_WIDTH, TAGS = "\u202e", "\u200b", "".join(chr(0xE0000 + ord(char)) for char in "pay me")
MARKUP = (
    f"<script>window.{MARK}=1</script><img src=/{MARK} onerror=window.{MARK}=2><svg onload=window.{MARK}=3></svg>"
    f'<div hx-get="/{MARK}" hx-trigger="load"></div><a href="javascript:window.{MARK}=4">x</a>'
    f"<iframe src=/{MARK}></iframe><style>@import '/{MARK}'</style>"
)
ESCAPES = (
    f"\"'></textarea></title></select></option>--></script><form action=/{MARK}>"
    f"<button autofocus onfocus=window.{MARK}=5>"
)
HIDDEN = f"safe{RTL}txt.exe{ZERO_WIDTH}{TAGS}end"
EVERYTHING = f"{MARKUP} {ESCAPES} {HIDDEN} {{{{ {MARK} }}}} {{% include '{MARK}' %}}"


def _header(text: str) -> str:
    return f"=?utf-8?b?{b64encode(text.encode()).decode()}?="


MAIL = f"""From: {_header(EVERYTHING)} <wilma@example.com>
To: support@harbor.example
Reply-To: {_header(EVERYTHING)} <wilma@example.com>
Subject: {_header("Refund for A-1001 " + EVERYTHING)}
Date: Fri, 20 Nov 2026 09:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=line

--line
Content-Type: text/plain; charset=utf-8

Hello, please refund my order A-1001, the tent arrived torn.
{EVERYTHING}

--line
Content-Type: text/html; charset=utf-8

<p>Please refund my order A-1001</p><p style="display:none">{EVERYTHING}</p>

--line
Content-Type: application/pdf
Content-Disposition: attachment; filename="{_header(EVERYTHING)}"

%PDF-1.7
--line--
"""
"""A refund request, every part of which attacks, from the customer who owns the order A-1001."""
