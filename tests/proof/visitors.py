"""Who comes to a running site over HTTP: a person with a browser that has no scripts, and a program with a token."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from html.parser import HTMLParser
from http.client import HTTPMessage
from http.cookiejar import CookieJar
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, OpenerDirector, Request, build_opener

TIMEOUT_S = 30.0
LONGEST_READING_S = 60.0


@dataclass
class Form:
    """A form as it stands in a page: where it goes, its named values, and the buttons that can send it."""

    id: str
    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """An answer with the forms in it. `location` is where a redirect points."""

    url: str
    status: int
    text: str
    location: str = ""

    @property
    def forms(self) -> list[Form]:
        reader = _Forms()
        reader.feed(self.text)
        return reader.forms

    def form_with(self, name: str, value: str) -> Form | None:
        """Return the form that has a button with this name and value."""
        return next((form for form in self.forms if (name, value) in form.buttons), None)

    @property
    def reading_s(self) -> float:
        """Return for how much longer the card in this page has to be read before it can be approved."""
        opens = map(datetime.fromisoformat, re.findall(r'class="gate"[^>]* data-opens="([^"]+)"', self.text))
        return max([0.0, *((moment - datetime.now(UTC)).total_seconds() + 0.05 for moment in opens)])


class _Forms(HTMLParser):
    """Reads forms with inputs, buttons, text areas and selects."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.open: Form | None = None
        self.area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            self.open = Form(given.get("id", ""), given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self.open)
        elif self.open is None or not name:
            return
        elif tag == "button":
            self.open.buttons.append((name, given.get("value", "")))
        elif tag == "input" and (given.get("type") not in {"checkbox", "radio"} or "checked" in given):
            self.open.values[name] = given.get("value", "")
        elif tag == "textarea":
            self.area = name
            self.open.values[name] = ""
        elif tag == "select":
            self.open.values[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.open = None
        elif tag == "textarea":
            self.area = ""

    def handle_data(self, data: str) -> None:
        if self.open is not None and self.area:
            self.open.values[self.area] += data


class _Stay(HTTPRedirectHandler):
    """Hands redirects back instead of following them: an acknowledgement counts when it arrives."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _opener() -> OpenerDirector:
    return build_opener(HTTPCookieProcessor(CookieJar()), _Stay())


def _send(opener: OpenerDirector, request: Request) -> tuple[int, Message, str]:
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode(errors="replace")


class Browser:
    """A person at a site. Errors of the connection are raised as OSError, answers of any status are returned."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._opener = _opener()

    def get(self, path: str) -> Page:
        """Open an address of the site."""
        return self._visit(Request(urljoin(self.site, path)))

    def send(self, page: Page, form: Form, button: tuple[str, str] | None = None, **typed: str) -> Page:
        """Send a form as it stands, with what was typed into it and the button that was pressed."""
        values = form.values | typed | (dict([button]) if button else {})
        assert form.method == "post"
        address = urljoin(page.url, form.action)
        return self._visit(Request(address, urlencode(values).encode(), headers={"Referer": page.url}))

    def sign_in(self, email: str, password: str) -> None:
        """Sign in through the page."""
        page = self.get("/sign-in")
        form = next(form for form in page.forms if "password" in form.values)
        answer = self.send(page, form, login=email, password=password)
        assert answer.status == 302, answer.text

    def press(self, path: str, name: str, value: str, **typed: str) -> Page:
        """Open a page and press one of its buttons."""
        page = self.get(path)
        form = page.form_with(name, value)
        assert form is not None, f"{path} ({page.status}) has no button {name}={value}"
        return self.send(page, form, (name, value), **typed)

    def approve(self, path: str) -> Page:
        """Approve what a card shows, as a diligent person: open its sections, read it, pick what is true, say why."""
        page = self.get(path)
        while (unseen := next((form for form in page.forms if "section" in form.values), None)) is not None:
            page = self.send(page, unseen)
        form = page.form_with("decision", "approve")
        assert form is not None, f"{path} ({page.status}) cannot be approved"
        left = page.reading_s
        assert left < LONGEST_READING_S
        time.sleep(left)
        shown = re.sub("</?b>", "", page.text.split('<dl class="args">')[1].split("</dl>")[0])
        asked = re.findall(r'name="(attest:[^"]+)" value="(\d+)"[^>]*> <bdi class="data">([^<]*)</bdi>', page.text)
        true = {name: value for name, value, text in asked if f">{text}<" in shown}
        why = "Checked against the order in our own records."
        return self.send(page, form, ("decision", "approve"), note=why, **true)

    def _visit(self, request: Request) -> Page:
        status, headers, text = _send(self._opener, request)
        return Page(request.full_url, status, text, headers.get("Location", ""))


@dataclass
class Program:
    """An agent that submits tasks through the API."""

    site: str
    token: str
    _opener: OpenerDirector = field(default_factory=_opener)

    def submit(self, task_type: str, task: Mapping[str, object], *, key: str = "", wait: int = 0) -> tuple[int, Any]:
        """Post a task; return status and document."""
        query = f"?wait={wait}" if wait else ""
        headers = {"Idempotency-Key": key} if key else {}
        body = json.dumps({"task_type": task_type, "input": task}).encode()
        return self._ask(f"/api/v1/agent/run{query}", body, headers | {"Content-Type": "application/json"})

    def run(self, run_id: str) -> Any:
        """Return the document of a run."""
        status, document = self._ask(f"/api/v1/runs/{run_id}", None, {})
        assert status == 200, document
        return document

    def pending(self, run_id: str) -> list[str]:
        """Return the addresses of the proposals of a run that wait."""
        return [one["url"] for one in self.run(run_id)["proposals"] if one["status"] == "pending"]

    def _ask(self, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        request = Request(urljoin(self.site, path), body, headers={"Authorization": f"Bearer {self.token}", **headers})
        status, _, text = _send(self._opener, request)
        return status, json.loads(text)
