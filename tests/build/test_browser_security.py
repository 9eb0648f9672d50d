"""What every response tells the browser."""

import pytest
from django.test import Client

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "font-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/sign-in", "/healthz", "/no/such/page", "/", "/t/acme/", "/api/v1/nothing"])
def test_every_response_carries_the_policies(client: Client, path: str) -> None:
    response = client.get(path)
    assert set(response.headers["Content-Security-Policy"].split("; ")) == POLICY
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in response.headers["Permissions-Policy"]


def test_the_api_pages_may_draw_icons_and_nothing_else_more(client: Client) -> None:
    policy = set(client.get("/api/docs/").headers["Content-Security-Policy"].split("; "))
    assert policy == POLICY - {"img-src 'self'"} | {"img-src 'self' data:"}


@pytest.mark.django_db
def test_the_health_check_needs_nobody_signed_in(client: Client) -> None:
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "database": "ok", "worker": "elsewhere"}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/account/sign-up", "/account/e-mail"])
def test_there_is_no_sign_up(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.post(path, {"email": "mallory@example.com", "password1": "a long enough password"}).status_code == 404
