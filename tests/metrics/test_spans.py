"""One run is one tree, across web and worker, the same whenever and wherever it is made; and nothing that was said."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.engine.events import CallSelected, CallSucceeded
from agentops.metrics import conventions as names
from agentops.metrics.spans import ROOT, span_id, spans_of, trace_id
from tests.metrics.histories import history

RUN = UUID("0192aaaa-0000-7000-8000-000000000001")


@given(st.integers(0, 10**6))
def test_the_spans_of_a_run_form_one_tree(seed: int) -> None:
    events = history(seed)
    spans = spans_of(RUN, "acme", events)
    ended = any(one.event.type in ("run.succeeded", "run.failed", "run.cancelled") for one in events)
    assert bool(spans) == ended
    if not ended:
        return
    keys = [one.key for one in spans]
    assert len(keys) == len(set(keys))
    assert [one.key for one in spans if not one.parent] == [ROOT]
    assert {one.parent for one in spans} - {""} <= set(keys)
    assert all(one.start <= one.end for one in spans)
    assert len({span_id(RUN, key) for key in keys}) == len(keys)
    root = spans[0]
    assert root.attributes[names.OPERATION] == "invoke_agent"
    assert root.attributes[names.CONVERSATION] == str(RUN)
    for one in spans:
        if one.parent == ROOT and one.key.startswith("drive"):
            assert one.attributes[names.PROCESS] == "w1" or one.attributes[names.PROCESS] == "w2"
    assert spans_of(RUN, "acme", events) == spans


def with_a_call_and_a_decision() -> int:
    for seed in range(200):
        types = {one.event.type for one in history(seed)}
        if {"call.succeeded", "proposal.decided", "run.succeeded"} <= types:
            return seed
    raise AssertionError("no such history")


def test_web_and_worker_are_in_it_and_content_is_not() -> None:
    events = history(with_a_call_and_a_decision())
    spans = spans_of(RUN, "acme", events)
    processes = {one.attributes[names.PROCESS] for one in spans if names.PROCESS in one.attributes}
    assert "web" in processes
    assert processes & {"w1", "w2"}
    operations = {one.attributes.get(names.OPERATION) for one in spans}
    assert {"invoke_agent", "execute_tool"} <= operations
    assert any(names.APPROVAL_VERDICT in one.attributes for one in spans)
    assert all(names.TOOL_ARGUMENTS not in one.attributes and names.TOOL_RESULT not in one.attributes for one in spans)
    told = spans_of(RUN, "acme", events, content=True)
    arguments = [one.attributes[names.TOOL_ARGUMENTS] for one in told if names.TOOL_ARGUMENTS in one.attributes]
    assert arguments
    assert len(arguments) <= sum(isinstance(one.event, CallSelected) for one in events) * 3
    assert any(isinstance(one.event, CallSucceeded) for one in events)


def test_the_sdk_gets_the_same_tree_and_the_metrics() -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentops.metrics.traces import Sink

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    resource = Resource({"service.name": "agentops"})
    sink = Sink(exporter, MeterProvider([reader], resource=resource).get_meter("agentops"), resource)
    spans = spans_of(RUN, "acme", history(with_a_call_and_a_decision()))
    sink.take(RUN, spans)
    sink.flush()
    exported = exporter.get_finished_spans()
    assert {one.context.trace_id for one in exported if one.context} == {trace_id(RUN)} == {RUN.int}
    roots = [one for one in exported if one.parent is None]
    assert [one.name for one in roots] == ["invoke_agent support"]
    ids = {one.context.span_id for one in exported if one.context}
    assert all(one.parent.span_id in ids for one in exported if one.parent)
    assert len(exported) == len(spans)
    found = reader.get_metrics_data()
    assert found is not None
    measured = {metric.name for scope in found.resource_metrics[0].scope_metrics for metric in scope.metrics}
    assert names.OPERATION_DURATION in measured
