"""The choice of light or dark: a cookie set by a form, read before the first paint."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chosen_theme_is_in_the_next_page(client: Client, theme: str) -> None:
    answer = client.post("/theme", {"theme": theme, "next": "/sign-in"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in")
    assert f'data-theme="{theme}"' in client.get("/sign-in").content.decode()


def test_the_system_decides_without_a_choice(client: Client) -> None:
    client.post("/theme", {"theme": "dark"})
    client.post("/theme", {"theme": "system"})
    assert "data-theme" not in client.get("/sign-in").content.decode()


@pytest.mark.parametrize("cookie", ['dark" onload="x', "purple", ""])
def test_a_made_up_cookie_is_not_printed(client: Client, cookie: str) -> None:
    client.cookies["theme"] = cookie
    assert "data-theme" not in client.get("/sign-in").content.decode()


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_the_form_leads_nowhere_else(client: Client, address: str) -> None:
    assert client.post("/theme", {"theme": "dark", "next": address}).headers["Location"] == "/"


def test_a_link_cannot_change_it(client: Client) -> None:
    assert client.get("/theme").status_code == 405
