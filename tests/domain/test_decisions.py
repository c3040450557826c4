"""Who is given an award: the two people of a referral always, the upline by what the upline was at that time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from goodword.awards import decisions
from goodword.awards.decisions import Decision, People, Upline
from goodword.awards.due import AwardRecipient, Due
from goodword.program.document import Program
from tests.support.stories import uncapped

AT = datetime(2031, 1, 31, tzinfo=UTC)
TICK = timedelta(microseconds=1)
REFERRER, REFEREE, UPLINE, PAYMENT = (UUID(int=number) for number in range(4))
PROGRAM = Program()
PEOPLE = People(REFERRER, REFEREE, Upline(UPLINE, AT, stands=True), {PAYMENT: AT})


def decide(people: People, due: Due) -> Decision | None:
    return decisions.decide(PROGRAM, people, uncapped(AT), "clear", due)


def due(recipient: AwardRecipient, payment_id: UUID | None = None) -> Due:
    return Due("l2", recipient, 5, AT, {}, payment_id=payment_id)


@pytest.mark.parametrize("upline", [None, Upline(UPLINE, AT + TICK, stands=False)])
def test_referrer_and_referee_are_given_theirs_whatever_the_upline_is(upline: Upline | None) -> None:
    people = PEOPLE._replace(upline=upline)
    assert decide(people, due("referrer", PAYMENT)) == Decision(REFERRER, tier="bronze", counted=0)
    assert decide(people, due("referee")) == Decision(REFEREE)


@pytest.mark.parametrize(
    ("upline", "decision"),
    [
        (None, None),
        (Upline(UPLINE, AT, stands=True), Decision(UPLINE)),
        (Upline(UPLINE, AT, stands=False), Decision(UPLINE, rejected="upline_not_standing")),
        (Upline(UPLINE, AT + TICK, stands=True), None),
        (Upline(UPLINE, AT + TICK, stands=False), None),
    ],
    ids=["nobody", "stands", "does not stand", "bound after the payment was stored", "that, and does not stand"],
)
def test_an_upline_is_given_what_was_paid_while_bound_and_standing(
    upline: Upline | None, decision: Decision | None
) -> None:
    assert decide(PEOPLE._replace(upline=upline), due("upline", PAYMENT)) == decision


def test_an_upline_can_come_too_late_only_for_a_payment() -> None:
    people = PEOPLE._replace(upline=Upline(UPLINE, AT + TICK, stands=True))
    assert decide(people, due("upline")) == Decision(UPLINE)
