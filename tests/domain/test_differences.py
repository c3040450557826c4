"""What is booked is the difference between what should stand and what stands: in whatever steps it comes to one end."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.awards import differences, engine
from goodword.awards.decisions import Decision
from goodword.awards.differences import Difference
from goodword.awards.due import AwardKey, Due
from goodword.awards.screenings import UNDER_REVIEW, Restraint, Risk
from goodword.awards.stored import StoredAward
from goodword.core import ids
from goodword.program.document import AwardTerms
from tests.support import stories
from tests.support.stories import (
    DAY,
    FOR_EACH_PROGRAM,
    PEOPLE,
    PROGRAMS,
    REGISTERED,
    Applied,
    Back,
    Report,
    Sale,
    uncapped,
)

RISK_HOLD = timedelta(hours=48)
UNRESTRAINED = Restraint(disputed=False, risk="clear", risk_hold=timedelta())

Order = list[tuple[Report, datetime, bool]]


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Report], Order, datetime]:
    """A story; one way to tell it, each piece with when it comes and whether a job comes by then; and its end."""
    story = draw(stories.stories())
    order = draw(stories.orders(story))
    days = draw(st.sampled_from([0, 29, 30, 44, 89, 90, 130, 600]))
    hours = draw(st.lists(st.integers(0, days * 24), min_size=len(order), max_size=len(order)).map(sorted))
    jobs = draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))
    times = [REGISTERED + timedelta(hours=each) for each in hours]
    return story, list(zip(order, times, jobs, strict=True)), REGISTERED + days * DAY


@pytest.mark.soak
@pytest.mark.parametrize("program", PROGRAMS)
@FOR_EACH_PROGRAM
@given(arrivals=arrivals(), app_id=st.sampled_from([None, "chat"]))
def test_in_whatever_order_and_however_often_facts_come_they_end_in_the_same_awards(
    program: str, arrivals: tuple[list[Report], Order, datetime], app_id: str | None
) -> None:
    story, order, end = arrivals
    applied = Applied(PROGRAMS[program])
    applied.settle(stories.known([], app_id), REGISTERED)
    for number, (_, at, time_passes) in enumerate(order):
        facts = stories.known([each for each, _, _ in order[: number + 1]], app_id)
        applied.settle(facts, at, time_passes=time_passes)
        _, again = applied.settle(facts, at, time_passes=time_passes)
        assert again == Difference()
    standing, _ = applied.settle(stories.known([each for each, _, _ in order], app_id), end, time_passes=True)
    expected_standing, expected = stories.at_once(PROGRAMS[program], stories.known(story, app_id), end)
    assert standing == expected_standing
    assert applied.outcome(standing) == expected
    for award in applied.awards.values():
        left = award.points - award.reversed_points if award.stands else 0
        assert applied.booked.get(ids.public("awd", award.id), 0) == left


RISING: Sequence[Risk] = ("clear", "hold", "limited", "review", "refused")
JUDGED: Mapping[Risk, Sequence[Risk]] = {
    **{risk: RISING[place:] for place, risk in enumerate(RISING)},
    "approved": ("approved", "review", "refused"),
}
"""What a referral may be judged to be after something else: a signal never lowers suspicion, a review may end it."""


@st.composite
def suspicions(draw: st.DrawFn, length: int) -> list[Risk]:
    """What a referral is judged to be at each of so many steps, before anybody rejects it."""
    risks = list[Risk]()
    risk: Risk = draw(st.sampled_from(RISING))
    for _ in range(length):
        next_ones: list[Risk] = [risk, risk, *JUDGED[risk]]
        if risk in UNDER_REVIEW:
            next_ones.append("approved")
        risk = draw(st.sampled_from(next_ones))
        risks.append(risk)
    return risks


@pytest.mark.soak
@pytest.mark.parametrize("program", PROGRAMS)
@FOR_EACH_PROGRAM
@given(arrivals=arrivals(), end_in=st.sampled_from(["approved", "rejected"]), data=st.data())
def test_whatever_a_referral_is_suspected_of_in_between_a_review_ends_in_everything_or_nothing(
    program: str, arrivals: tuple[list[Report], Order, datetime], end_in: Risk, data: st.DataObject
) -> None:
    story, order, end = arrivals
    applied = Applied(PROGRAMS[program])
    risks = data.draw(suspicions(len(order)))
    for number, ((_, at, time_passes), risk) in enumerate(zip(order, risks, strict=True)):
        applied.risk = risk
        facts = stories.known([each for each, _, _ in order[: number + 1]])
        standing, _ = applied.settle(facts, at, time_passes=time_passes)
        _, again = applied.settle(facts, at, time_passes=time_passes)
        assert again == Difference()
        waits_of_terms = {due.key: due.hold_until for due in standing.due}
        for key, award in applied.awards.items():
            assert applied.booked.get(ids.public("awd", award.id), 0) == award.standing_points
            if award.hold_reason == "risk":
                # judging anew moves no hold: it runs from when the award was made
                risk_until = award.created_at + RISK_HOLD
                assert award.hold_until == max(risk_until, waits_of_terms[key] or risk_until)
    facts = stories.known([each for each, _, _ in order])
    applied.risk = end_in
    standing, _ = applied.settle(facts, end, time_passes=True)
    assert applied.settle(facts, end, time_passes=True)[1] == Difference()
    for award in applied.awards.values():
        assert applied.booked.get(ids.public("awd", award.id), 0) == award.standing_points
    if end_in == "rejected":
        assert {award.status for award in applied.awards.values()} <= {"rejected", "reversed"}
        assert not any(award.booked and award.status == "rejected" for award in applied.awards.values())
    else:
        expected_standing, expected = stories.at_once(PROGRAMS[program], stories.known(story), end)
        assert standing == expected_standing
        assert applied.outcome(standing) == expected


PAID = Sale(1, 1900, 1900, "usd", REGISTERED)
QUALIFIED: AwardKey = ("qualified", "", "1")


def refund(number: int, amount: int, *, failed: bool = False, sale: int = 1) -> Back:
    at = REGISTERED + DAY
    return Back("refund", number, sale, amount, at, "failed" if failed else "succeeded", at + failed * DAY)


def disputed(status: stories.Status, day: int, amount: int = 1900) -> Back:
    return Back("dispute", 1, 1, amount, REGISTERED + DAY, status, REGISTERED + day * DAY)


def booked(
    applied: Applied, *facts: Report, at: datetime = REGISTERED, time_passes: bool = False
) -> list[tuple[str, int]]:
    """What is booked when these are all the facts: types and points."""
    _, difference = applied.settle(stories.known(facts), at, time_passes=time_passes)
    return [(posting.type, posting.points) for posting in difference.postings]


def states(applied: Applied) -> dict[str, tuple[str, int]]:
    return {key[0]: (award.status, award.reversed_points) for key, award in applied.awards.items()}


def test_refunds_of_parts_take_back_half_up_and_the_last_one_takes_the_rest() -> None:
    applied = Applied(PROGRAMS["fixed"])
    backs = [refund(1, 500), refund(2, 700), refund(3, 699), refund(4, 1)]
    assert booked(applied, PAID)[2:] == [("REFERRAL_FIRST_PAYMENT", 25), ("REFERRAL_L2", 5)]
    # left: 25 x 1400/1900 = 18.4 and 5 x 1400/1900 = 3.7
    assert booked(applied, PAID, *backs[:1]) == [("REVERSAL", 7), ("REVERSAL", 1)]
    # 25 x 700/1900 = 9.2 and 1.8
    assert booked(applied, PAID, *backs[:2]) == [("REVERSAL", 9), ("REVERSAL", 2)]
    # 25 x 1/1900 = 0.01: a cent is left and no point of it, but the referral still stands
    assert booked(applied, PAID, *backs[:3]) == [("REVERSAL", 9), ("REVERSAL", 2)]
    assert states(applied)["qualified"] == ("reversed", 25)
    assert booked(applied, PAID, *backs) == []
    assert (7 + 9 + 9, 1 + 2 + 2) == (25, 5)


@pytest.mark.soak
@given(
    gross=st.integers(1, 10**6),
    parts=st.lists(st.integers(1, 10**6), max_size=8),
    terms=st.tuples(st.integers(1, 10**5), st.sampled_from(["points", "bps"])),
)
def test_whatever_the_parts_what_is_taken_back_is_half_up_at_every_step_and_the_whole_in_the_end(
    gross: int, parts: list[int], terms: tuple[int, str]
) -> None:
    amount, kind = terms
    program = PROGRAMS["fixed"].model_copy(
        update={"awards": PROGRAMS["fixed"].awards.model_copy(update={"qualified": terms_of(kind, amount)})}
    )
    sale = Sale(1, gross, gross, "usd", REGISTERED)
    applied, backs = Applied(program), list[Report]()
    _, difference = applied.settle(stories.known([sale]), REGISTERED)
    points = sum(posting.points for posting in difference.postings if posting.type == "REFERRAL_FIRST_PAYMENT")
    taken = 0
    for number, part in enumerate([*parts, gross], 1):
        backs.append(refund(number, part))
        _, difference = applied.settle(stories.known([sale, *backs]), REGISTERED)
        reference = next((ids.public("awd", award.id) for award in applied.awards.values() if is_first(award)), "")
        taken += sum(posting.points for posting in difference.postings if posting.reference == reference)
        left = max(gross - sum(parts[:number]), 0) if number <= len(parts) else 0
        assert points - taken == (2 * points * left + gross) // (2 * gross)
    assert taken == points


def terms_of(kind: str, amount: int) -> AwardTerms:
    return AwardTerms(points=amount) if kind == "points" else AwardTerms(bps=amount)


def is_first(award: StoredAward) -> bool:
    return award.event == "qualified"


def test_what_is_refunded_before_its_time_is_never_booked_and_what_is_left_is_booked_whole_and_taken_back() -> None:
    applied = Applied(PROGRAMS["waiting"])
    assert booked(applied, PAID) == []
    assert states(applied)["l2"] == ("pending", 0)
    assert booked(applied, PAID, refund(1, 1900)) == []
    assert (states(applied)["qualified"], states(applied)["l2"]) == (("reversed", 1), ("reversed", 3))
    some = (PAID, refund(1, 1900, failed=True), refund(2, 950))
    assert booked(applied, *some) == []
    assert (states(applied)["qualified"], states(applied)["l2"]) == (("pending", 0), ("pending", 1))
    later = REGISTERED + 30 * DAY
    assert booked(applied, *some, at=later) == []  # only the job pays what has waited
    assert booked(applied, *some, at=later, time_passes=True) == [
        ("REFERRAL_REGISTERED", 7), ("REFERRAL_WELCOME", 25), ("REFERRAL_FIRST_PAYMENT", 1),
        ("REFERRAL_L2", 3), ("REVERSAL", 1),
    ]  # fmt: skip


def test_a_dispute_holds_what_is_not_paid_takes_back_what_is_and_gives_it_back() -> None:
    applied = Applied(PROGRAMS["fixed"])
    next_month = Sale(2, 1900, 1900, "usd", REGISTERED + 31 * DAY)
    booked(applied, PAID)
    assert booked(applied, PAID, disputed("open", 1)) == []
    assert states(applied)["qualified"] == ("paid", 0)
    assert booked(applied, PAID, disputed("open", 1), next_month) == []
    assert states(applied)["recurring"] == ("held", 0)
    assert applied.awards["recurring", "", "2"].hold_reason == "dispute"
    everything = (PAID, disputed("open", 1), next_month)
    lost = booked(applied, *everything, disputed("lost", 2))
    # the next month qualifies now, and does not recur as well
    assert lost == [("REVERSAL", 5), ("REFERRAL_L2", 5)]
    assert (applied.awards[QUALIFIED].period, states(applied)["recurring"]) == (2, ("reversed", 10))
    assert booked(applied, *everything, disputed("lost", 2), disputed("won", 3)) == [
        ("REINSTATEMENT", 5), ("REFERRAL_RECURRING", 10),
    ]  # fmt: skip
    assert states(applied) == {
        "registered": ("paid", 0), "welcome": ("paid", 0), "qualified": ("paid", 0), "recurring": ("paid", 0),
        "l2": ("paid", 0),
    }  # fmt: skip


def test_an_inquiry_moves_nothing() -> None:
    applied = Applied(PROGRAMS["fixed"])
    booked(applied, PAID)
    assert booked(applied, PAID, disputed("warning", 1), Sale(2, 100, 100, "usd", REGISTERED + 31 * DAY)) == [
        ("REFERRAL_RECURRING", 10), ("REFERRAL_L2", 5),
    ]  # fmt: skip


def test_what_waits_for_a_review_stays_held_whatever_time_and_is_taken_back_with_its_money() -> None:
    applied = Applied(PROGRAMS["waiting"])
    booked(applied, PAID)
    applied.risk = "review"
    late = REGISTERED + 400 * DAY
    assert "REFERRAL_FIRST_PAYMENT" not in dict(booked(applied, PAID, at=late, time_passes=True))
    reviewed = applied.awards[QUALIFIED]
    assert (reviewed.status, reviewed.hold_reason, reviewed.hold_until) == ("held", "review", None)
    booked(applied, PAID, disputed("open", 1), at=late, time_passes=True)
    assert (applied.awards[QUALIFIED].status, applied.awards[QUALIFIED].hold_reason) == ("held", "dispute")
    booked(applied, PAID, disputed("won", 1), at=late, time_passes=True)
    assert applied.awards[QUALIFIED] == reviewed
    booked(applied, PAID, refund(1, 1900), at=late, time_passes=True)
    assert states(applied)["qualified"] == ("reversed", 1)


def test_what_was_paid_and_waits_again_is_taken_back_by_a_rejection_and_not_rejected() -> None:
    """It has an entry in the ledger, which says that it was given."""
    applied = Applied(PROGRAMS["waiting"])
    later, day_15 = Sale(2, 1900, 1900, "usd", REGISTERED + 14 * DAY), REGISTERED + 15 * DAY
    booked(applied, PAID, at=REGISTERED)
    booked(applied, PAID, later, at=day_15, time_passes=True)
    assert booked(applied, PAID, later, refund(1, 1900), at=day_15) == [("REVERSAL", 1)]
    assert (states(applied)["qualified"], applied.awards[QUALIFIED].booked) == (("pending", 0), True)
    applied.risk = "rejected"
    booked(applied, PAID, later, refund(1, 1900), at=day_15)
    assert states(applied)["qualified"] == ("reversed", 1)
    assert booked(applied, PAID, later, refund(1, 1900), at=REGISTERED + 300 * DAY, time_passes=True) == []


def test_an_earlier_payment_that_comes_late_moves_awards_without_booking_them_again() -> None:
    applied = Applied(PROGRAMS["waiting"])
    later = Sale(2, 1900, 1900, "usd", REGISTERED + 20 * DAY)
    booked(applied, later, at=later.paid_at)
    assert applied.awards[QUALIFIED].hold_until == REGISTERED + 34 * DAY
    _, difference = applied.settle(stories.known([later, PAID]), REGISTERED + 13 * DAY)
    assert (difference.changed, difference.postings) == ([], [])
    assert {award.event for award in difference.moved} == {"qualified", "l2"}
    moved = applied.awards[QUALIFIED]
    assert (moved.payment_id, moved.due_at) == (stories.known([PAID]).payments[0].id, REGISTERED)
    assert moved.hold_until == REGISTERED + 14 * DAY
    assert booked(applied, later, PAID, at=REGISTERED + 21 * DAY) == []
    assert ("REFERRAL_FIRST_PAYMENT", 1) in booked(applied, later, PAID, at=REGISTERED + 21 * DAY, time_passes=True)


def test_what_is_paid_for_a_payment_that_is_refunded_waits_again_with_the_one_that_is_kept() -> None:
    applied = Applied(PROGRAMS["waiting"])
    later, day_15 = Sale(2, 1900, 1900, "usd", REGISTERED + 14 * DAY), REGISTERED + 15 * DAY
    booked(applied, PAID, at=REGISTERED)
    assert ("REFERRAL_FIRST_PAYMENT", 1) in booked(applied, PAID, later, at=day_15, time_passes=True)
    assert booked(applied, PAID, later, refund(1, 1900), at=day_15) == [("REVERSAL", 1)]
    assert (states(applied)["qualified"], applied.awards[QUALIFIED].due_at) == (("pending", 0), later.paid_at)
    assert booked(applied, PAID, later, refund(1, 1900), disputed("open", 1), at=day_15) == []
    assert states(applied)["qualified"] == ("held", 0)
    failed = (PAID, later, refund(1, 1900, failed=True))
    assert ("REINSTATEMENT", 1) in booked(applied, *failed, at=day_15)
    assert ("REVERSAL", 1) in booked(applied, PAID, later, refund(1, 1900), at=day_15)
    at = REGISTERED + 28 * DAY
    assert booked(applied, PAID, later, refund(1, 1900), at=at) == []
    assert ("REINSTATEMENT", 1) in booked(applied, PAID, later, refund(1, 1900), at=at, time_passes=True)


def test_what_turns_out_to_have_waited_long_enough_is_paid_as_if_that_had_been_known() -> None:
    applied, in_order = Applied(PROGRAMS["waiting"]), Applied(PROGRAMS["waiting"])
    later, at = Sale(2, 1900, 1900, "usd", REGISTERED + 20 * DAY), REGISTERED + 21 * DAY
    booked(applied, later, at=at)
    assert states(applied)["qualified"] == ("pending", 0)
    # its time runs from the first payment and is over
    assert booked(applied, later, PAID, at=at) == [("REFERRAL_FIRST_PAYMENT", 1)]
    booked(in_order, PAID, later, at=at)
    assert states(applied) == states(in_order)


def test_the_percentage_of_a_payment_that_is_no_longer_the_first_is_taken_back() -> None:
    applied = Applied(PROGRAMS["percentages"])
    later = Sale(2, 5000, 5000, "usd", REGISTERED + DAY)
    booked(applied, later)
    assert booked(applied, later, PAID)[:1] == [("REFERRAL_FIRST_PAYMENT", 190)]
    assert applied.awards["qualified", "", "in_1"].status == "paid"
    assert applied.awards["qualified", "", "in_2"][5:8] == (500, 500, "reversed")


def test_the_people_are_asked_about_once_and_nobody_is_asked_about_again() -> None:
    """`decide` answers for a new award alone; where there was nobody to give it to, there may be later."""
    facts = stories.known([PAID])
    standing = engine.standing(PROGRAMS["fixed"], facts, REGISTERED)
    due_awards = list[Due]()

    def decide(due: Due) -> Decision | None:
        due_awards.append(due)
        if due.recipient == "upline":
            return None
        return Decision(PEOPLE[due.recipient], rejected="not_today" if due.event == "welcome" else None)

    difference = differences.between(standing, [], decide, REGISTERED, uncapped(REGISTERED), UNRESTRAINED)
    assert {award.event: award.status for award in difference.new} == {
        "registered": "paid", "welcome": "rejected", "qualified": "paid",
    }  # fmt: skip
    applied = Applied(PROGRAMS["fixed"])
    applied.keep(difference, REGISTERED)
    due_awards.clear()
    again = differences.between(
        standing, list(applied.awards.values()), decide, REGISTERED, uncapped(REGISTERED), UNRESTRAINED, releases=True
    )
    assert (again, [due.event for due in due_awards]) == (Difference(), ["l2"])


def test_a_multiplier_makes_points_of_base_points_half_up_and_what_is_taken_back_is_a_part_of_these() -> None:
    standing = engine.standing(PROGRAMS["fixed"], stories.known([PAID]), REGISTERED)
    half_more = Decision(PEOPLE["referrer"], multiplier_bps=15_000, tier="silver")
    difference = differences.between(standing, [], lambda _: half_more, REGISTERED, uncapped(REGISTERED), UNRESTRAINED)
    assert {award.event: award.points for award in difference.new} == {
        "registered": 8, "welcome": 38, "qualified": 38, "l2": 8,
    }  # fmt: skip
    applied = Applied(PROGRAMS["fixed"])
    applied.keep(difference, REGISTERED)
    assert booked(applied, PAID, refund(1, 950)) == [("REVERSAL", 19), ("REVERSAL", 4)]
