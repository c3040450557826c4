"""Activations: the first use of an app by a user, and the stage it brings a referral to."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import psycopg
import pytest

from tests.support import rows
from tests.support.answers import problem, time_of
from tests.support.companies import Company

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
EARLIEST = timedelta(minutes=5)


@pytest.fixture
def referred(company: Company) -> Company:
    """A company where Ada brought Ben at noon."""
    company.set_clock(NOON)
    company.refer("ada", "ben")
    return company


def activate(company: Company, external_id: str = "ben", **fields: object) -> Any:  # noqa: ANN401
    return company.ok("POST", "/v1/activations", {"user_id": external_id, **fields}, status=200)


def at(hours: int) -> str:
    """So many hours after noon, as the API takes a time."""
    return (NOON + timedelta(hours=hours)).isoformat()


def stage(answer: dict[str, Any]) -> tuple[str, datetime | None]:
    at = answer["referral"]["activated_at"]
    return answer["referral"]["stage"], at and time_of(at)


def test_a_user_whom_nobody_knows_is_not_found(company: Company, superuser: psycopg.Connection) -> None:
    problem(company.api.send("POST", "/v1/activations", {"user_id": "nobody"}), 404, "user_not_found")
    assert not rows.count(superuser, company.id)["activations"]


def test_another_companys_user_is_not_found(company: Company, other: Company) -> None:
    other.sign_up("eve")
    problem(company.api.send("POST", "/v1/activations", {"user_id": "eve"}), 404, "user_not_found")


def test_a_user_whom_nobody_referred_has_nothing_to_show(company: Company) -> None:
    company.sign_up("ada")
    assert activate(company, "ada", app_id="web") == {"referral": None, "awards": []}


def test_a_first_use_activates_and_pays_the_referrer(referred: Company) -> None:
    referred.set_clock(NOON + timedelta(hours=1))
    answer = activate(referred, app_id="web")
    assert stage(answer) == ("activated", NOON + timedelta(hours=1))
    assert {award["event"]: (award["user_id"], award["points"], award["status"]) for award in answer["awards"]} == {
        "registered": ("ada", 5, "paid"), "welcome": ("ben", 25, "paid"), "activated": ("ada", 10, "paid"),
    }  # fmt: skip
    assert (referred.balance("ada"), referred.balance("ben")) == (15, 25)


def test_only_the_first_of_all_uses_activates(referred: Company) -> None:
    referred.set_clock(NOON + timedelta(hours=1))
    first = activate(referred, app_id="web")
    referred.set_clock(NOON + timedelta(hours=2))
    again = activate(referred, app_id="web")
    without_app = activate(referred)
    assert stage(first) == stage(again) == stage(without_app)
    assert referred.balance("ada") == 15


def test_a_use_by_a_clock_that_is_ahead_counts_as_of_now(referred: Company) -> None:
    referred.set_clock(NOON + EARLIEST)
    ahead = NOON + EARLIEST + timedelta(minutes=5)
    assert stage(activate(referred, occurred_at=ahead.isoformat())) == ("activated", NOON + EARLIEST)


def test_a_use_in_the_future_is_refused(referred: Company, superuser: psycopg.Connection) -> None:
    body = {"user_id": "ben", "occurred_at": (NOON + timedelta(minutes=5, microseconds=1)).isoformat()}
    problem(referred.api.send("POST", "/v1/activations", body), 422, "occurred_at_in_the_future")
    assert not rows.count(superuser, referred.id)["activations"]


def test_a_use_counts_from_five_minutes_after_the_signup(referred: Company) -> None:
    referred.set_clock(NOON + EARLIEST - timedelta(microseconds=1))
    assert stage(activate(referred)) == ("registered", None)
    referred.set_clock(NOON + EARLIEST)
    assert stage(activate(referred)) == ("activated", NOON + EARLIEST)


def test_a_use_that_came_too_early_takes_effect_after_five_minutes(referred: Company) -> None:
    referred.set_clock(NOON + timedelta(minutes=1))
    assert stage(activate(referred, app_id="web")) == ("registered", None)
    referred.set_clock(NOON + timedelta(hours=3))
    assert stage(activate(referred, app_id="chat")) == ("activated", NOON + EARLIEST)
    assert referred.balance("ada") == 15 + 5  # the other app is one more


def test_a_use_before_the_signup_takes_effect_after_five_minutes(referred: Company) -> None:
    referred.set_clock(NOON + timedelta(hours=1))
    answer = activate(referred, occurred_at=(NOON - timedelta(days=1)).isoformat())
    assert stage(answer) == ("activated", NOON + EARLIEST)


def test_uses_may_be_told_in_any_order(company: Company) -> None:
    company.set_clock(NOON)
    code = company.sign_up("ada")["user"]["referral_code"]
    uses = [("web", 3), ("chat", 2), ("web", 7)]
    orders = list(permutations(uses))
    for number in range(len(orders)):
        company.sign_up(f"referee-{number}", referral_code=code)
    company.set_clock(NOON + timedelta(days=1))
    for number, order in enumerate(orders):
        answers = [
            activate(company, f"referee-{number}", app_id=app_id, occurred_at=at(hours)) for app_id, hours in order
        ]
        assert stage(answers[-1]) == ("activated", NOON + timedelta(hours=2))
        awards = sorted(
            (award["event"], award["app_id"])
            for award in answers[-1]["awards"]
            if award["points"] > award["reversed_points"]
        )
        assert awards == [("activated", None), ("cross_app", "web"), ("registered", None), ("welcome", None)]
    assert company.balance("ada") == 20 * len(orders)


def test_a_referral_lapses_when_nothing_comes_of_it_and_a_use_afterwards_pays_nothing(referred: Company) -> None:
    lapse = NOON + timedelta(days=90)
    referred.set_clock(lapse - timedelta(microseconds=1))
    assert referred.ok("GET", "/v1/users/ada/referrals")["data"][0]["stage"] == "registered"
    referred.set_clock(lapse)
    (referral,) = referred.ok("GET", "/v1/users/ada/referrals")["data"]
    assert (referral["stage"], time_of(referral["expired_at"])) == ("expired", lapse)
    assert stage(activate(referred)) == ("expired", None)
    assert referred.balance("ada") == 5


def test_a_use_before_the_lapse_counts_however_late_it_is_told(referred: Company) -> None:
    referred.set_clock(NOON + timedelta(days=100))
    used_at = NOON + timedelta(days=89)
    assert stage(activate(referred, occurred_at=used_at.isoformat())) == ("activated", used_at)
    assert referred.balance("ada") == 15


def test_an_idempotency_key_gives_the_first_answer_again(referred: Company) -> None:
    referred.set_clock(NOON + timedelta(hours=1))
    send = {"idempotency-key": "activation-1"}
    first = referred.api.send("POST", "/v1/activations", {"user_id": "ben"}, headers=send)
    again = referred.api.send("POST", "/v1/activations", {"user_id": "ben"}, headers=send)
    assert (again.status, again.raw, again.headers["idempotent-replay"]) == (200, first.raw, "true")
