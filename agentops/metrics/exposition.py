"""What Prometheus is told, read from the rows: the same from every process, and right after a restart.

Counters are the cells of everything there ever was. A run that is tried again takes its first end back, so a counter
may go down by a little; Prometheus takes that for a restart.
"""

from collections.abc import Iterable, Iterator

from django.conf import settings
from django.utils.crypto import constant_time_compare
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from agentops.clock import now
from agentops.metrics.cells import Grain, Kind
from agentops.metrics.dashboard import behind, in_flight, open_alarms
from agentops.metrics.models import Rollup
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Rows(Collector):
    """Reads the figures of every tenant when it is asked: three small queries for each."""

    def collect(self) -> Iterable[Metric]:
        """Yield every family once, with the samples of all tenants."""
        families = _Families()
        for tenant in Tenant.objects.order_by("pk"):
            with tenant_scope(tenant):
                families.read(tenant.slug)
        return families.all()

    def describe(self) -> Iterable[Metric]:
        """Say nothing before it is asked, so that registering costs no query."""
        return ()


class _Families:
    def __init__(self) -> None:
        run = ["tenant", "task_type"]
        self.runs = CounterMetricFamily("agentops_runs_ended", "Runs that ended.", labels=[*run, "outcome"])
        self.steps = CounterMetricFamily("agentops_steps", "Planner steps of runs that ended.", labels=run)
        self.tokens = CounterMetricFamily("agentops_model_tokens", "Tokens of runs that ended.", labels=run)
        self.cost = CounterMetricFamily(
            "agentops_cost_usd", "Cost of runs that ended, in US dollars.", labels=[*run, "part"]
        )
        self.calls = CounterMetricFamily(
            "agentops_tool_calls", "Tool calls that ended, by outcome.", labels=[*run, "tool", "outcome"]
        )
        self.decisions = CounterMetricFamily(
            "agentops_proposals_closed", "Proposals that were decided or closed.", labels=[*run, "band", "verdict"]
        )
        self.orphans = CounterMetricFamily(
            "agentops_orphan_actions", "Effects without a permission on record.", labels=["tenant"]
        )
        self.flight = GaugeMetricFamily("agentops_runs_in_flight", "Runs under way, up to 1000.", labels=["tenant"])
        self.alarms = GaugeMetricFamily("agentops_alarms_open", "Alarms that nobody has reset.", labels=["tenant"])
        self.lag = GaugeMetricFamily(
            "agentops_rollup_lag_seconds", "How far counting is behind the record.", labels=["tenant"]
        )

    def read(self, tenant: str) -> None:
        orphans = 0
        rows = Rollup.objects.filter(grain=Grain.ALL, kind__in=[Kind.RUN, Kind.TOOL, Kind.BAND])
        for kind, task_type, key, counts in rows.order_by("pk").values_list("kind", "task_type", "key", "counts"):
            of = [tenant, task_type]
            if kind == Kind.RUN:
                for outcome in ("succeeded", "failed", "cancelled", "taken_back"):
                    self.runs.add_metric([*of, outcome], counts.get(outcome, 0))
                self.steps.add_metric(of, counts.get("all_steps", 0))
                self.tokens.add_metric(of, counts.get("tokens", 0))
                for part in ("model", "tool"):
                    self.cost.add_metric([*of, part], counts.get(f"{part}_micros", 0) / 1_000_000)
            elif kind == Kind.TOOL:
                orphans += counts.get("orphans", 0)
                for outcome in ("ok", "agent", "tool", "policy"):
                    self.calls.add_metric([*of, key, outcome], counts.get(outcome, 0))
            else:
                for verdict in ("approve", "edit", "reject", "expired", "withdrawn"):
                    self.decisions.add_metric([*of, key, verdict], counts.get(verdict, 0))
        self.orphans.add_metric([tenant], orphans)
        self.flight.add_metric([tenant], in_flight(""))
        self.alarms.add_metric([tenant], len(open_alarms()))
        lag = behind(now())
        if lag is not None:
            self.lag.add_metric([tenant], max(0.0, lag.total_seconds()))

    def all(self) -> Iterator[Metric]:
        yield from (self.runs, self.steps, self.tokens, self.cost, self.calls, self.decisions, self.orphans)
        yield from (self.flight, self.alarms, self.lag)


def text() -> bytes:
    """Return the exposition of every tenant."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Rows())
    return generate_latest(registry)


def allowed(address: str, authorization: str) -> bool:
    """Whether somebody may ask: with the token where there is one, else only from this machine, if that is allowed."""
    if settings.METRICS_TOKEN:
        return constant_time_compare(authorization, f"Bearer {settings.METRICS_TOKEN}")
    return settings.METRICS_LOCAL and address in ("127.0.0.1", "::1")
