"""Strict reading of configuration from the environment.

Every function takes the variable's name, so that each refusal names the variable, what it held and what is accepted.
Empty means unset. All raise `django.core.exceptions.ImproperlyConfigured`.
"""

import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
_PROVIDER = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


class Environment:
    """Read typed values from a mapping of environment variables."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values: Mapping[str, str] = os.environ if values is None else values

    def text(self, name: str, default: str = "") -> str:
        """Return the variable without surrounding space, or the default when it is unset or empty."""
        return self._values.get(name, "").strip() or default

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a yes/no value; anything but 1, true, yes, on, 0, false, no, off is refused."""
        raw = self.text(name)
        if not raw:
            return default
        if raw.lower() in TRUE:
            return True
        if raw.lower() in FALSE:
            return False
        raise ImproperlyConfigured(f"{name} is {raw!r}: use 1, true, yes or on, or 0, false, no or off.")

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number between low and high, both included."""
        raw = self.text(name)
        if not raw:
            return default
        if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
            raise ImproperlyConfigured(f"{name} is {raw!r}: use a whole number from {low} to {high}.")
        return int(raw)

    def numbers(self, name: str, default: Sequence[int], *, low: int, high: int) -> tuple[int, ...]:
        """Return as many whole numbers as the default has, separated by commas, each from `low` to `high`."""
        text = self.text(name)
        parts = [part.strip() for part in text.split(",")] if text else [str(number) for number in default]
        readable = all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts)
        if len(parts) != len(default) or not readable or not all(low <= int(part) <= high for part in parts):
            raise ImproperlyConfigured(f"{name} must be {len(default)} whole numbers from {low} to {high}, like 1,2,3.")
        return tuple(int(part) for part in parts)

    def choice(self, name: str, options: Sequence[str], default: str) -> str:
        """Return one of the options."""
        raw = self.text(name, default)
        if raw not in options:
            raise ImproperlyConfigured(f"{name} is {raw!r}: use one of {', '.join(options)}.")
        return raw

    def names(self, name: str, default: Sequence[str] = ()) -> list[str]:
        """Return a comma-separated list; empty parts are refused."""
        raw = self.text(name)
        if not raw:
            return list(default)
        parts = [part.strip() for part in raw.split(",")]
        if not all(parts):
            raise ImproperlyConfigured(f"{name} is {raw!r}: write names separated by single commas.")
        return parts

    def origins(self, name: str) -> list[str]:
        """Return a comma-separated list of origins such as https://ops.example.com."""
        found = self.names(name)
        for origin in found:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or parts.query or parts.fragment:
                raise ImproperlyConfigured(
                    f"{name} holds {origin!r}: write scheme and host only, such as https://ops.example.com."
                )
        return found

    def url(self, name: str, schemes: Sequence[str], default: str = "", *, example: str) -> str:
        """Return a URL with one of the schemes; a refusal does not repeat the value, which may hold a password."""
        raw = self.text(name, default)
        if not raw:
            return ""
        scheme, separator, _ = raw.partition("://")
        if not separator or scheme not in schemes:
            raise ImproperlyConfigured(
                f"{name} must start with {' or '.join(s + '://' for s in schemes)}, as in {example}."
            )
        return raw

    def providers(self, prefix: str) -> dict[str, dict[str, str]]:
        """Return who serves models: name -> {"api_key", "base_url", "speaks"}, empty where nothing is said.

        Read from every variable <prefix><NAME>_API_KEY, _BASE_URL and _SPEAKS (compatible or anthropic); an underscore
        in NAME becomes a dash. Any other variable with this prefix is refused.
        """
        found: dict[str, dict[str, str]] = {}
        for variable in sorted(name for name in self._values if name.startswith(prefix)):
            rest = variable.removeprefix(prefix)
            suffix = next((s for s in ("_API_KEY", "_BASE_URL", "_SPEAKS") if rest.endswith(s)), "")
            name = rest.removesuffix(suffix)
            if not suffix or _PROVIDER.fullmatch(name) is None:
                raise ImproperlyConfigured(
                    f"{variable} is not understood: write {prefix}<NAME>_API_KEY, _BASE_URL or _SPEAKS, "
                    "NAME in capitals, digits and underscores."
                )
            values = found.setdefault(name.lower().replace("_", "-"), {"api_key": "", "base_url": "", "speaks": ""})
            match suffix:
                case "_API_KEY":
                    values["api_key"] = self.text(variable)
                case "_BASE_URL":
                    values["base_url"] = self.url(variable, ("http", "https"), example="https://models.example.com/v1")
                case _:
                    values["speaks"] = self.choice(variable, ("compatible", "anthropic"), "compatible")
        return {name: values for name, values in found.items() if any(values.values())}

    def database(self, name: str, default: str) -> dict[str, Any]:
        """Return Django's settings for a PostgreSQL or SQLite URL."""
        url = self.url(
            name, ("postgres", "postgresql", "sqlite"), default, example="postgres://user:password@host:5432/agentops"
        )
        try:
            config: dict[str, Any] = dict(environ.Env.db_url_config(url))
        except (ValueError, KeyError, ImproperlyConfigured) as error:
            raise ImproperlyConfigured(
                f"{name} cannot be read ({type(error).__name__}): check host, port and path."
            ) from None
        if not config.get("NAME"):
            raise ImproperlyConfigured(f"{name} names no database: end it with /agentops, say.")
        return config

    def email(self, name: str) -> dict[str, Any]:
        """Return Django's EMAIL_* settings for smtp://, smtp+tls:// or smtp+ssl://, or an empty dict when unset."""
        url = self.url(name, ("smtp", "smtp+tls", "smtp+ssl"), example="smtp+tls://user:password@mail.example.com:587")
        if not url:
            return {}
        try:
            return dict(environ.Env.email_url_config(url))
        except (ValueError, KeyError) as error:
            raise ImproperlyConfigured(
                f"{name} cannot be read ({type(error).__name__}): check host and port."
            ) from None


def own_names(host: str) -> list[str]:
    """Return the host names under which a process listening on this address is reached.

    On every address (0.0.0.0 or ::) these are the machine's own name and the loopback names.
    """
    names = ["127.0.0.1", "localhost", "[::1]"]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  compared, not bound
        names.append(socket.gethostname().lower())
    elif host:
        names.append(f"[{host}]" if ":" in host else host.lower())
    return list(dict.fromkeys(name for name in names if name))


def make_private_directory(path: Path) -> Path:
    """Create the directory, readable by its owner only, when it is missing; say what to do when that fails."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data directory {path} cannot be made ({error.strerror}): "
            "set AGENTOPS_DATA_DIR to a directory you may write to."
        ) from None
    return path


def persistent_secret(path: Path) -> str:
    """Return the secret kept in the file, made on first use with mode 0600; two first starts agree on one secret."""
    make_private_directory(path.parent)
    try:
        if not path.exists():
            draft = path.with_name(f"{path.name}.{os.getpid()}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as handle:
                handle.write(secrets.token_urlsafe(64))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The secret key file {path} cannot be used ({error.strerror}): "
            "make its directory writable, set AGENTOPS_DATA_DIR to one that is, or set SECRET_KEY."
        ) from None
    if len(secret) < 50:
        raise ImproperlyConfigured(f"The secret key file {path} is damaged: delete it to have a new one made.")
    return secret
