"""Histories that never were: the engine's own world with people who change their minds, costs and time."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

from agentops.engine.events import (
    CallProposed,
    CallSelected,
    Event,
    PlanFailed,
    PlanFinished,
    PlanMade,
    ProposalDecided,
    ProposalUndone,
    RunCancelled,
    Stamped,
    Usage,
)
from agentops.engine.folding import apply
from agentops.wire.parse import JSONObject
from tests.engine.world import START, World, submitted

TOOLS = {
    "read": {"version": "1.0.0", "digest": "d", "authority": ["to"]},
    "put": {"version": "1.0.0", "digest": "d", "authority": ["n"], "cost_micros": 30},
    "pay": {"version": "1.0.0", "digest": "d", "authority": ["to"], "cost_micros": 700},
}


@dataclass
class Lively(World):
    """A world whose draws come from `rng`."""

    rng: Random = field(default_factory=Random)

    def add(self, *events: Event, after: timedelta = timedelta(milliseconds=5)) -> None:
        for event in events:
            self.now += timedelta(milliseconds=self.rng.choice([0, 3, 40, 900, 61_000, 3_700_000]))
            if isinstance(event, CallProposed):
                event = replace(
                    event,
                    band=self.rng.choice(["low", "medium", "high"]),
                    rule=self.rng.choice(["rule.a", "rule.b"]),
                    reviewer_s=self.rng.choice([None, 20, 60]),
                )
            if isinstance(event, ProposalDecided):
                view: JSONObject = self.rng.choice([{}, {"dwell_ms": self.rng.choice([900, 40_000, 10**7])}])
                event = replace(event, view=view, reviewer_s=self.rng.choice([None, 7]))
            if isinstance(event, CallSelected):
                integrity = self.rng.choice(["trusted", "untrusted"])
                event = replace(event, provenance={"/to": {"sources": [], "integrity": integrity, "readers": None}})
            stamped = Stamped(self.state.seq + 1, self.now, event)
            self.state = apply(self.state, stamped)
            self.history.append(stamped)

    def decide_proposal(self, call_id: str, proposal_id: str, call_digest: str) -> None:
        super().decide_proposal(call_id, proposal_id, call_digest)
        last = self.history[-1].event
        if not isinstance(last, ProposalDecided) or last.verdict == "reject":
            return
        if self.rng.random() < 0.3:
            self.add(ProposalUndone(proposal_id, call_id, last.version, self.rng.choice(["user:2", "user:3"])))
            self.decide_proposal(call_id, proposal_id, call_digest)

    def planned(self, version: int) -> PlanMade | PlanFailed | PlanFinished:
        made = super().planned(version)
        if self.rng.random() < 0.5:
            return made
        usage = Usage(1, self.rng.randrange(900), self.rng.randrange(90), self.rng.randrange(500), 700, 0, 0)
        return replace(made, usage=usage)


def history(seed: int, *, task_type: str = "support") -> list[Stamped]:
    """Return the events of one run; most have ended, some wait, some were cancelled on the way."""
    rng = Random(seed)
    steps: list[JSONObject] = []
    for index in range(rng.randint(1, 4)):
        calls: list[JSONObject] = [
            {"tool": rng.choice(["read", "put", "pay"]), "arguments": {"n": rng.randrange(2), "to": "a b c"}}
            for _ in range(rng.choice([1, 1, 2]))
        ]
        steps.append(
            {"id": f"s{index}", "on_failure": rng.choice(["fail", "continue", "continue"]), "calls": list(calls)}
        )
    task = submitted(
        task_type=task_type,
        tools=TOOLS,
        success_when=rng.choice(["", "true"]),
        origin=rng.choice(["submitted", "api", "api", "regression"]),
        planner=rng.choice(["playbook:support@1", "model:m"]),
        prompt=rng.choice(["", "support@2"]),
        models=rng.choice([[], ["acme:large", "acme:small"]]),
    )
    world = Lively({"steps": list(steps)}, task, now=START + timedelta(hours=rng.randrange(60)), rng=rng)
    kindness = rng.choice([0.0, 0.9])
    world.draw = lambda choices: choices[0] if rng.random() < kindness else rng.choice(choices)
    stop = rng.randrange(1, 12) if rng.random() < 0.4 else 400
    world.run(stop)
    if not world.state.state.terminal and rng.random() < 0.8:
        world.add(RunCancelled(rng.choice(["user:1", "user:2"]), "enough"))
    return world.history
