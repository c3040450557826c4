"""The award engine: what stands depends on the set of facts, and on nothing else."""

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from goodword.awards import engine
from goodword.awards.due import Due
from goodword.awards.engine import Standing
from goodword.awards.history import Facts, Payment, Subscription, Takeback, Use
from goodword.program.document import AwardTerms, Program
from tests.support import stories
from tests.support.stories import Report

R = datetime(2026, 3, 1, 9, tzinfo=UTC)
MINUTE, DAY, TICK = timedelta(minutes=1), timedelta(days=1), timedelta(microseconds=1)
PROGRAM = Program()


def program(**document: object) -> Program:
    return Program.model_validate_json(json.dumps(document))


def payment(at: datetime, number: int = 1, amount: int = 1900, currency: str | None = "usd") -> Payment:
    return Payment(UUID(int=number), f"in_{number}", amount, amount, currency, at)


def gone(number: int, amount: int, at: datetime) -> Takeback:
    return Takeback(UUID(int=number), amount, "gone", at)


def facts(
    *, uses: tuple[Use, ...] = (), payments: tuple[Payment, ...] = (),
    takebacks: tuple[Takeback, ...] = (), subscriptions: tuple[Subscription, ...] = (), touched_at: datetime = R,
    app_id: str | None = None,
) -> Facts:  # fmt: skip
    return Facts(R, touched_at, app_id, uses, payments, takebacks, subscriptions)


def earned(standing: Standing) -> dict[str, int]:
    """What is given first and once, by event; what recurs is looked at by itself."""
    return {due.event: due.base_points for due in standing.due if due.event not in {"recurring", "l2"}}


def processed(program: Program, facts: Facts, at: datetime) -> Standing:
    """What should stand where the job of retention has just come by."""
    return engine.standing(program, facts, at, processed_at=at)


def by_event(standing: Standing, event: str) -> list[Due]:
    return [due for due in standing.due if due.event == event]


def retained(standing: Standing) -> bool:
    return standing.stage == "retained"


def test_a_registration_is_worth_five_to_the_referrer_and_twenty_five_to_the_referee() -> None:
    standing = engine.standing(PROGRAM, facts(), R)
    assert standing.stage == "registered"
    assert earned(standing) == {"registered": 5, "welcome": 25}
    assert {due.event: due.recipient for due in standing.due} == {"registered": "referrer", "welcome": "referee"}


def test_a_use_counts_from_five_minutes_after_the_registration() -> None:
    used = facts(uses=(Use("chat", R + MINUTE),))
    early = engine.standing(PROGRAM, used, R + 5 * MINUTE - TICK)
    assert (early.stage, early.next_at) == ("registered", R + 5 * MINUTE)
    standing = engine.standing(PROGRAM, used, R + 5 * MINUTE)
    assert (standing.stage, standing.activated_at, standing.next_at) == ("activated", R + 5 * MINUTE, None)
    assert earned(standing)["activated"] == 10


def test_the_first_use_activates_and_each_further_app_of_the_program_is_worth_five() -> None:
    used = tuple(Use(app, R + DAY * day) for day, app in enumerate(["mail", "chat", "", "todo", "calendar"], 1))
    known = facts(uses=used, app_id="chat")
    standing = engine.standing(PROGRAM, known, R + 9 * DAY)
    assert len(by_event(standing, "activated")) == 1
    assert [(due.app_id, due.base_points) for due in by_event(standing, "cross_app")] == [("todo", 5), ("calendar", 5)]
    some = engine.standing(program(apps=["mail", "todo"]), known, R + 9 * DAY)
    assert [due.app_id for due in by_event(some, "cross_app")] == ["todo"]
    assert [due.app_id for due in by_event(engine.standing(PROGRAM, known, R + 4 * DAY), "cross_app")] == ["todo"]


def test_a_payment_qualifies_without_any_use_and_a_later_use_still_pays_once() -> None:
    paid = payment(R + DAY)
    assert engine.standing(PROGRAM, facts(payments=(paid,)), R + DAY).stage == "qualified"
    standing = engine.standing(PROGRAM, facts(payments=(paid,), uses=(Use("chat", R + 200 * DAY),)), R + 200 * DAY)
    assert standing.stage == "qualified"
    assert standing.activated_at == R + 200 * DAY
    assert earned(standing) == {"registered": 5, "welcome": 25, "activated": 10, "qualified": 25}


def test_a_referral_nothing_happened_to_expires_after_ninety_days_to_the_microsecond() -> None:
    lapse = R + 90 * DAY
    before = engine.standing(PROGRAM, facts(), lapse - TICK)
    assert (before.stage, before.next_at) == ("registered", lapse)
    standing = engine.standing(PROGRAM, facts(), lapse)
    assert (standing.stage, standing.expired_at, standing.next_at) == ("expired", lapse, None)


def test_what_comes_after_the_expiry_pays_nothing_and_what_was_before_it_counts_however_late_it_arrives() -> None:
    late = engine.standing(PROGRAM, facts(payments=(payment(R + 90 * DAY),)), R + 100 * DAY)
    assert (late.stage, earned(late)) == ("expired", {"registered": 5, "welcome": 25})
    assert by_event(late, "l2") == []
    in_time = engine.standing(PROGRAM, facts(payments=(payment(R + 90 * DAY - TICK),)), R + 100 * DAY)
    assert in_time.stage == "qualified"
    both = facts(payments=(payment(R + 120 * DAY, 2), payment(R + 89 * DAY)))
    assert [due.payment_id for due in by_event(engine.standing(PROGRAM, both, R + 130 * DAY), "l2")] == [
        UUID(int=1),
        UUID(int=2),
    ]


def test_an_activated_referral_does_not_expire() -> None:
    used = facts(uses=(Use("", R + DAY),), payments=(payment(R + 300 * DAY),))
    assert engine.standing(PROGRAM, used, R + 400 * DAY).stage == "qualified"
    late = facts(uses=(Use("", R + 90 * DAY),), payments=(payment(R + 300 * DAY),))
    assert engine.standing(PROGRAM, late, R + 400 * DAY).stage == "expired"


def test_a_payment_before_the_signup_counts_inside_the_window_and_qualifies_at_the_registration() -> None:
    inside = engine.standing(PROGRAM, facts(payments=(payment(R - 90 * DAY),)), R)
    assert (inside.qualified_at, inside.due[-1].due_at) == (R, R - 90 * DAY)
    outside = facts(payments=(payment(R - 90 * DAY - TICK),))
    assert engine.standing(PROGRAM, outside, R).stage == "registered"


def test_a_percentage_is_of_the_first_payment_and_a_currency_without_worth_earns_nothing() -> None:
    percent = program(awards={"qualified": {"bps": 1000}}, points_per_unit={"usd": 100, "jpy": 1})
    first, second = payment(R + DAY, 1, 1999), payment(R + 2 * DAY, 2, 100_000)
    standing = engine.standing(percent, facts(payments=(second, first)), R + 3 * DAY)
    assert [(due.base_points, due.occasion) for due in by_event(standing, "qualified")] == [(200, "in_1")]
    yen = facts(payments=(payment(R, amount=1005, currency="jpy"),))
    assert earned(engine.standing(percent, yen, R))["qualified"] == 101  # 100.5, half up
    for currency in ("eur", None):
        without = engine.standing(percent, facts(payments=(payment(R, currency=currency),)), R)
        assert without.stage == "qualified"
        (due,) = by_event(without, "qualified")
        assert (due.base_points, due.reason) == (0, "currency_not_configured")


@pytest.mark.parametrize("event", ["registered", "welcome", "activated", "cross_app"])
def test_what_no_payment_comes_with_has_no_percentage(event: str) -> None:
    with pytest.raises(ValidationError, match="there is no payment to take it of") as wrong:
        program(awards={event: {"bps": 1000}})
    assert [error["loc"] for error in wrong.value.errors()] == [("awards", event, "bps")]


def test_hold_days_keep_an_award_waiting_from_its_due_time() -> None:
    waiting = program(awards={"qualified": {"points": 25, "hold_days": 14}})
    standing = engine.standing(waiting, facts(payments=(payment(R + DAY),)), R + DAY)
    held = {due.event: due.hold_until for due in standing.due}
    assert held == {"registered": None, "welcome": None, "qualified": R + 15 * DAY, "l2": None}


def test_an_award_of_nothing_is_none() -> None:
    without = PROGRAM.model_copy(
        update={"awards": PROGRAM.awards.model_copy(update={"registered": AwardTerms(points=0)})}
    )
    assert "registered" not in earned(engine.standing(without, facts(), R))


def test_months_two_to_twelve_pay_the_referrer_and_one_to_six_the_upline_once_a_month() -> None:
    paid = tuple(payment(R + 30 * DAY * month, month + 1) for month in range(14))
    twice = payment(R + 31 * DAY, 99)
    standing = engine.standing(PROGRAM, facts(payments=(twice, *paid)), R + 500 * DAY)
    assert [due.occasion for due in by_event(standing, "qualified")] == ["1"]
    recurring = by_event(standing, "recurring")
    assert [(due.occasion, due.recipient, due.base_points) for due in recurring] == [
        (str(month), "referrer", 10) for month in range(2, 13)
    ]
    assert recurring[0].payment_id == paid[1].id
    assert [(due.occasion, due.recipient, due.base_points) for due in by_event(standing, "l2")] == [
        (str(month), "upline", 5) for month in range(1, 7)
    ]


@pytest.mark.parametrize(
    ("months", "earning"),
    [([2, 12], ["in_2", "in_3", "in_4"]), ([1, 1], ["in_2"]), ([3, 12], []), ([1, 12], ["in_2", "in_3", "in_4"])],
)
def test_a_percentage_recurs_for_every_payment_but_the_one_that_qualifies(
    months: list[int], earning: list[str]
) -> None:
    percent = program(awards={"recurring": {"bps": 1000}, "l2": {"bps": 100}}, recurring_months=months)
    paid = (payment(R, 1), payment(R + DAY, 2), payment(R + 30 * DAY, 3, 1000), payment(R + 31 * DAY, 4, 700))
    standing = engine.standing(percent, facts(payments=paid), R + 40 * DAY)
    worth = {"in_2": (1, 190), "in_3": (2, 100), "in_4": (2, 70)}
    assert [(due.occasion, (due.period, due.base_points)) for due in by_event(standing, "recurring")] == [
        (key, worth[key]) for key in earning
    ]
    assert [(due.occasion, due.period, due.base_points) for due in by_event(standing, "l2")] == [
        ("in_1", 1, 19), ("in_2", 1, 19), ("in_3", 2, 10), ("in_4", 2, 7),
    ]  # fmt: skip


def test_the_month_of_a_payment_is_that_of_its_billing_period_and_not_of_its_settlement() -> None:
    first = payment(R, 1)
    late = Payment(UUID(int=2), "in_2", 1900, 1900, "usd", R + 55 * DAY, R + 31 * DAY)
    standing = engine.standing(PROGRAM, facts(payments=(first, late)), R + 60 * DAY)
    assert [due.period for due in by_event(standing, "recurring")] == [2]


def test_a_fixed_award_is_worth_the_part_of_the_best_kept_payment_of_its_month() -> None:
    taxed = Payment(UUID(int=1), "in_1", 1000, 1190, "usd", R)
    small, next_month = payment(R + DAY, 2, 500), payment(R + 30 * DAY, 3)
    takebacks = (gone(1, 595, R + DAY), gone(2, 400, R + DAY), gone(3, 5000, R + 30 * DAY))
    standing = engine.standing(PROGRAM, facts(payments=(taxed, small, next_month), takebacks=takebacks), R + 31 * DAY)
    (qualified,) = by_event(standing, "qualified")
    assert qualified.share == Fraction(1, 2)  # half of the first is back, tax and all
    assert [(due.period, due.share) for due in by_event(standing, "l2")] == [(1, Fraction(1, 2)), (2, 0)]
    percent = program(awards={"l2": {"bps": 1000}})
    standing = engine.standing(percent, facts(payments=(taxed, small), takebacks=takebacks), R + 31 * DAY)
    assert [due.share for due in by_event(standing, "l2")] == [Fraction(1, 2), Fraction(1, 5)]


def test_a_month_paid_twice_and_refunded_once_earns_whole() -> None:
    for back in (1, 2):
        standing = engine.standing(
            PROGRAM, facts(payments=(payment(R, 1), payment(R + DAY, 2)), takebacks=(gone(back, 1900, R + DAY),)), R
        )
        assert [due.share for due in by_event(standing, "qualified")] == [1]
        assert [due.share for due in by_event(standing, "l2")] == [1]


def test_a_month_refunded_for_a_year_that_is_kept_earns_whole() -> None:
    paid = (payment(R, 1, 900), payment(R + DAY, 2, 9000))
    standing = engine.standing(PROGRAM, facts(payments=paid, takebacks=(gone(1, 900, R + DAY),)), R + DAY)
    assert [(due.share, due.payment_id) for due in by_event(standing, "qualified")] == [(1, UUID(int=2))]


def carried(known: Facts, terms: Program = PROGRAM) -> list[tuple[str, str, int | None, int]]:
    """What the referrer has for payments: event, occasion, period and points."""
    return [
        (due.event, due.occasion, due.period, round(due.base_points * due.share))
        for due in engine.standing(terms, known, R + 400 * DAY).due if due.event in {"qualified", "recurring"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("backs", "standing"),
    [
        ([], [("qualified", "1", 1, 25), ("recurring", "2", 2, 10), ("recurring", "3", 3, 10)]),
        ([(1, 900)], [("qualified", "1", 1, 13), ("recurring", "2", 2, 10), ("recurring", "3", 3, 10)]),
        # half of the first is not more than half of it
        ([(1, 950)], [("qualified", "1", 2, 25), ("recurring", "3", 3, 10)]),
        ([(1, 1900)], [("qualified", "1", 2, 25), ("recurring", "3", 3, 10)]),
        ([(1, 1900), (2, 1900)], [("qualified", "1", 3, 25), ("recurring", "2", 2, 0)]),
        ([(1, 1900), (2, 1400), (3, 1500)], [("qualified", "1", 2, 7), ("recurring", "3", 3, 2)]),
        ([(1, 1900), (2, 1900), (3, 1900)],
         [("qualified", "1", 1, 0), ("recurring", "2", 2, 0), ("recurring", "3", 3, 0)]),
        ([(3, 1900)], [("qualified", "1", 1, 25), ("recurring", "2", 2, 10), ("recurring", "3", 3, 0)]),
    ],
)  # fmt: skip
def test_the_earliest_payment_that_is_kept_for_the_most_part_qualifies_and_its_month_does_not_recur(
    backs: list[tuple[int, int]], standing: list[tuple[str, str, int, int]]
) -> None:
    paid = tuple(payment(R + 31 * DAY * month, month + 1) for month in range(3))
    takebacks = tuple(gone(number, amount, R + 70 * DAY) for number, amount in backs)
    assert carried(facts(payments=paid, takebacks=takebacks)) == standing


def test_a_percentage_is_of_the_purchase_that_is_kept_and_there_is_one_at_a_time() -> None:
    percent = program(awards={"qualified": {"bps": 2000}})
    paid = (payment(R, 1, 10_000), payment(R + 2 * DAY, 2, 10_000))
    back = gone(1, 10_000, R + DAY)
    assert carried(facts(payments=paid, takebacks=(back,)), percent) == [("qualified", "in_2", 1, 2000)]
    failed = back._replace(state="kept")
    assert carried(facts(payments=paid, takebacks=(failed,)), percent) == [("qualified", "in_1", 1, 2000)]


@pytest.mark.parametrize("days", [1, 10, 15, 16, 20, 30])
def test_an_upgrade_within_a_month_is_of_that_month_on_whatever_day(days: int) -> None:
    upgrade = payment(R + days * DAY, 2, 6600)._replace(is_proration=True)
    known = facts(payments=(payment(R, 1), upgrade))
    assert carried(known) == [("qualified", "1", 1, 25)]
    percent = program(awards={"recurring": {"bps": 2000}})
    assert carried(known, percent) == [("qualified", "1", 1, 25), ("recurring", "in_2", 1, 1320)]


def test_what_is_in_dispute_is_still_paid_and_what_was_kept_never_went() -> None:
    takebacks = (
        Takeback(UUID(int=1), 1900, "disputed", R + DAY),
        Takeback(UUID(int=1), 1900, "kept", R + DAY),
        Takeback(UUID(int=9), 1900, "gone", R + DAY),
    )
    standing = engine.standing(PROGRAM, facts(payments=(payment(R),), takebacks=takebacks), R + DAY)
    assert (standing.stage, standing.disputed) == ("qualified", True)
    assert {due.share for due in standing.due} == {Fraction(1)}
    outside = facts(payments=(payment(R - 100 * DAY),), takebacks=takebacks[:1])
    assert not engine.standing(PROGRAM, outside, R + DAY).disputed


def test_when_nothing_paid_is_left_the_referral_is_cancelled_and_a_later_payment_qualifies_and_retains_anew() -> None:
    paid, back = (payment(R), payment(R + 30 * DAY, 2)), (gone(1, 1900, R + 31 * DAY), gone(2, 1900, R + 31 * DAY))
    one = processed(PROGRAM, facts(payments=paid, takebacks=back[:1]), R + 40 * DAY)
    assert (one.stage, one.qualified_at, one.retained_at) == ("retained", R + 30 * DAY, R + 30 * DAY)
    cancelled = processed(PROGRAM, facts(payments=paid, takebacks=back), R + 40 * DAY)
    assert (cancelled.stage, cancelled.qualified_at, cancelled.retained_at) == ("cancelled", R, None)
    assert {due.event: due.share for due in cancelled.due} == {
        "registered": 1, "welcome": 1, "qualified": 0, "recurring": 0, "l2": 0,
    }  # fmt: skip
    again = facts(payments=(*paid, payment(R + 60 * DAY, 3)), takebacks=back)
    restored = processed(PROGRAM, again, R + 60 * DAY)
    assert (restored.stage, restored.qualified_at) == ("qualified", R + 60 * DAY)
    assert (restored.retained_at, restored.next_at) == (None, R + 90 * DAY)
    assert [(due.share, due.period) for due in by_event(restored, "qualified")] == [(1, 3)]
    lasting = processed(PROGRAM, again, R + 90 * DAY)
    assert (lasting.stage, lasting.retained_at) == ("retained", R + 90 * DAY)
    assert [(due.key, due.share) for due in by_event(lasting, "retained")] == [(("retained", "", ""), 1)]


def test_a_retention_stands_though_the_payment_it_came_of_is_refunded_while_another_is_kept() -> None:
    known = facts(payments=(payment(R), payment(R + 30 * DAY, 2)), takebacks=(gone(1, 1900, R + 31 * DAY),))
    standing = processed(PROGRAM, known, R + 45 * DAY)
    assert (standing.retained_at, standing.qualified_at) == (R + 30 * DAY, R + 30 * DAY)


def test_a_refund_that_failed_was_never_made_at_any_instant() -> None:
    """Not even at the instant at which it was taken for made, and retention came due."""
    failed = Takeback(UUID(int=1), 1900, "kept", R + 29 * DAY)
    standing = processed(PROGRAM, facts(payments=(payment(R),), takebacks=(failed,)), R + 45 * DAY)
    assert (standing.stage, standing.retained_at) == ("retained", R + 30 * DAY)


def test_a_later_retention_waits_for_the_job_anew() -> None:
    known = facts(payments=(payment(R), payment(R + 40 * DAY, 2)), takebacks=(gone(1, 1900, R + 35 * DAY),))
    assert engine.standing(PROGRAM, known, R + 75 * DAY, processed_at=R + 30 * DAY).stage == "qualified"
    assert engine.standing(PROGRAM, known, R + 75 * DAY, processed_at=R + 70 * DAY).stage == "retained"


def test_retention_comes_thirty_days_after_the_qualification_once_the_job_has_come_by() -> None:
    known = facts(payments=(payment(R + DAY),))
    due_at = R + 31 * DAY
    assert processed(PROGRAM, known, due_at - TICK).stage == "qualified"
    waiting = engine.standing(PROGRAM, known, due_at)
    assert (waiting.stage, waiting.next_at) == ("qualified", due_at)
    standing = processed(PROGRAM, known, due_at)
    assert (standing.stage, standing.retained_at, standing.next_at) == ("retained", due_at, None)
    assert [(due.base_points, due.due_at) for due in by_event(standing, "retained")] == [(15, due_at)]


@pytest.mark.parametrize(
    ("known", "stays"),
    [
        pytest.param({}, True, id="paid once"),
        pytest.param({"takebacks": (gone(1, 1899, R + DAY),)}, True, id="a little is left"),
        pytest.param({"takebacks": (gone(1, 1900, R + 30 * DAY),)}, False, id="given back on the day"),
        pytest.param(
            {"takebacks": (gone(1, 1900, R + 30 * DAY + TICK),), "payments": (payment(R), payment(R + 60 * DAY, 2))},
            True,
            id="given back after it",
        ),
        pytest.param(
            {"takebacks": (gone(1, 1900, R + DAY),), "payments": (payment(R), payment(R + 60 * DAY, 2))},
            True,
            id="paid again, thirty days ago",
        ),
        pytest.param(
            {"takebacks": (gone(1, 1900, R + DAY),), "payments": (payment(R), payment(R + 60 * DAY + TICK, 2))},
            False,
            id="paid again, not yet thirty days ago",
        ),
        pytest.param({"subscriptions": (Subscription(R, None),)}, True, id="goes on"),
        pytest.param({"subscriptions": (Subscription(R, R + 30 * DAY + TICK),)}, True, id="ended after it"),
        pytest.param({"subscriptions": (Subscription(R, R + 30 * DAY),)}, False, id="ended on the day"),
        pytest.param(
            {"subscriptions": (Subscription(R, R + DAY), Subscription(R + 30 * DAY, None))}, True, id="another by then"
        ),
        pytest.param(
            {"subscriptions": (Subscription(R, R + DAY), Subscription(R + 30 * DAY + TICK, None))},
            False,
            id="another after it",
        ),
        pytest.param({"subscriptions": (Subscription(R + 40 * DAY, R + 50 * DAY),)}, True, id="none by then"),
    ],
)
def test_retained_is_who_still_pays_on_the_thirtieth_day(
    known: dict[str, tuple[Takeback, ...]], *, stays: bool
) -> None:
    everything = facts(**{"payments": (payment(R),), **known})  # type: ignore[arg-type]
    assert retained(processed(PROGRAM, everything, R + 90 * DAY)) == stays


def test_another_first_payment_is_another_percentage_of_retention() -> None:
    percent = program(awards={"retained": {"bps": 1000}})
    later = processed(percent, facts(payments=(payment(R + DAY, 2, 500),)), R + 90 * DAY)
    both = facts(payments=(payment(R + DAY, 2, 500), payment(R, 1)))
    earlier = processed(percent, both, R + 90 * DAY)
    assert [(due.key, due.base_points) for due in by_event(later, "retained")] == [(("retained", "", "in_2"), 50)]
    assert [(due.key, due.base_points) for due in by_event(earlier, "retained")] == [(("retained", "", "in_1"), 190)]


moments = st.integers(0, 500 * 24).map(lambda hours: stories.REGISTERED + timedelta(hours=hours))
reports = stories.stories()


@pytest.mark.soak
@given(reports, moments, st.booleans(), st.randoms(use_true_random=True))
def test_order_and_duplicates_change_nothing(
    story: list[Report], at: datetime, retention: bool, chance: Random  # noqa: FBT001 - drawn
) -> None:  # fmt: skip
    processed_at = at if retention else None
    once = engine.standing(PROGRAM, stories.known(story), at, processed_at=processed_at)
    again = story * 2
    chance.shuffle(again)
    known = stories.known(again)
    assert engine.standing(PROGRAM, known, at, processed_at=processed_at) == once


@pytest.mark.soak
@given(reports, moments, moments)
def test_time_alone_never_takes_an_award_away(story: list[Report], one: datetime, other: datetime) -> None:
    known = stories.known(story)
    earlier = processed(PROGRAM, known, min(one, other))
    later = processed(PROGRAM, known, max(one, other))
    shares = {due.key: due.share for due in later.due}
    assert {due.key: due.share for due in earlier.due}.items() <= shares.items()


def given_by(standing: Standing) -> Standing:
    """Without awards that are due and of which nothing is left."""
    return standing._replace(due=tuple(due for due in standing.due if due.share > 0))


@pytest.mark.soak
@given(reports, moments)
def test_what_time_will_change_is_announced(story: list[Report], at: datetime) -> None:
    known = stories.known(story)
    standing = processed(PROGRAM, known, at)
    assert standing.next_at is None or standing.next_at > at
    until = (standing.next_at or stories.END) - TICK
    later = processed(PROGRAM, known, max(at, until))
    assert given_by(later) == given_by(standing)
    if standing.next_at is not None:
        assert processed(PROGRAM, known, standing.next_at) != standing


@pytest.mark.soak
@given(reports, moments, st.sampled_from(sorted(stories.PROGRAMS)))
def test_an_award_is_named_once_and_never_worth_less_than_nothing(story: list[Report], at: datetime, name: str) -> None:
    standing = processed(stories.PROGRAMS[name], stories.known(story), at)
    assert len({due.key for due in standing.due}) == len(standing.due)
    assert all(0 <= due.share <= 1 and due.base_points >= 0 for due in standing.due)
