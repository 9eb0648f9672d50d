"""The decision that the bench times is a real one: it asks a person, and a card can be made of it."""

from agentops.engine.folding import fold
from agentops.runs.recording import load
from agentops.tenancy.models import Tenant
from tests.bench import gate


def test_the_timed_decision_asks_a_person_with_and_without_the_database(scoped: Tenant) -> None:
    run = gate._letters()
    state = fold(load(run.id))
    assert gate._times(lambda: gate._alone(state), 5)[0] > 0
    taken = gate._times(lambda: gate._whole(run, state), 20)
    assert taken == sorted(taken)
    assert all(one > 0 for one in taken)
