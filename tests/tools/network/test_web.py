"""The two network tools through the executor: what is allowed, what comes back, and what each failure is called."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from agentops.audit.services import load
from agentops.tenancy.models import Tenant
from tests.tools.conftest import permit_any, request_for
from tests.tools.network.lab import OTHER, PUBLIC, Asked, Outside, Server, answer
from tools.builtin import web
from tools.builtin.examples import EXAMPLES
from tools.contracts import TRANSIENT, CannotTell, ErrorCode, Trust
from tools.executor import Executor, Failed, Outcome, Succeeded, Unknown
from tools.network import hosts
from tools.network.bodies import MAX_BODY, MAX_TEXT
from tools.network.models import AllowedHost, HostAccess
from tools.network.sealing import SealBroken, seal, unseal
from tools.network.urls import parse_url
from tools.registry import Registry

URL = "http://api.example.com/v1/things"


class World:
    """A server that answers with `say`, a tenant that may ask it, and the two tools."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.say: Callable[[Asked], Iterable[bytes]] = lambda asked: [answer(body=b"hello")]
        self.server = Server(lambda asked: self.say(asked))
        self.outside = Outside(self.server.port, {"api.example.com": [PUBLIC], "other.example.org": [OTHER]})
        self.secret = ""

    def list(self, host: str = "api.example.com", *, secret: str | None = None, **rule: Any) -> AllowedHost:
        rule.setdefault("plain_http", True)
        AllowedHost.objects.filter(host=host).delete()
        return hosts.seed(hosts.HostRule(host, **rule), secret=secret or "")

    def call(self, tool: str, *, deadline: datetime | None = None, **arguments: Any) -> Any:
        tools = Registry()
        outside = web.Web(self.outside.network())
        tools.register(web.FETCH, outside.fetch, describe=web.describe_fetch, bars=web.bars)
        tools.register(web.REQUEST, outside.request, describe=web.describe_request, reconcile=web.reconcile)
        self.tools, self.executor = tools, Executor(tools)
        return self.executor.execute(request_for(self.tenant, tool, arguments, deadline=deadline), permit_any)

    def fetch(self, url: str = URL, method: str = "GET", **more: Any) -> Any:
        return self.call("web.fetch", url=url, method=method, **more)

    def send(self, url: str = URL, method: str = "POST", body: str = "{}", **more: Any) -> Any:
        return self.call("http.request", url=url, method=method, content_type="application/json", body=body, **more)

    def says(self, *parts: bytes) -> None:
        self.say = lambda asked: parts


@pytest.fixture
def world(scoped: Tenant) -> Iterator[World]:
    made = World(scoped)
    yield made
    made.server.close()


def test_what_a_listed_host_says_comes_back_as_untrusted_text(world: World) -> None:
    world.list()
    found = world.fetch()
    assert isinstance(found, Succeeded)
    assert found.output == {
        "url": URL,
        "status": 200,
        "content_type": "text/plain",
        "text": "hello",
        "truncated": False,
        "redirects": 0,
    }
    assert {name for name in web.FETCH.outputs if web.FETCH.trust_of(name) is not Trust.UNTRUSTED} == {"truncated"}
    (asked,) = world.server.asked
    assert asked.line == "GET /v1/things HTTP/1.1"
    assert asked.headers["host"] == "api.example.com"
    assert {"cookie", "authorization", "referer", "x-forwarded-for"}.isdisjoint(asked.headers)


def test_a_host_that_is_not_listed_is_not_resolved(world: World) -> None:
    found = world.fetch()
    assert isinstance(found, Failed)
    assert found.code is ErrorCode.POLICY_BLOCKED
    assert (world.outside.resolved, world.server.accepted) == ([], 0)


def test_the_lists_of_two_tenants_know_nothing_of_each_other(globex: Tenant, acme: Tenant, in_tenant: Any) -> None:
    with in_tenant(globex):
        hosts.seed(hosts.HostRule("api.example.com"))
    with in_tenant(acme):
        assert hosts.look_up("api.example.com") is None
    with in_tenant(globex):
        assert hosts.look_up("api.example.com") is not None


@pytest.mark.parametrize(
    ("listed", "asked", "allowed"),
    [
        ("example.com", "api.example.com", False),
        ("api.example.com", "evilapi.example.com", False),
        ("api.example.com", "api.example.com.evil.net", False),
        ("api.example.com", "a.api.example.com", False),
    ],
)
def test_a_host_covers_itself_only(world: World, listed: str, asked: str, allowed: bool) -> None:
    world.list(listed)
    world.outside.names[asked] = [PUBLIC]
    assert isinstance(world.fetch(f"http://{asked}/"), Succeeded) is allowed


def test_subdomains_are_covered_where_the_rule_says_so_and_never_get_the_credential(world: World) -> None:
    world.list("example.com", subdomains=True, credential_header="Authorization", secret="Bearer s3cret-value")
    assert isinstance(world.fetch(), Succeeded)
    assert "authorization" not in world.server.asked[0].headers
    assert hosts.look_up("example.com.evil.net") is None


def test_reading_needs_a_rule_and_writing_another(world: World) -> None:
    world.list()
    found = world.send()
    assert isinstance(found, Failed)
    assert found.code is ErrorCode.POLICY_BLOCKED
    assert world.server.accepted == 0
    world.list(access=HostAccess.WRITE)
    assert isinstance(world.send(), Succeeded)


def test_without_encryption_only_where_the_rule_says_so(world: World) -> None:
    world.list(plain_http=False)
    assert isinstance(world.fetch(), Failed)
    assert world.server.accepted == 0


def test_a_write_carries_its_key_and_body_and_follows_no_redirect(world: World) -> None:
    world.list(access=HostAccess.WRITE)
    world.says(answer("303 See Other", location="/made/1"))
    found = world.send(body='{"a": "ü"}')
    assert isinstance(found, Succeeded)
    assert (found.output["status"], found.output["location"], found.output["text"]) == (303, "/made/1", "")
    (asked,) = world.server.asked
    assert asked.headers["idempotency-key"] == "key-1"
    assert asked.body == '{"a": "ü"}'.encode()
    assert world.server.accepted == 1


def test_nobody_here_can_say_what_became_of_a_lost_write(world: World) -> None:
    world.list(access=HostAccess.WRITE)
    world.says(b"HTTP/1.1 200 O")
    assert isinstance(world.send(), Unknown)
    request = request_for(world.tenant, "http.request", {"url": URL, "method": "POST", "content_type": "x", "body": ""})
    asked = request_for(
        world.tenant,
        "http.request",
        {"url": URL, "method": "POST", "content_type": "application/json", "body": "{}"},
    )
    assert isinstance(world.executor.reconcile(asked), CannotTell)
    assert "key-1" in world.executor.reconcile(asked).message  # type: ignore[union-attr]
    assert isinstance(world.executor.reconcile(request), CannotTell)


def test_a_write_that_succeeded_and_said_nonsense_afterwards_succeeded(world: World) -> None:
    world.list(access=HostAccess.WRITE)
    world.says(answer(body=b"not gzip", content_encoding="gzip"))
    found = world.send()
    assert isinstance(found, Succeeded)
    assert (found.output["text"], found.output["truncated"]) == ("", True)


STATUSES = {
    "400 Bad Request": ("invalid_input", "invalid_input"),
    "401 Unauthorized": ("permission_denied", "permission_denied"),
    "403 Forbidden": ("permission_denied", "permission_denied"),
    "404 Not Found": ("not_found", "not_found"),
    "408 Request Timeout": ("timeout", "unknown"),
    "409 Conflict": ("conflict", "conflict"),
    "418 I'm a teapot": ("invalid_input", "invalid_input"),
    "429 Too Many Requests": ("rate_limited", "rate_limited"),
    "500 Internal Server Error": ("unavailable", "unknown"),
    "502 Bad Gateway": ("unavailable", "unknown"),
    "503 Service Unavailable": ("unavailable", "unknown"),
    "504 Gateway Timeout": ("timeout", "unknown"),
    "304 Not Modified": ("output_invalid", "unknown"),
}


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_its_code_and_a_write_is_only_a_failure_if_nothing_was_done(world: World, status: str) -> None:
    world.list(access=HostAccess.WRITE)
    world.says(answer(status, content_length=""))
    of_read, of_write = STATUSES[status]
    read, write = world.fetch(), world.send()
    assert isinstance(read, Failed)
    assert read.code == of_read
    assert isinstance(write, Unknown) if of_write == "unknown" else write.code == of_write
    assert (read.code in TRANSIENT) == (of_read in {"timeout", "unavailable", "rate_limited"})


def test_retry_after_is_passed_on(world: World) -> None:
    world.list(access=HostAccess.WRITE)
    world.says(answer("429 Too Many Requests", retry_after="7"))
    assert world.fetch().retry_after == 7.0
    world.says(answer("503 Service Unavailable", retry_after="11"))
    found = world.send()
    assert (found.code, found.retry_after) == (ErrorCode.UNAVAILABLE, 11.0)


@pytest.mark.parametrize(
    ("header", "seconds"), [("", None), ("5", 5.0), ("999999999999", 3600.0), ("-1", None), ("soon", None), ("٣", None)]
)
def test_retry_after_is_a_bounded_number(header: str, seconds: float | None) -> None:
    assert web.retry_after(header) == seconds


@pytest.mark.django_db
def test_retry_after_may_be_a_date() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 <= (web.retry_after(soon.strftime("%a, %d %b %Y %H:%M:%S GMT")) or 0) <= 100
    assert web.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


def test_a_host_without_an_address_is_unavailable(world: World) -> None:
    world.list("gone.example.com", access=HostAccess.WRITE)
    for found in (world.fetch("http://gone.example.com/"), world.send("http://gone.example.com/")):
        assert isinstance(found, Failed)
        assert found.code is ErrorCode.UNAVAILABLE


def test_an_answer_that_drips_is_cut_at_the_deadline(world: World) -> None:
    """The clock goes on by half a second whenever somebody looks at it; the server never stops sending."""
    world.list()
    ticks = count(0, 0.5)
    world.outside.clock = lambda: next(ticks)
    world.say = lambda asked: (b"HTTP/1.1 200 OK\r\nX-Drip: 1\r\n" if n == 0 else b"x" for n in range(100_000))
    found = world.fetch()
    assert isinstance(found, Failed)
    assert found.code is ErrorCode.TIMEOUT


def test_a_server_that_says_nothing_is_a_timeout(world: World) -> None:
    from threading import Event as Flag

    over = Flag()

    asked: list[Asked] = []

    def silent(one: Asked) -> Iterator[bytes]:
        asked.append(one)
        over.wait(20)
        yield b""

    world.list(access=HostAccess.WRITE)
    world.say = silent

    def asked_in_time(call: Callable[..., Outcome]) -> Outcome:
        """Call with ever later deadlines until the server is asked before one: the machine may be busy."""
        for seconds in (0.15, 0.6, 2.4, 9.6):
            before = len(asked)
            outcome = call(deadline=datetime.now(UTC) + timedelta(seconds=seconds))
            over.set()
            over.clear()
            if len(asked) > before:
                return outcome
        raise AssertionError("the server was never asked")

    found = asked_in_time(world.fetch)
    assert isinstance(found, Failed)
    assert found.code is ErrorCode.TIMEOUT
    assert isinstance(asked_in_time(world.send), Unknown)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw"])
def test_a_bomb_is_cut_while_it_unfolds(world: World, encoding: str) -> None:
    world.list()
    raw = b"0" * (64 * MAX_BODY)
    packed = {
        "gzip": lambda: gzip.compress(raw, 1),
        "deflate": lambda: zlib.compress(raw, 1),
        "raw": lambda: zlib.compress(raw, 1)[2:-4],
    }[encoding]()
    world.says(answer(body=packed, content_encoding="gzip" if encoding == "gzip" else "deflate"))
    found = world.fetch()
    assert isinstance(found, Succeeded)
    assert (len(str(found.output["text"])), found.output["truncated"]) == (MAX_TEXT, True)


def test_an_endless_answer_is_cut(world: World) -> None:
    world.list()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    world.say = lambda asked: (head if n == 0 else b"y" * 65536 for n in range(1000))
    found = world.fetch()
    assert isinstance(found, Succeeded)
    assert (len(str(found.output["text"])), found.output["truncated"]) == (MAX_TEXT, True)


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/html; charset=iso-8859-1", b"caf\xe9", "café"),
        ("application/json", '{"a": "ü"}'.encode(), '{"a": "ü"}'),
        ("text/plain; charset=utf-7", b"+ADw-script+AD4-", "+ADw-script+AD4-"),
        ("text/plain; charset=unicode_escape", b"\\u0041", "\\u0041"),
        ("text/plain; charset=rot13", b"abc", "abc"),
        ("text/plain", b"\xff\x00x", "\ufffd\ufffdx [replaced: U+0000]"),
        ("application/vnd.api+json", b"{}", "{}"),
    ],
)
def test_text_is_decoded_by_known_charsets_only(world: World, content_type: str, body: bytes, text: str) -> None:
    world.list()
    world.says(answer(body=body, content_type=content_type))
    assert world.fetch().output["text"] == text


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", "application/pdf", ""])
def test_what_is_no_text_is_not_returned(world: World, content_type: str) -> None:
    world.list(access=HostAccess.WRITE)
    world.says(answer(body=b"\x89PNG", content_type=content_type))
    assert world.fetch().code is ErrorCode.OUTPUT_INVALID
    assert world.send().output["text"] is None


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_an_encoding_that_is_not_read_here_is_an_error(world: World, encoding: str) -> None:
    world.list()
    world.says(answer(body=b"x", content_encoding=encoding))
    assert world.fetch().code is ErrorCode.OUTPUT_INVALID


def test_a_credential_is_sent_over_tls_to_its_host_and_comes_back_nowhere(world: World) -> None:
    secret = "Bearer tok-123456789"
    world.server.close()
    world.server = Server(lambda asked: [answer(body=str(asked.headers).encode())], certificate_for="api.example.com")
    world.outside.port, world.outside.tls = world.server.port, True
    row = world.list(credential_header="Authorization", secret=secret)
    found = world.fetch("https://api.example.com/")
    assert world.server.asked[0].headers["authorization"] == secret
    assert world.server.names == ["api.example.com"]
    assert "tok-123456789" not in found.output["text"]
    assert "[credential]" in found.output["text"]
    assert "tok-123456789" not in row.credential
    assert "tok-123456789" not in str([event.data for event in load("tenant")])
    assert load("tenant")[-1].data["new_credential"] is True


def test_a_certificate_for_another_name_is_refused(world: World) -> None:
    world.server.close()
    world.server = Server(lambda asked: [answer()], certificate_for="other.example.org")
    world.outside.port, world.outside.tls = world.server.port, True
    world.list(access=HostAccess.WRITE)
    for found in (world.fetch("https://api.example.com/"), world.send("https://api.example.com/")):
        assert isinstance(found, Failed)
        assert found.code is ErrorCode.POLICY_BLOCKED
    assert world.server.asked == []


def test_a_credential_is_never_sent_without_encryption_nor_to_where_a_redirect_leads(world: World) -> None:
    world.list(credential_header="X-Key", secret="k-1")
    world.list("other.example.org")
    world.says(answer("302 Found", location="http://other.example.org/"))
    world.fetch()
    assert [one.headers.get("x-key") for one in world.server.asked] == [None] * len(world.server.asked)


def test_a_sealed_credential_belongs_to_its_tenant_and_host(settings: Any) -> None:
    sealed = seal("s", tenant_id=1, host="a.example.com")
    assert unseal(sealed, tenant_id=1, host="a.example.com") == "s"
    for tenant, host in ((2, "a.example.com"), (1, "b.example.com")):
        with pytest.raises(SealBroken):
            unseal(sealed, tenant_id=tenant, host=host)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "n" * 60
    assert unseal(sealed, tenant_id=1, host="a.example.com") == "s"
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(SealBroken):
        unseal(sealed, tenant_id=1, host="a.example.com")


def test_a_preview_says_who_is_asked_and_what_will_fail(world: World) -> None:
    world.fetch()
    arguments = dict(EXAMPLES["http.request"], url="http://api.example.com/x")
    said = web.describe_request(arguments)
    assert said.summary == "Sends 37 bytes to api.example.com"
    assert any("not on the list" in warning for warning in said.warnings)
    assert web.bars(arguments) is not None
    world.list(access=HostAccess.WRITE)
    assert web.bars(arguments) is None
    assert [fact.label for fact in web.describe_request(arguments).facts][:2] == ["Host", "On the list of hosts"]
    odd = web.describe_fetch({"url": "http://127.0.0.1/", "method": "GET"})
    assert odd.blast[0].count == 0
    assert world.outside.resolved == []


def test_a_host_of_the_list_is_spelled_as_it_is_compared() -> None:
    assert parse_url("HTTPS://API.Example.com").url == "https://api.example.com/"
