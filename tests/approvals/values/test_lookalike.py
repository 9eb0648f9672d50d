"""Names that a hurried reader would take for another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.values.lookalike import looks_like

KNOWN = ["paypal.example", "harbor.example", "acme-invoices.example", "modern.example"]


@pytest.mark.parametrize(
    ("name", "taken_for"),
    [
        ("pаypal.example", "paypal.example"),
        ("xn--pypal-4ve.example", "paypal.example"),
        ("paypa1.example", "paypal.example"),
        ("harb0r.example", "harbor.example"),
        ("rnodern.example", "modern.example"),
        ("harbour.example", "harbor.example"),
        ("hrabor.example", "harbor.example"),
        ("acme-invoice.example", "acme-invoices.example"),
        ("HARBOR.example", ""),
        ("haven.example", ""),
        ("payments.example", ""),
    ],
)
def test_what_a_name_could_be_taken_for(name: str, taken_for: str) -> None:
    assert looks_like(name, KNOWN) == taken_for


@given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=4))
def test_a_known_name_is_never_a_look_alike(name: str, known: list[str]) -> None:
    assert looks_like(name, [*known, name]) == ""
    looks_like(name, known)
