"""The award engine: what stands depends on the set of facts, and on nothing else."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from goodword.referral import engine
from goodword.referral.engine import Activation, Facts, Payment, Standing
from goodword.referral.program import AwardTerms, Program

R = datetime(2026, 3, 1, 9, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
PROGRAM = Program()


def payment(at: datetime, number: int = 1, amount: int = 1900, currency: str | None = "usd") -> Payment:
    return Payment(UUID(int=number), f"in_{number}", amount, amount, currency, at)


def facts(
    *, activations: tuple[Activation, ...] = (), payments: tuple[Payment, ...] = (), touched_at: datetime = R
) -> Facts:
    return Facts(registered_at=R, touched_at=touched_at, activations=activations, payments=payments)


def earned(standing: Standing) -> dict[str, int]:
    return {due.event: due.points for due in standing.due}


def test_a_registration_is_worth_five_to_the_referrer_and_twenty_five_to_the_referee() -> None:
    standing = engine.standing(PROGRAM, facts(), R)
    assert standing.stage == "registered"
    assert earned(standing) == {"registered": 5, "welcome": 25}


def test_a_use_counts_from_five_minutes_after_the_registration() -> None:
    used = facts(activations=(Activation("chat", R + MINUTE),))
    assert engine.standing(PROGRAM, used, R + 5 * MINUTE - timedelta(microseconds=1)).stage == "registered"
    standing = engine.standing(PROGRAM, used, R + 5 * MINUTE)
    assert (standing.stage, standing.activated_at) == ("activated", R + 5 * MINUTE)
    assert earned(standing)["activated"] == 10


def test_a_payment_qualifies_without_any_use_and_a_later_use_still_pays_once() -> None:
    paid = payment(R + DAY)
    assert engine.standing(PROGRAM, facts(payments=(paid,)), R + DAY).stage == "qualified"
    standing = engine.standing(
        PROGRAM, facts(payments=(paid,), activations=(Activation("chat", R + 200 * DAY),)), R + 200 * DAY
    )
    assert standing.stage == "qualified"
    assert standing.activated_at == R + 200 * DAY
    assert earned(standing) == {"registered": 5, "welcome": 25, "activated": 10, "qualified": 25}


def test_a_referral_nothing_happened_to_expires_after_ninety_days_to_the_microsecond() -> None:
    lapse = R + 90 * DAY
    assert engine.standing(PROGRAM, facts(), lapse - timedelta(microseconds=1)).stage == "registered"
    standing = engine.standing(PROGRAM, facts(), lapse)
    assert (standing.stage, standing.expired_at) == ("expired", lapse)


def test_what_comes_after_the_expiry_pays_nothing_and_what_was_before_it_counts_however_late_it_arrives() -> None:
    late = engine.standing(PROGRAM, facts(payments=(payment(R + 90 * DAY),)), R + 100 * DAY)
    assert (late.stage, earned(late)) == ("expired", {"registered": 5, "welcome": 25})
    in_time = engine.standing(PROGRAM, facts(payments=(payment(R + 89 * DAY),)), R + 100 * DAY)
    assert in_time.stage == "qualified"


def test_an_activated_referral_does_not_expire() -> None:
    used = facts(activations=(Activation("", R + DAY),), payments=(payment(R + 300 * DAY),))
    assert engine.standing(PROGRAM, used, R + 400 * DAY).stage == "qualified"


def test_a_payment_before_the_signup_counts_inside_the_window_and_qualifies_at_the_registration() -> None:
    inside = facts(payments=(payment(R - 90 * DAY),))
    assert engine.standing(PROGRAM, inside, R).qualified_at == R
    outside = facts(payments=(payment(R - 90 * DAY - timedelta(microseconds=1)),))
    assert engine.standing(PROGRAM, outside, R).stage == "registered"


def test_a_percentage_is_of_the_first_payment_and_a_currency_without_worth_earns_nothing() -> None:
    program = Program.model_validate(
        {"awards": {"qualified": {"bps": 1000}}, "points_per_unit": {"usd": 100, "jpy": 1}}
    )
    first, second = payment(R + DAY, 1, 1999), payment(R + 2 * DAY, 2, 100_000)
    assert earned(engine.standing(program, facts(payments=(second, first)), R + 3 * DAY))["qualified"] == 200
    yen = facts(payments=(payment(R, amount=1005, currency="jpy"),))
    assert earned(engine.standing(program, yen, R))["qualified"] == 101  # 100.5, half up
    for currency in ("eur", None):
        without = engine.standing(program, facts(payments=(payment(R, currency=currency),)), R)
        assert without.stage == "qualified"
        assert "qualified" not in earned(without)


def test_hold_days_keep_an_award_waiting_from_its_due_time() -> None:
    program = Program.model_validate({"awards": {"qualified": {"points": 25, "hold_days": 14}}})
    standing = engine.standing(program, facts(payments=(payment(R + DAY),)), R + DAY)
    held = {due.event: due.hold_until for due in standing.due}
    assert held == {"registered": None, "welcome": None, "qualified": R + 15 * DAY}


def test_an_award_of_nothing_is_none() -> None:
    program = Program(awards=PROGRAM.awards.model_copy(update={"registered": AwardTerms(points=0)}))
    assert "registered" not in earned(engine.standing(program, facts(), R))


moments = st.integers(-200, 400).map(lambda days: R + days * DAY)
activations = st.lists(st.builds(Activation, st.sampled_from(["", "chat", "mail"]), moments), max_size=5)
payments = st.lists(
    st.builds(
        Payment,
        st.integers(1, 9).map(lambda number: UUID(int=number)),
        st.integers(1, 10**9),
        st.sampled_from(["usd", "eur", None]),
        moments,
    ),
    max_size=5,
    unique_by=lambda each: each.id,
)


@given(activations, payments, moments, st.randoms(use_true_random=False))
def test_order_and_duplicates_change_nothing(
    used: list[Activation], paid: list[Payment], at: datetime, chance: Random
) -> None:
    once = engine.standing(PROGRAM, facts(activations=tuple(used), payments=tuple(paid)), at)
    again_used, again_paid = used * 2, paid * 2
    chance.shuffle(again_used)
    chance.shuffle(again_paid)
    again = engine.standing(PROGRAM, facts(activations=tuple(again_used), payments=tuple(again_paid)), at)
    assert again == once


@given(activations, payments, moments, moments)
def test_time_alone_never_takes_an_award_away(
    used: list[Activation], paid: list[Payment], one: datetime, other: datetime
) -> None:
    known = facts(activations=tuple(used), payments=tuple(paid))
    earlier = engine.standing(PROGRAM, known, min(one, other))
    later = engine.standing(PROGRAM, known, max(one, other))
    assert {due.key for due in earlier.due} <= {due.key for due in later.due}


@given(activations, payments, moments)
def test_an_award_is_named_once(used: list[Activation], paid: list[Payment], at: datetime) -> None:
    standing = engine.standing(PROGRAM, facts(activations=tuple(used), payments=tuple(paid)), at)
    assert len({due.key for due in standing.due}) == len(standing.due)
