"""Back-tests as an administrator asks for them, of a draft whose caps are other ones than those in force."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.companies import Company
from tests.support.growth import FLAT, Referrer, amend
from tests.support.suspects import awards_for, decide, review_of

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def ada(company: Company) -> Referrer:
    """A referrer at NOON, in a company of one tier."""
    company.set_clock(NOON)
    amend(company, tiers=FLAT)
    return Referrer(company, now=NOON)


def drafted(company: Company, since: datetime, **caps: int) -> Any:  # noqa: ANN401 - JSON
    """What would have been awarded from an instant on under such caps, event by event."""
    program = company.ok("GET", "/v1/program")["program"]
    body = {"program": program | {"caps": caps}, "from": since.isoformat(), "to": (NOON + 100 * HOUR).isoformat()}
    answer = company.ok("POST", "/v1/program/backtest", body)
    assert answer["complete"]
    return {each["event"]: each["points"] for each in answer["by_event"] if each["points"]}


def test_a_span_that_begins_in_the_middle_of_a_day_goes_on_with_what_the_day_had_awarded(ada: Referrer) -> None:
    ada.bring("ben")
    ada.company.set_clock(NOON + 2 * HOUR)
    ada.bring("cleo")
    ada.company.set_clock(NOON + 4 * HOUR)
    for since in (NOON, NOON + HOUR):
        assert drafted(ada.company, since, per_user_per_day_points=5).get("registered", 0) == (
            5 if since == NOON else 0
        )
    assert drafted(ada.company, NOON + HOUR, per_user_per_day_points=10)["registered"] == 5


def test_the_days_of_a_draft_are_those_of_the_versions_by_which_people_came(ada: Referrer) -> None:
    """In Auckland, where it is one in the morning at NOON, ben and cleo come on one day; in UTC on two."""
    amend(ada.company, timezone="Pacific/Auckland")
    ada.bring("ben")
    ada.company.set_clock(NOON + 13 * HOUR)
    ada.bring("cleo")
    ada.company.set_clock(NOON + 14 * HOUR)
    amend(ada.company, timezone="UTC")
    assert drafted(ada.company, NOON, per_user_per_day_points=5)["registered"] == 5


def test_a_draft_with_a_cap_is_asked_of_the_referrals_of_a_capped_campaign_too(ada: Referrer) -> None:
    dates = {"starts_at": NOON.isoformat(), "ends_at": (NOON + 100 * HOUR).isoformat()}
    campaign = ada.company.ok("POST", "/v1/campaigns", {"name": "Spring", **dates, "rules": {"points_cap": 1000}})
    ada.company.ok("PATCH", f"/v1/campaigns/{campaign['id']}", {"status": "active"})
    code = {"type": "campaign", "code": "SPRING-OF-ADA", "user_id": "ada", "campaign_id": campaign["id"]}
    spring = Referrer(ada.company, "ada", NOON, ada.company.ok("POST", "/v1/codes", code)["code"])
    spring.qualify("ben")
    ada.company.set_clock(NOON + HOUR)
    assert drafted(ada.company, NOON, per_user_points=6) == {"registered": 5}


def test_what_a_review_has_taken_back_is_taken_back_under_a_draft_too(ada: Referrer) -> None:
    program = ada.company.ok("GET", "/v1/program")["program"]
    signals = {**program["fraud"]["signals"], "instant_qualification": 60}
    amend(ada.company, fraud={"signals": signals, "behavioural_cap": 100})
    ada.qualify("ben")
    assert awards_for(ada.company, "ben")["registered"] == ("paid", None)
    decide(ada.company, review_of(ada.company, "ben")["id"], "reject")
    ada.company.set_clock(NOON + HOUR)
    program["awards"]["registered"]["points"] = 70
    body = {"program": program, "from": NOON.isoformat(), "to": (NOON + HOUR).isoformat()}
    answer = ada.company.ok("POST", "/v1/program/backtest", body)
    given = {each["event"]: (each["points"], each["reversed_points"]) for each in answer["by_event"] if each["points"]}
    assert given == {"registered": (70, 70), "welcome": (25, 25)}
