"""Limits under many clients at once: what is let through is exactly what a limit lets through."""

from collections.abc import Iterator
from typing import Literal

import psycopg
import pytest

from goodword.program.document import Fraud, Limits, Program
from tests.faults.conftest import CLIENTS
from tests.support.clients import Call, Clients, call
from tests.support.companies import Company
from tests.support.trust import MOST, TRUSTING

LIMIT = 10
ON_LIMIT: tuple[Literal["review", "hold", "reject"], ...] = ("review", "hold", "reject")


@pytest.fixture
def limited(server: str, opener: psycopg.Connection, request: pytest.FixtureRequest) -> Iterator[Company]:
    """A company on the real clock, with a limit on each code and with what is done past it."""
    fraud = Fraud(signals=TRUSTING.fraud.signals, on_registration_limit=request.param)
    limits = Limits(registrations_per_code_per_day=LIMIT, registrations_per_referrer_per_day=MOST)
    company = Company.write(opener, server, livemode=True, program=Program(fraud=fraud, limits=limits))
    yield company
    company.close()


@pytest.mark.parametrize("limited", ON_LIMIT, indirect=True)
def test_of_64_who_sign_up_at_once_by_one_code_10_are_within_its_limit(
    limited: Company, clients: Clients, request: pytest.FixtureRequest
) -> None:
    """Whoever comes first: who has come earlier may get to the database later."""
    on_limit = request.node.callspec.params["limited"]
    code = limited.sign_up("ada")["user"]["referral_code"]
    signups = [
        call(limited, "POST", "/v1/signups", {"user": {"external_id": f"user_{each}"}, "referral_code": code})
        for each in range(CLIENTS)
    ]
    answers = [answer.json for answer in clients.fire_each(limited.url, signups)]
    if on_limit == "reject":
        reasons = [answer["attribution"]["reason"] for answer in answers]
        assert (reasons.count(None), reasons.count("rate_limited")) == (LIMIT, CLIENTS - LIMIT)
        return
    referrals = [answer["referral"] for answer in answers]
    beyond = [referral for referral in referrals if referral["fraud_signals"] == ["velocity_limit"]]
    assert (len(referrals), len(beyond)) == (CLIENTS, CLIENTS - LIMIT)
    assert {referral["flagged"] for referral in beyond} == {on_limit == "review"}
    holds = {award["hold_reason"] for answer in answers for award in answer["awards"]}
    assert holds == {None, "review" if on_limit == "review" else "risk"}


def test_of_64_codes_that_a_browser_checks_at_once_20_are_answered(company: Company, clients: Clients) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    check = Call("GET", f"/v1/codes/{code}?key={company.pub}", {})
    answers = clients.fire_each(company.url, [check] * CLIENTS)
    assert sorted(answer.status for answer in answers) == [200] * 20 + [429] * 44
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in answers if answer.status == 429)
