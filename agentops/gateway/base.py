"""What every API view has: token, scope, tenant, rate limit, JSON in and out."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, ClassVar, Final, TypeVar, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.http import parse_header_parameters
from pydantic import BaseModel, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from agentops.gateway.authentication import Caller, ServiceTokenAuthentication
from agentops.gateway.parsers import StrictJSONParser
from agentops.gateway.problems import Fault, Problem
from agentops.tenancy.access import can
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import pointer_token

M = TypeVar("M", bound=BaseModel)

_CHARSETS: Final = frozenset({"utf-8", "utf8"})


class OnlyJSON(BaseContentNegotiation):
    """Answer with JSON whatever the Accept header says, as RFC 9110 section 12.5.1 allows."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser | None:
        """Return the parser if the body says that it is JSON, in UTF-8 where it says so."""
        media_type, parameters = parse_header_parameters(request.content_type or "")
        if parameters.get("charset", "utf-8").lower() not in _CHARSETS:
            return None
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the one renderer."""
        return renderers[0], renderers[0].media_type


class CallerThrottle(ScopedRateThrottle):
    """Count requests per token and per scope (`submit`, `read`); the rates are read anew for every request."""

    @property
    def THROTTLE_RATES(self) -> Mapping[str, str | None]:  # type: ignore[override]  # noqa: N802 - the framework's name
        """The rates of the settings."""
        return cast(Mapping[str, str | None], settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"])


class ApiView(APIView):
    """Base of every view of the API.

    `scopes` maps each method to the scopes of which the token needs one. The handler and everything it returns is
    computed inside the tenant's scope; `leave_tenant` ends it early.
    """

    authentication_classes = (ServiceTokenAuthentication,)
    permission_classes = (IsAuthenticated,)
    throttle_classes = (CallerThrottle,)
    parser_classes = (StrictJSONParser,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = OnlyJSON
    metadata_class = None
    http_method_names = ("get", "head", "post")
    throttle_scope = "read"
    scopes: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @property
    def caller(self) -> Caller:
        """The program that calls, once `initial` has run."""
        return cast(Caller, self.request.user)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer one request; the tenant's scope ends with it."""
        with ExitStack() as self._tenant:
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check token, rate and scope, then enter the tenant. HEAD needs the scope that GET needs."""
        super().initial(request, *args, **kwargs)
        # Methods that the view lacks are not judged here. Whoever lacks the scope was counted like everybody else.
        if scopes := self.scopes.get("GET" if request.method == "HEAD" else str(request.method), ()):
            must(self.caller, *scopes)
        if "Transfer-Encoding" in request.headers and "Content-Length" not in request.headers:
            # The framework would take such a body for an empty one.
            raise Problem("length_required", "Send the body in one piece, with its Content-Length.")
        packed = request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")
        if packed and request.method == "POST":
            detail = "Send the body as it is, without a Content-Encoding."
            raise Problem("unsupported_media_type", detail, headers={"Accept-Encoding": "identity"})
        self.enter_tenant()

    def enter_tenant(self) -> None:
        """Open the tenant's scope for the rest of the request."""
        self._tenant.enter_context(tenant_scope(self.caller.tenant))

    def leave_tenant(self) -> None:
        """End the tenant's scope before the handler ends."""
        self._tenant.close()

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Keep answers out of every cache."""
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        answer.headers.setdefault("Cache-Control", "private, no-store")
        return answer


def must(caller: Caller, *scopes: str) -> None:
    """Raise `Problem` (insufficient_scope) unless the token has one of the scopes."""
    if not any(can(caller.actor, scope) for scope in scopes):
        challenge = f'Bearer realm="api", error="insufficient_scope", scope="{" ".join(scopes)}"'
        needed = " or ".join(scopes)
        raise Problem("insufficient_scope", f"This needs the scope {needed}.", headers={"WWW-Authenticate": challenge})


def read_body(model: type[M], request: Request) -> M:
    """Return the body as `model`; raise `Problem` (invalid_request) with a pointer for everything wrong with it."""
    try:
        return model.model_validate(request.data)
    except ValidationError as error:
        faults = [Fault(code, detail, pointer=_pointer(place)) for code, detail, place in _faults(error)]
        raise Problem("invalid_request", "The body does not have the right form.", faults=faults) from None


def read_query(model: type[M], request: Request) -> M:
    """Return the query parameters as `model`; raise `Problem` (invalid_parameter).

    Unknown ones are refused, and those that are given twice: whoever stands between might have read the other one.
    """
    twice = [name for name, values in request.query_params.lists() if len(values) > 1]
    if twice:
        faults = [Fault("repeated", "Give it once.", parameter=name[:80]) for name in twice[:20]]
        raise Problem("invalid_parameter", "A query parameter is given more than once.", faults=faults)
    try:
        return model.model_validate_strings(request.query_params.dict())
    except ValidationError as error:
        faults = [
            Fault(code, detail, parameter=str(place[0])[:80] if place else "") for code, detail, place in _faults(error)
        ]
        raise Problem("invalid_parameter", "A query parameter is not valid.", faults=faults) from None


def _faults(error: ValidationError) -> list[tuple[str, str, tuple[int | str, ...]]]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [(one["type"], f"{one['msg']}.", one["loc"]) for one in found[:20]]


def _pointer(place: tuple[int | str, ...]) -> str:
    return "".join(f"/{pointer_token(str(part)[:80])}" for part in place)
