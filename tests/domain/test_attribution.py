"""Attribution: the first valid candidate wins, and the reason of the best is the answer when none is."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from goodword.accounts import users
from goodword.accounts.users import Identity, NewUser
from goodword.program.document import Program
from goodword.referral import attribution
from goodword.referral.attribution import Candidate

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ADA = Identity(UUID(int=1), "ada", "Ada@Example.com", "user_ada", "cus_ada")
CODE = Candidate("code", "ADA23456", UUID(int=2), ADA, NOW)
PROGRAM = Program()


def reason(candidate: Candidate, **user: object) -> str | None:
    person = NewUser.model_validate({"external_id": "ben", **user})
    too_old = attribution.is_too_old(person.created_at, PROGRAM, NOW)
    (verdict,) = attribution.judge([candidate], person, PROGRAM, NOW, too_old=too_old)
    return verdict.reason


def test_a_good_code_is_valid() -> None:
    assert reason(CODE, email="ben@example.com") is None


@pytest.mark.parametrize(
    "user",
    [
        {"external_id": "ada"},
        {"email": "ada@example.com"},
        {"email": "ADA@EXAMPLE.COM"},
        {"email": "ada+shop@example.com"},
        {"email": "Ada+a+b@Example.Com"},
        {"whop_user_id": "user_ada"},
        {"stripe_customer_id": "cus_ada"},
    ],
)
def test_nobody_refers_themselves(user: dict[str, object]) -> None:
    assert reason(CODE, **user) == "self_referral"


@pytest.mark.parametrize(("one", "other", "same"), [
    ("me@gmail.com", "m.e@gmail.com", True), ("me@gmail.com", "M.E+x@googlemail.com", True),
    ("m.e@x.com", "me@x.com", False), ("me@x.com", "you@x.com", False), ("me@x.com", "me@y.com", False),
    ("+a@x.com", "+b@x.com", False), ("me@gmail.com.example", "m.e@gmail.com.example", False),
    ("me@Straße.example", "me@strasse.example", True),
])  # fmt: skip
def test_addresses_of_one_mailbox_are_one(one: str, other: str, *, same: bool) -> None:
    assert (users.mailbox(one) == users.mailbox(other)) is same


def test_two_people_without_an_email_are_not_one() -> None:
    nobody = Identity(UUID(int=1), "ada", None, None, None)
    assert reason(Candidate("code", "X", UUID(int=2), nobody, NOW)) is None


def test_a_touch_counts_to_the_end_of_its_window() -> None:
    window = timedelta(days=90)
    assert reason(Candidate("click", "X", UUID(int=2), ADA, NOW - window)) is None
    late = Candidate("click", "X", UUID(int=2), ADA, NOW - window - timedelta(microseconds=1))
    assert reason(late) == "outside_window"


def test_an_account_older_than_the_grace_is_too_old() -> None:
    assert reason(CODE, created_at=(NOW - timedelta(days=7)).isoformat()) is None
    assert reason(CODE, created_at=(NOW - timedelta(days=7, microseconds=1)).isoformat()) == "user_too_old"


def test_what_is_wrong_with_the_code_itself_comes_first() -> None:
    assert reason(Candidate("code", "X", None, None, NOW, refusal="unknown_code"), external_id="ada") == "unknown_code"


def test_a_code_that_nobody_owns_refers_nobody() -> None:
    assert reason(Candidate("code", "X", UUID(int=2), None, NOW)) == "unknown_code"
