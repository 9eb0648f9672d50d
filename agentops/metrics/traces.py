"""Give the spans of ended runs to OpenTelemetry. Needs the extra `otel`, and OTEL_EXPORTER_OTLP_ENDPOINT; else nothing.

The process that counts runs exports them: workers and pages do nothing more than they did.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings

from agentops.engine.events import Stamped
from agentops.metrics import conventions as names
from agentops.metrics.spans import Span, span_id, spans_of, trace_id
from agentops.tenancy.scope import current_tenant_slug

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram
    from opentelemetry.sdk.trace import ReadableSpan

logger = logging.getLogger(__name__)

SCOPE = "agentops"


def emit(histories: Iterable[tuple[UUID, Sequence[Stamped]]]) -> None:
    """Export the spans of runs of the open tenant scope, and what their models used. Never raises."""
    if not settings.OTEL_ENDPOINT:
        return
    try:
        sink = _sink()
        for run_id, events in histories:
            sink.take(run_id, spans_of(run_id, current_tenant_slug(), events, content=settings.OTEL_CONTENT))
        sink.flush()
    except Exception:
        logger.exception("traces could not be exported")


class Sink:
    """Turns spans into those of the SDK. `exporter` is any span exporter, `meter` any meter."""

    def __init__(self, exporter: Any, meter: Any, resource: Any) -> None:
        self._exporter, self._resource = exporter, resource
        self._duration: Histogram = meter.create_histogram(names.OPERATION_DURATION, "s", "Duration of an operation")
        self._tokens: Histogram = meter.create_histogram(names.TOKEN_USAGE, "{token}", "Tokens used")
        self._waiting: list[ReadableSpan] = []

    def take(self, run_id: UUID, spans: Iterable[Span]) -> None:
        """Keep the spans of one run until the next flush, and measure them."""
        for one in spans:
            self._waiting.append(readable(run_id, one, self._resource))
            self._measure(one)

    def flush(self) -> None:
        """Export what was taken."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._exporter.export(waiting)

    def _measure(self, one: Span) -> None:
        operation = one.attributes.get(names.OPERATION)
        if operation not in (names.CHAT, names.EXECUTE_TOOL):
            return
        about = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.TOOL_NAME)
        labels = {name: one.attributes[name] for name in about if name in one.attributes}
        if one.error:
            labels[names.ERROR] = one.error
        self._duration.record((one.end - one.start).total_seconds(), labels)
        for name, kind in ((names.INPUT_TOKENS, "input"), (names.OUTPUT_TOKENS, "output")):
            if name in one.attributes:
                self._tokens.record(int(one.attributes[name]), {**labels, names.TOKEN_TYPE: kind})


def readable(run_id: UUID, one: Span, resource: Any) -> "ReadableSpan":
    """Return a span as the SDK exports it."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(key: str) -> SpanContext:
        return SpanContext(trace_id(run_id), span_id(run_id, key), False, TraceFlags(TraceFlags.SAMPLED))

    attributes = dict(one.attributes) | ({names.ERROR: one.error} if one.error else {})
    return ReadableSpan(
        name=one.name,
        context=context(one.key),
        parent=context(one.parent) if one.parent else None,
        resource=resource,
        attributes=attributes,
        kind=SpanKind.CLIENT if one.attributes.get(names.OPERATION) == names.CHAT else SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR, one.error) if one.error else Status(StatusCode.UNSET),
        start_time=_ns(one.start),
        end_time=_ns(one.end),
        instrumentation_scope=InstrumentationScope(SCOPE),
    )


@cache
def _sink() -> Sink:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    resource = Resource.create({"service.name": SCOPE})
    base = settings.OTEL_ENDPOINT.rstrip("/")
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=5))
    meter = MeterProvider([reader], resource=resource).get_meter(SCOPE)
    return Sink(OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=5), meter, resource)


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1000
