"""The arithmetic of an account: nothing fits beyond the limit, nothing is lost, nothing counts twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentops.budgets.balance import Balance, Overdrawn

amounts = st.integers(0, 1000)


@given(amounts, amounts, amounts, st.integers(1, 3000))
def test_a_reservation_fits_exactly_up_to_the_limit(reserved: int, spent: int, amount: int, hard: int) -> None:
    balance = Balance(reserved, spent)
    after = balance.reserve(amount, hard)
    assert (after is not None) == (reserved + spent + amount <= hard)
    if after is not None:
        assert (after.reserved, after.spent) == (reserved + amount, spent)
        assert balance.left(hard) >= amount
        assert after.settle(amount, 0) == balance, "giving back leaves no trace"


@given(amounts, amounts, amounts, amounts)
def test_settling_keeps_what_others_hold_and_adds_what_was_spent(
    others: int, mine: int, spent: int, actual: int
) -> None:
    after = Balance(others + mine, spent).settle(mine, actual)
    assert after == Balance(others, spent + actual)
    assert after.correct(actual, actual // 2) == Balance(others, spent + actual // 2)


@pytest.mark.parametrize(("reserved", "spent"), [(11, 0), (-1, 0), (1, -1)])
def test_nobody_gives_back_what_was_never_set_aside(reserved: int, spent: int) -> None:
    with pytest.raises(Overdrawn):
        Balance(10, 10).settle(reserved, spent)
    with pytest.raises(Overdrawn):
        Balance(10, 10).correct(reserved, spent)


def test_negative_amounts_are_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        Balance().reserve(-1, 10)


@given(amounts, amounts, st.integers(1, 3000), st.none() | st.integers(1, 3000))
def test_share_left_and_warning_agree(reserved: int, spent: int, hard: int, soft: int | None) -> None:
    balance = Balance(reserved, spent)
    assert (balance.left(hard) == 0) == (balance.share(hard) >= 100)
    assert balance.near(soft) == (soft is not None and reserved + spent >= soft)


class Spending(RuleBasedStateMachine):
    """Spenders that reserve, settle with less, crash, and are found out about later; estimates are upper bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.balance = Balance()
        self.hard = 1000
        self.open: list[int] = []
        self.assumed: list[int] = []
        self.really_spent = 0

    @rule(amount=st.integers(0, 600))
    def reserve(self, amount: int) -> None:
        after = self.balance.reserve(amount, self.hard)
        if after is not None:
            self.balance = after
            self.open.append(amount)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        held = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        actual = data.draw(st.integers(0, held))
        self.balance = self.balance.settle(held, actual)
        self.really_spent += actual

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        held = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.balance = self.balance.settle(held, held)
        self.assumed.append(held)

    @precondition(lambda self: self.assumed)
    @rule(data=st.data())
    def find_out(self, data: st.DataObject) -> None:
        assumed = self.assumed.pop()
        actual = data.draw(st.integers(0, assumed))
        self.balance = self.balance.correct(assumed, actual)
        self.really_spent += actual

    @invariant()
    def never_beyond_the_limit(self) -> None:
        assert self.balance.used <= self.hard

    @invariant()
    def every_spend_counts_once(self) -> None:
        assert self.balance.reserved == sum(self.open)
        assert self.balance.spent == self.really_spent + sum(self.assumed)


TestSpending = Spending.TestCase
