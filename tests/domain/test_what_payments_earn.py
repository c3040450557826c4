"""What payments earn, held against a second reckoning; and what a refund may change, and what not."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.awards import engine
from goodword.awards.due import AwardKey, Due
from goodword.awards.history import Facts, Payment, Takeback
from goodword.awards.paid import Paid, period_of
from goodword.core import money
from goodword.program.document import Program
from tests.support import reckoning, stories
from tests.support.reckoning import Earned
from tests.support.stories import END, FOR_EACH_PROGRAM, PROGRAMS

Points = dict[AwardKey, Earned]


def earned(program: Program, facts: Facts, at: datetime = END) -> Points:
    """What the engine says payments earn, by award."""
    keys = {payment.id: payment.key for payment in facts.payments}
    standing = engine.standing(program, facts, at, processed_at=at)
    return {
        due.key: Earned(due.period, keys.get(due.payment_id) if due.payment_id else None, due.base_points, left(due))
        for due in standing.due if due.payments and not due.reason
    }  # fmt: skip


def left(due: Due) -> int:
    return money.rounded(due.base_points * due.share)


@pytest.mark.soak
@pytest.mark.parametrize("program", PROGRAMS)
@FOR_EACH_PROGRAM
@given(story=stories.stories(), hours=st.integers(0, 600 * 24))
def test_the_engine_comes_to_what_a_second_reckoning_of_the_rules_comes_to(
    program: str, story: list[stories.Report], hours: int
) -> None:
    facts, at = stories.known(story), stories.REGISTERED + timedelta(hours=hours)
    earned_points = {
        (event, occasion): each for (event, _, occasion), each in earned(PROGRAMS[program], facts, at).items()
    }
    assert earned_points == reckoning.reckoned(PROGRAMS[program], facts, at)


def paid(facts: Facts) -> Sequence[Payment]:
    return engine.counting(PROGRAMS["fixed"], facts, END).paid


def more(facts: Facts, back: Takeback) -> Facts:
    return facts._replace(takebacks=(*facts.takebacks, back))


def with_refund(facts: Facts, which: int, part: int, later: timedelta) -> tuple[Facts, Takeback, Payment]:
    payments = paid(facts)
    of = payments[which % len(payments)]
    amount = (1, of.gross_amount // 3, of.gross_amount // 2, of.gross_amount)[part]
    return facts, Takeback(of.id, amount, "gone", of.paid_at + later), of


REFUNDS = st.builds(
    with_refund,
    stories.stories().map(stories.known).filter(lambda facts: bool(paid(facts))),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sampled_from([timedelta(days=days) for days in (0, 1, 29, 31, 200)]),
)
"""A story in which something counts, one more refund, and the payment that it is of."""


@pytest.mark.soak
@given(case=REFUNDS)
def test_within_a_period_no_refund_adds_points(case: tuple[Facts, Takeback, Payment]) -> None:
    facts, back, _ = case
    before, after = earned(PROGRAMS["fixed"], facts), earned(PROGRAMS["fixed"], more(facts, back))
    for key, award in after.items():
        if key in before and before[key].period == award.period:
            assert award.due <= before[key].due, key


@pytest.mark.soak
@given(case=REFUNDS)
def test_where_all_is_paid_within_one_period_no_refund_adds_points(case: tuple[Facts, Takeback, Payment]) -> None:
    facts, back, of = case
    payments = paid(facts)
    month = [each for each in payments if period_of(payments[0], each) == period_of(payments[0], of)]
    alone = facts._replace(payments=tuple(month))
    before, after = earned(PROGRAMS["fixed"], alone), earned(PROGRAMS["fixed"], more(alone, back))
    assert sum(each.due for each in after.values()) <= sum(each.due for each in before.values())


@pytest.mark.soak
@pytest.mark.parametrize("program", PROGRAMS)
@FOR_EACH_PROGRAM
@given(case=REFUNDS)
def test_a_refund_changes_awards_of_its_month_of_the_carriers_and_of_level_two_alone(
    program: str, case: tuple[Facts, Takeback, Payment]
) -> None:
    facts, back, of = case
    payments = paid(facts)
    refunded = period_of(payments[0], of)
    before, after = (earned(PROGRAMS[program], each) for each in (facts, more(facts, back)))
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    for event, _, occasion in changed:
        periods = {each[event, "", occasion].period for each in (before, after) if (event, "", occasion) in each}
        if event == "l2":
            assert periods == {refunded}
        elif event == "recurring":
            carriers = {carrying(program, each) for each in (facts, more(facts, back))}
            assert periods <= {refunded, *carriers}
        elif event == "qualified":
            assert refunded in periods or refunded == carrying(program, facts)


def carrying(program: str, facts: Facts) -> int:
    """The period of the payment that qualifies."""
    (qualified,) = [
        due for due in Paid(PROGRAMS[program], facts, paid(facts)).due() if due.event == "qualified"
    ]  # fmt: skip
    assert qualified.period is not None
    return qualified.period


@pytest.mark.soak
@pytest.mark.parametrize("program", PROGRAMS)
@FOR_EACH_PROGRAM
@given(case=REFUNDS)
def test_a_refund_that_failed_was_never_made(program: str, case: tuple[Facts, Takeback, Payment]) -> None:
    facts, back, _ = case
    failed = back._replace(state="kept")
    assert earned(PROGRAMS[program], more(facts, failed)) == earned(PROGRAMS[program], facts)
