"""Where an address really leads, whatever it looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.values.hosts import addresses_in, domain_of, host_of, registrable, split_host


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://bank.example/login", "bank.example"),
        ("https://bank.example@evil.example/", "evil.example"),
        ("https://bank.example\\@evil.example/", "bank.example"),
        ("https://EVIL.example:8443/bank.example", "evil.example"),
        ("https://bank.example%2f@evil.example/", "evil.example"),
        ("ht\ttps://evil\n.example/", "evil.example"),
        ("https://[::1]/", "::1"),
        ("https://[::1", ""),
        ("evil.example/path", ""),
    ],
)
def test_the_host_of_a_url(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("maria@bank.example", "bank.example"),
        ('"maria@bank.example" <eve@evil.example>', "evil.example"),
        ("maria@bank.example <eve@EVIL.example>", "evil.example"),
        ("nobody", ""),
    ],
)
def test_the_domain_of_an_address(address: str, domain: str) -> None:
    assert domain_of(address) == domain


@pytest.mark.parametrize(
    ("host", "owned"),
    [
        ("bank.example.evil.example", "evil.example"),
        ("www.evil.co.uk", "evil.co.uk"),
        ("bank.github.io", "bank.github.io"),
        ("www.bank.github.io", "bank.github.io"),
        ("10.0.0.1", "10.0.0.1"),
        ("localhost", "localhost"),
    ],
)
def test_what_somebody_registered(host: str, owned: str) -> None:
    assert registrable(host) == owned
    assert "".join(split_host(host)) == host


def test_where_a_value_points() -> None:
    assert addresses_in("a@one.example, b@two.example") == ["one.example", "two.example"]
    assert addresses_in("https://x@one.example/") == ["one.example"]
    assert addresses_in("A-1093") == addresses_in(7) == []


@given(st.text(max_size=200))
def test_nothing_breaks_it(text: str) -> None:
    assert isinstance(host_of(text), str)
    assert isinstance(domain_of(text), str)
    assert "".join(split_host(text)) == text
