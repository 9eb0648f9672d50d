"""A model server without a model: OpenAI's chat completions and Anthropic's messages, answered by a script.

In tests: `with ModelServer(script) as server: ... server.url`. By hand, to try the model planner without a key:

    python -m tests.stubs.model_server --port 8090 --script support
    AGENTOPS_MODEL=stub AGENTOPS_MODEL_BASE_URL=http://127.0.0.1:8090/v1 make demo

A script is a function from what was asked to a reply; `SCRIPTS` names those that the command line knows.
"""

import argparse
import asyncio
import contextlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final, Self

MARK: Final = "\ue000"
MAIL_REF: Final = re.compile(r"M-\d+")
_BLOCK: Final = re.compile(r"<<<DATA (\w+) [^\n]*>>>\n(.*)\n<<<END \1>>>", re.DOTALL)

# --- What is asked and what is answered ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One request: its number from 1, path, headers in lower case, and parsed body."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def anthropic(self) -> bool:
        return self.path.endswith("/messages")

    @cached_property
    def tools(self) -> dict[str, dict[str, Any]]:
        """Function name -> JSON Schema of its parameters, of every tool that was offered."""
        offered = self.body.get("tools", [])
        if self.anthropic:
            return {tool["name"]: tool["input_schema"] for tool in offered}
        return {tool["function"]["name"]: tool["function"]["parameters"] for tool in offered}

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """Role (system, user, tool) -> texts of its messages."""
        texts: dict[str, list[str]] = {"system": [], "user": [], "tool": []}
        if "system" in self.body:
            texts["system"].append(_text(self.body["system"]))
        for message in self.body.get("messages", []):
            content = message.get("content") or ""
            results = [p for p in content if isinstance(p, dict) and p.get("type") == "tool_result"]
            texts["tool"] += [_text(part.get("content", "")) for part in results]
            if not results or len(results) < len(content):
                texts.setdefault(message["role"], []).append(_text(content))
        return texts

    @cached_property
    def input(self) -> dict[str, Any]:
        """The task's input: the first JSON object a user message holds."""
        for text in self.texts["user"]:
            start = text.find("{")
            if start >= 0:
                with contextlib.suppress(ValueError):
                    value, _ = json.JSONDecoder().raw_decode(text[start:])
                    return value if isinstance(value, dict) else {}
        return {}

    @cached_property
    def results(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and result of every earlier call that is in the history."""
        names: dict[str, str] = {}
        results: list[tuple[str, dict[str, Any]]] = []
        for message in self.body.get("messages", []):
            for call in message.get("tool_calls") or ():
                names[call["id"]] = call["function"]["name"]
            if message["role"] == "tool":
                results.append((names[message["tool_call_id"]], _data(_text(message["content"]))))
            for part in message["content"] if isinstance(message.get("content"), list) else ():
                if part.get("type") == "tool_use":
                    names[part["id"]] = part["name"]
                elif part.get("type") == "tool_result":
                    results.append((names[part["tool_use_id"]], _data(_text(part["content"]))))
        return results


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _data(text: str) -> dict[str, Any]:
    """Read a tool result, which may be a spotlighted block."""
    found = _BLOCK.search(text)
    value = json.loads((found[2] if found else text).replace(MARK, ""))
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Call:
    """A function call; `raw` replaces the arguments' JSON text."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    raw: str | None = None


@dataclass(frozen=True)
class Says:
    """A proper answer, written in the format of whoever asked, after that many seconds.

    `tokens` are (input, output); of the input tokens `cached` came from the provider's cache.
    """

    text: str = ""
    calls: Sequence[Call] = ()
    finish: str = ""
    tokens: tuple[int, int] = (120, 30)
    cached: int = 0
    after_s: float = 0.0


@dataclass(frozen=True)
class Raw:
    """Any other answer. `drip_s` sends the body byte by byte with that pause; `silent` never answers at all."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    drip_s: float = 0.0
    silent: bool = False
    hang_up: bool = False
    after_s: float = 0.0


Reply = Says | Raw
Script = Callable[[Asked], Reply]


def plan(steps: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]] = ()) -> Says:
    """Answer with a plan."""
    return Says(calls=[Call("submit_plan", {"steps": list(steps), "answers": list(answers)})])


def refusal(
    status: int, message: str, *, code: str = "", kind: str = "", headers: Mapping[str, str] | None = None
) -> Raw:
    """Answer with an error object, which OpenAI and Anthropic write nearly alike."""
    error = {"message": message, "type": kind or "error", "code": code or None, "param": None}
    return Raw(json.dumps({"type": "error", "error": error}).encode(), status, headers=headers or {})


def in_turn(*replies: Reply) -> Script:
    """Give each request the next reply, and the last one for ever."""
    return lambda asked: replies[min(asked.number, len(replies)) - 1]


# --- The server ------------------------------------------------------------------------------------------------------


class ModelServer:
    """Serves a script on the loopback interface and remembers what it was asked.

    One event loop in one thread holds any number of answers that take their time; scripts may block, each in a thread
    of a pool. `held` is how many requests it holds just now, `peak` the most it ever held. With `remember` off the
    bodies are dropped, for long measurements. Nothing is answered before `together` requests are there at once.
    """

    def __init__(
        self, script: Script, port: int = 0, *, verbose: bool = False, remember: bool = True, together: int = 1
    ) -> None:
        self.script = script
        self.verbose = verbose
        self.remember = remember
        self.asked: list[Asked] = []
        self.held = self.peak = self.count = 0
        self._together = together
        self._enough = asyncio.Event()
        self._socket = socket.create_server(("127.0.0.1", port), backlog=2048)
        self._loop = asyncio.new_event_loop()
        self._scripts = ThreadPoolExecutor(256, "model-script")
        self._stopping = asyncio.Event()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def url(self) -> str:
        """The base URL for OpenAI-compatible clients."""
        return f"{self.root}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._serving.wait(30), "the model server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop.close()
        self._scripts.shutdown(wait=False, cancel_futures=True)

    async def _serve(self) -> None:
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._connection(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(accept, sock=self._socket, limit=64 * 1024)
        self._serving.set()
        await self._stopping.wait()
        server.close()
        for task in connections:
            task.cancel()
        if connections:
            await asyncio.wait(connections, timeout=5)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that gives up in the middle of an answer is what many tests are about.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._exchange(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection has ended or is to end."""
        line = (await reader.readline()).decode("latin-1")
        if not line:
            return False
        path = line.split(" ")[1]
        headers: dict[str, str] = {}
        while field_line := (await reader.readline()).decode("latin-1").strip():
            name, _, value = field_line.partition(":")
            headers[name.lower()] = value.strip()
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        self.held += 1
        self.peak = max(self.peak, self.held)
        if self.held >= self._together:
            self._enough.set()
        try:
            await self._enough.wait()
            reply = await self._reply(path, headers, body)
            return await self._send(reply, writer)
        finally:
            self.held -= 1

    async def _reply(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Raw:
        self.count += 1
        asked = Asked(self.count, path, headers, body)
        if self.remember:
            self.asked.append(asked)
        reply = await self._loop.run_in_executor(self._scripts, self.script, asked)
        if self.verbose:
            sys.stderr.write(f"{path} {type(reply).__name__}\n")
        if reply.after_s:
            await asyncio.sleep(reply.after_s)
        return _written(asked, reply) if isinstance(reply, Says) else reply

    async def _send(self, reply: Raw, writer: asyncio.StreamWriter) -> bool:
        if reply.silent:
            await asyncio.sleep(60)
        if reply.silent or reply.hang_up:
            return False
        head = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase if reply.status != 529 else 'Overloaded'}"]
        head += [f"Content-Type: {reply.content_type}", f"Content-Length: {len(reply.body)}"]
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write("\r\n".join([*head, "", ""]).encode("latin-1"))
        if not reply.drip_s:
            writer.write(reply.body)
            await writer.drain()
            return True
        for byte in reply.body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(reply.drip_s)
        return True


def _written(asked: Asked, says: Says) -> Raw:
    ids = [f"call_{asked.number}_{index}" for index in range(len(says.calls))]
    document = _as_anthropic(asked, says, ids) if asked.anthropic else _as_openai(asked, says, ids)
    return Raw(json.dumps(document).encode())


def _as_openai(asked: Asked, says: Says, ids: Sequence[str]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": says.text or None}
    if says.calls:
        message["tool_calls"] = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": c.name, "arguments": json.dumps(c.arguments) if c.raw is None else c.raw},
            }
            for call_id, c in zip(ids, says.calls, strict=True)
        ]
    finish = says.finish or ("tool_calls" if says.calls else "stop")
    total: dict[str, Any] = {
        "prompt_tokens": says.tokens[0],
        "completion_tokens": says.tokens[1],
        "total_tokens": sum(says.tokens),
    }
    total["prompt_tokens_details"] = {"cached_tokens": says.cached}
    return {
        "id": f"chatcmpl-{asked.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.body.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": total,
    }


def _as_anthropic(asked: Asked, says: Says, ids: Sequence[str]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": says.text}] if says.text else []
    content += [
        {"type": "tool_use", "id": call_id, "name": c.name, "input": c.arguments}
        for call_id, c in zip(ids, says.calls, strict=True)
    ]
    return {
        "id": f"msg_{asked.number}",
        "type": "message",
        "role": "assistant",
        "model": asked.body.get("model", ""),
        "content": content,
        "stop_reason": says.finish or ("tool_use" if says.calls else "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": says.tokens[0] - says.cached,
            "cache_read_input_tokens": says.cached,
            "output_tokens": says.tokens[1],
        },
    }


# --- A script that does a support desk's work ------------------------------------------------------------------------


def support(asked: Asked) -> Reply:
    """Plan the support task with the tools that are offered, or take its next step where plans are not asked for."""
    return _support_plan(asked) if "submit_plan" in asked.tools else _support_step(asked)


def direct(asked: Asked) -> Reply:
    """Call tools at once, even where a plan is asked for: read the mail and open a ticket for it."""
    if asked.results or any("has run so far" in text for text in asked.texts["user"]):
        return Says("The message was read and a ticket is open.")
    literals = {**asked.input, "message_id": _mail(asked)[1], "title": f"Look at {_mail(asked)[1]}", "priority": "med"}
    wanted = [(name, _fill(asked, name, literals)) for name in ("mail__read", "create_ticket")]
    calls = [Call(name, arguments) for name, arguments in wanted if arguments is not None]
    return Says(calls=calls) if calls else Says("None of the tools fits this task.")


def _mail(asked: Asked) -> tuple[str, str]:
    """Return the member of the input that names an e-mail, and its reference."""
    named = [(key, value) for key, value in asked.input.items() if isinstance(value, str) and MAIL_REF.fullmatch(value)]
    return named[0] if named else ("", "")


def _fill(asked: Asked, function: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return arguments for exactly the parameters a tool has, or None if it is not offered or one has no value."""
    schema = asked.tools.get(function)
    names = list(schema.get("properties", {})) if schema is not None else None
    if names is None or any(values.get(name) in (None, "") for name in names):
        return None
    return {name: values[name] for name in names}


def _ref(path: str) -> dict[str, str]:
    return {"$ref": path}


def _support_plan(asked: Asked) -> Reply:
    key, mail = _mail(asked)
    again = any("has run so far" in text for text in asked.texts["user"])
    steps: list[dict[str, Any]] = []

    def step(step_id: str, tool: str, values: Mapping[str, Any], why: str, when: str = "") -> bool:
        arguments = _fill(asked, tool.replace(".", "__"), values)
        if arguments is None:
            return False
        common = {"when": when, "expect": "", "on_failure": "continue", "why": why}
        steps.append({"id": step_id, "tool": tool, "arguments": arguments, **common})
        return True

    ticket = {"title": f"Look at {mail or 'this task'}", "priority": "med"}
    if again:
        step("ticket_again", "create_ticket", ticket, "What was planned did not go through; a person should look.")
        return plan(steps, [{"when": "", "text": "The plan was not carried out as it was; see the ticket."}])
    read = bool(mail) and step("read", "mail.read", {"message_id": _ref(f"input.{key}")}, "Read the e-mail.")
    parts = {name: _ref(f"steps.read.output.{name}") for name in ("subject", "text", "from_address")}
    triage = read and step("triage", "mail.triage", parts, "Find out what the sender wants.")
    is_refund = "steps.triage.output.intent == 'refund'"
    order = triage and step(
        "order",
        "shop.find_order",
        {"order_ref": _ref("steps.triage.output.order_ref")},
        "Look up the order.",
        f"{is_refund} && steps.triage.output.order_ref != null",
    )
    refund = order and step(
        "refund",
        "shop.issue_refund",
        {
            "order_ref": _ref("steps.order.output.order_ref"),
            "amount_minor": _ref("steps.order.output.refundable_minor"),
            "currency": _ref("steps.order.output.currency"),
            "reason": "The customer asked for a refund by e-mail.",
        },
        "Pay back what is left of the order.",
        "steps.order.output.found && steps.order.output.refundable_minor > 0",
    )
    if refund:
        body = {"$text": ["Hello,\n\nwe have refunded your order ", _ref("steps.order.output.order_ref"), "."]}
        reply = {"to": _ref("steps.order.output.customer_email"), "subject": "Your refund", "body": body}
        step("reply", "mail.send", reply, "Tell the customer.", "steps.refund.outcome == 'succeeded'")
    without_refund = "steps.refund.outcome != 'succeeded'" if refund else ""
    ticketed = step("ticket", "create_ticket", ticket, "Anything else is for a person.", without_refund)
    answers: list[dict[str, Any]] = []
    if refund:
        text = {"$text": ["Refunded order ", _ref("steps.order.output.order_ref"), "."]}
        answers.append({"when": "steps.refund.outcome == 'succeeded'", "text": text})
    if ticketed:
        text = {"$text": ["Opened ticket ", _ref("steps.ticket.output.ticket_id"), "."]}
        answers.append({"when": "steps.ticket.outcome == 'succeeded'", "text": text})
    answers.append({"when": "", "text": "Nothing could be done with the tools of this task."})
    return plan(steps, answers)


def _support_step(asked: Asked) -> Reply:
    _, mail = _mail(asked)
    known: dict[str, Any] = {"message_id": mail, "title": f"Look at {mail or 'this task'}", "priority": "med"}
    known["reason"] = "The customer asked for a refund by e-mail."
    for name, result in asked.results:
        if "output" not in result:
            return Says(f"I stopped: {name.replace('__', '.')} ended as {result.get('outcome', 'failed')}.")
        known.update(result["output"])
    done = [name for name, _ in asked.results]
    known["amount_minor"] = known.get("refundable_minor")
    wanted = ["mail__read", "mail__triage"] if mail else []
    if known.get("intent") == "refund" and known.get("order_ref"):
        wanted += ["shop__find_order"] + (["shop__issue_refund"] if known.get("amount_minor") else ["create_ticket"])
    elif "mail__triage" in done or not mail:
        wanted.append("create_ticket")
    for function in wanted:
        arguments = None if function in done else _fill(asked, function, known)
        if arguments is not None:
            return Says(calls=[Call(function, arguments)])
    return Says(f"Done: {', '.join(name.replace('__', '.') for name in done) or 'nothing'}.")


# --- Scripts that fail -----------------------------------------------------------------------------------------------


def rate_limited(retry_after: str) -> Raw:
    return refusal(
        429, "Rate limit reached", code="rate_limit_exceeded", kind="requests", headers={"Retry-After": retry_after}
    )


def in_seconds(seconds: float) -> str:
    """Return the moment in that many seconds as an HTTP date."""
    return formatdate(time.time() + seconds, usegmt=True)


def malformed(asked: Asked) -> Reply:
    """Call the first tool with arguments that are not JSON."""
    return Says(calls=[Call(next(iter(asked.tools), "none"), raw='{"INVALID_JSON"')])


QUOTA: Final = refusal(429, "You exceeded your current quota", code="insufficient_quota", kind="insufficient_quota")
HTML: Final = Raw(b"<html><body><h1>Welcome to the hotel's network</h1></body></html>", content_type="text/html")
TRUNCATED: Final = Raw(b'{"id": "chatcmpl-1", "choices": [{"index": 0, "mess')
NO_CHOICES: Final = Raw(b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[]}')
SILENT: Final = Raw(silent=True)
DRIPPING: Final = Raw(b'{"id": "' + b"x" * 5000, drip_s=0.05)

SCRIPTS: Final[Mapping[str, Script]] = {
    "support": support,
    "direct": direct,
    "malformed": malformed,
    "rate_limited": lambda asked: rate_limited("2"),
    "quota": lambda asked: QUOTA,
    "silent": lambda asked: SILENT,
    "dripping": lambda asked: DRIPPING,
    "html": lambda asked: HTML,
    "truncated": lambda asked: TRUNCATED,
    "no_choices": lambda asked: NO_CHOICES,
    "server_error": lambda asked: refusal(500, "The server had an error"),
    "overloaded": lambda asked: refusal(503, "Overloaded", headers={"Retry-After": "2"}),
    "wrong_key": lambda asked: refusal(401, "Incorrect API key provided", code="invalid_api_key"),
    "unknown_model": lambda asked: refusal(404, "The model does not exist", code="model_not_found"),
    "length": lambda asked: Says("Half a sen", finish="length"),
    "content_filter": lambda asked: Says(finish="content_filter"),
}


@contextlib.contextmanager
def serving(script: Script) -> Iterator[ModelServer]:
    """Serve a script for the length of a with block."""
    with ModelServer(script) as server:
        yield server


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server that answers by a script.")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--script", choices=sorted(SCRIPTS), default="support")
    options = parser.parse_args()
    with ModelServer(SCRIPTS[options.script], options.port, verbose=True) as server:
        sys.stdout.write(
            f"AGENTOPS_MODEL=stub AGENTOPS_MODEL_BASE_URL={server.url}\nAnswering by the script {options.script!r}; "
            "Ctrl-C ends it.\n"
        )
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
