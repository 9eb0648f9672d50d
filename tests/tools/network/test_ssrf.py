"""No form of a private address is asked: no packet leaves before the check, by the interpreter's own record."""

import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.network.lab import OTHER, PUBLIC, Asked, Outside, Server, answer, connections, everything
from tools.network.addresses import not_public
from tools.network.asking import Access, Question, ask
from tools.network.connecting import Network, system_dial
from tools.network.refusals import Refused
from tools.network.urls import Target, parse_url

LITERALS = [
    # plain
    *("http://127.0.0.1/", "http://127.1/", "http://127.0.1/", "http://0/", "http://0.0.0.0/", "http://10.0.0.1/"),
    *("http://172.16.0.1/", "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://8.8.8.8/"),
    *("http://100.64.0.1/", "http://224.0.0.1/", "http://255.255.255.255/", "http://198.18.0.1/", "http://127.0.0.1./"),
    # decimal, hexadecimal, octal, mixed, short, overflowing
    *("http://2130706433/", "http://2852039166/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0x7F.1/"),
    *("http://017700000001/", "http://0177.0.0.1/", "http://0177.1/", "http://00000177.0x0.1/", "http://127.0x1/"),
    *("http://4294967297/", "http://256.256.256.256/", "http://127.0.0.1.0x0/", "http://0x7f.0x0.0x0.0x1/"),
    # IPv6: loopback, unspecified, mapped, compatible, NAT64, 6to4, Teredo, local, zone
    *(
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
    ),
    *("http://[0:0:0:0:0:ffff:a9fe:a9fe]/", "http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::a00:1]/"),
    *("http://[2002:7f00:1::]/", "http://[2001:0:7f00:1::]/", "http://[fe80::1%25eth0]/", "http://[fd00:ec2::254]/"),
    *("http://[fc00::1]/", "http://[ff02::1]/", "http://[::1]:80/", "http://[::ffff:0:127.0.0.1]/"),
    # user information
    *("http://user@127.0.0.1/", "http://listed.example.com@127.0.0.1/", "http://listed.example.com:80@127.0.0.1/"),
    *("http://127.0.0.1@listed.example.com/", "http://a:b@listed.example.com/", "http://@listed.example.com/"),
    *(
        "http://listed.example.com%40127.0.0.1/",
        "http://listed.example.com#@127.0.0.1/",
        "http://listed.example.com?@x#@1/",
    ),
    # names in other scripts and digits that are none
    *(
        "http://①②⑦.⓪.⓪.①/",
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
        "http://ⓛocalhost/",
        "http://lıstèd.example.com/",
    ),
    *("http://localhost\u200b/", "http://еxample.com/", "http://xn--/", "http://listed.example.com\u2024evil.com/"),
    # names that only exist inside
    *("http://localhost/", "http://LOCALHOST/", "http://localhost./", "http://a.localhost/", "http://printer.local/"),
    *("http://metadata.google.internal/", "http://kubernetes/", "http://db.corp/", "http://1.0.0.127.in-addr.arpa/"),
    # odd characters, schemes and ports
    *("http:127.0.0.1/", "http:/127.0.0.1/", "http:///127.0.0.1/", "http:\\\\127.0.0.1\\", "//127.0.0.1/", "127.0.0.1"),
    *("http://listed.example.com\\@127.0.0.1/", "http://listed.example.com\t.127.0.0.1/", " http://127.0.0.1/"),
    *(
        "http://listed.example.com\r\nHost: 127.0.0.1/",
        "http://127.0.0.1%2f.listed.example.com/",
        "http://%31%32%37.0.0.1/",
    ),
    *("http://127.0.0.1%00.listed.example.com/", "http://listed.example.com:22/", "http://listed.example.com:443/"),
    *("https://listed.example.com:80/", "http://listed.example.com:/", "http://listed.example.com:080/"),
    *("file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "dict://127.0.0.1/", "ftp://127.0.0.1/", "data:text/plain,x"),
    *(
        "jar:http://127.0.0.1/!x",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
        "javascript:alert(1)",
        "http://",
        "https://",
    ),
    *(
        "http://.listed.example.com/",
        "http://listed..example.com/",
        "http://-a.example.com/",
        "http://" + "a." * 200 + "com/",
    ),
]

ADDRESSES = [
    *(
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "100.100.100.200",
    ),
    *("169.254.169.254", "168.63.129.16", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
    *("192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.251", "239.255.255.250"),
    *("240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:93.184.216.34", "::127.0.0.1"),
    *("::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::5db8:d822", "64:ff9b:1::a00:1", "100::1", "2001::1"),
    *(
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:5db8:d822::",
    ),
    *("3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1"),
    *("not an address", "127.1", "0x7f000001", "", "2130706433", "127.0.0.01"),
]


@pytest.fixture
def server() -> Iterator[Server]:
    """A listener on loopback that every dialled address leads to: whatever is asked, it sees."""
    made = Server(lambda asked: [answer(body=b"inside")])
    yield made
    made.close()


def refused(url: str, network: Network) -> Refused:
    with pytest.raises(Refused) as caught:
        ask(Question("GET", parse_url(url)), admit=everything, network=network, seconds=5, redirects=5)
    return caught.value


def test_there_are_enough_forms() -> None:
    assert len(set(LITERALS)) >= 60
    assert len(set(ADDRESSES)) >= 50


@pytest.mark.parametrize("url", LITERALS)
def test_an_odd_form_is_refused_and_not_even_resolved(url: str, server: Server) -> None:
    outside = Outside(server.port)
    with connections() as seen:
        refused(url, outside.network())
        refused(url, Network())
    assert (seen, outside.resolved, outside.dialled, server.accepted) == ([], [], [], 0)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(address: str, server: Server) -> None:
    outside = Outside(server.port, {"listed.example.com": [address], "mixed.example.com": [PUBLIC, address]})
    real = Network(resolve=outside.resolve, dial=system_dial)
    with connections() as seen:
        for host in ("listed", "mixed"):
            for scheme in ("http", "https"):
                for network in (outside.network(), real):
                    assert refused(f"{scheme}://{host}.example.com/", network).reason == "not_public"
    assert (seen, outside.dialled, server.accepted) == ([], [], 0)


@pytest.mark.parametrize("url", [*LITERALS, "http://inside.example.com/", "//inside.example.com/"])
def test_a_redirect_to_an_odd_form_or_inside_ends_at_its_hop(url: str) -> None:
    """A reference without a host stays on the one that gave it, which is allowed; everything else is refused."""
    located = url.encode().decode("latin-1").translate(dict.fromkeys(range(0x20), "%00"))
    hops = Server(
        lambda asked: [answer("302 Found", location=located) if asked.line.startswith("GET / ") else answer()]
    )
    outside = Outside(hops.port, {"listed.example.com": [PUBLIC], "inside.example.com": ["10.0.0.1"]})
    question = Question("GET", parse_url("http://listed.example.com/"))
    with connections() as seen:
        try:
            found = ask(question, admit=everything, network=outside.network(), seconds=5, redirects=5)
            assert found.target.host == "listed.example.com"
            assert not re.match(r"\s*[a-z+]+:|.*//", url)
        except Refused:
            assert outside.dialled == [PUBLIC]
        finally:
            hops.close()
    assert set(outside.dialled) == {PUBLIC}
    assert seen == [("127.0.0.1", hops.port)] * len(outside.dialled)


def test_a_name_that_means_something_else_a_moment_later_is_dialled_as_it_was_checked(server: Server) -> None:
    outside = Outside(server.port, {"rebind.example.com": [[PUBLIC], ["127.0.0.1"]]})
    found = ask(
        Question("GET", parse_url("http://rebind.example.com/")),
        admit=everything,
        network=outside.network(),
        seconds=5,
    )
    assert found.status == 200
    assert (outside.dialled, outside.resolved) == ([PUBLIC], ["rebind.example.com"])
    assert refused("http://rebind.example.com/", outside.network()).reason == "not_public"
    assert server.accepted == 1


def test_a_redirect_to_itself_is_resolved_and_checked_again() -> None:
    hops = Server(lambda asked: [answer("302 Found", location="/again")])
    outside = Outside(hops.port, {"rebind.example.com": [[PUBLIC], ["169.254.169.254"]]})
    try:
        assert refused("http://rebind.example.com/", outside.network()).reason == "not_public"
        assert (outside.dialled, hops.accepted) == ([PUBLIC], 1)
    finally:
        hops.close()


def test_every_hop_is_admitted_and_gets_only_what_belongs_to_its_host() -> None:
    def say(asked: Asked) -> list[bytes]:
        where = {"/": "http://other.example.org/next", "/next": "/last"}.get(asked.line.split()[1])
        return [answer("307 Temporary Redirect", location=where) if where else answer(body=b"done")]

    hops = Server(say)
    outside = Outside(hops.port, {"listed.example.com": [PUBLIC], "other.example.org": [OTHER]})

    def admit(target: Target) -> Access:
        return Access((("Authorization", f"Bearer for-{target.host}"),) if target.host.startswith("listed") else ())

    try:
        found = ask(
            Question("GET", parse_url("http://listed.example.com/")),
            admit=admit,
            network=outside.network(),
            seconds=5,
            redirects=5,
        )
    finally:
        hops.close()
    assert (found.body.content, found.redirects, found.target.url) == (b"done", 2, "http://other.example.org/last")
    assert [one.headers.get("authorization") for one in hops.asked] == ["Bearer for-listed.example.com", None, None]
    assert [one.headers["host"] for one in hops.asked] == [
        "listed.example.com",
        "other.example.org",
        "other.example.org",
    ]


def test_a_host_that_is_not_admitted_is_neither_resolved_nor_asked() -> None:
    hops = Server(lambda asked: [answer("302 Found", location="https://evil.example.net/?q=secret")])
    outside = Outside(hops.port, {"listed.example.com": [PUBLIC], "evil.example.net": [OTHER]})

    def admit(target: Target) -> Access:
        if target.host != "listed.example.com":
            raise Refused("host_not_allowed", "no")
        return Access()

    try:
        with pytest.raises(Refused, match="no"):
            ask(
                Question("GET", parse_url("http://listed.example.com/")),
                admit=admit,
                network=outside.network(),
                seconds=5,
                redirects=5,
            )
        assert (outside.resolved, outside.dialled) == (["listed.example.com"], [PUBLIC])
    finally:
        hops.close()


@pytest.mark.parametrize(("start", "location"), [("https", "http://listed.example.com/"), ("http", "/")])
def test_a_downgrade_and_a_circle_end(start: str, location: str) -> None:
    hops = Server(
        lambda asked: [answer("301 Moved", location=location)],
        certificate_for="listed.example.com" if start == "https" else "",
    )
    outside = Outside(hops.port, {"listed.example.com": [PUBLIC]}, tls=True)
    try:
        found = refused(f"{start}://listed.example.com/", outside.network())
    finally:
        hops.close()
    assert found.reason == ("downgrade" if start == "https" else "redirects")
    assert hops.accepted == (1 if start == "https" else 6)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.port}")
    outside = Outside(server.port, {"listed.example.com": ["10.0.0.1"]})
    with connections() as seen:
        refused("http://listed.example.com/", Network(resolve=outside.resolve))
    assert (seen, server.accepted) == ([], 0)


def test_the_record_of_connections_would_have_seen_one(server: Server) -> None:
    with connections() as seen, socket.create_connection(("127.0.0.1", server.port)):
        pass
    assert seen == [("127.0.0.1", server.port)]


@given(st.integers(0, 2**32 - 1))
def test_no_mapped_translated_or_tunnelled_form_of_any_address_counts_as_public(number: int) -> None:
    from ipaddress import IPv4Address, IPv6Address

    for prefix, shift in ((0xFFFF << 32, 0), (0x64FF9B << 96, 0), (0x2002 << 112, 80), (0xFFFF << 48, 0), (0, 0)):
        assert not_public(str(IPv6Address(prefix | number << shift)))
    assert not_public(str(IPv4Address(number))) or IPv4Address(number).is_global


@given(st.text(alphabet="htps:/.@%#?[]\\0123456789abcxlo-_ \t", max_size=40))
def test_whatever_passes_is_a_plain_name_in_one_spelling(text: str) -> None:
    for url in (text, f"http://{text}", f"https://listed.example.com{text}"):
        try:
            target = parse_url(url)
        except Refused:
            continue
        assert parse_url(target.url) == target
        assert (
            target.host.rpartition(".")[2].isalpha()
            or target.host.rpartition(".")[2].startswith("xn--")
            or (not target.host.rpartition(".")[2][0].isdigit())
        )
