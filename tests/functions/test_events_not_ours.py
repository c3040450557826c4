"""Events that are authentic and mean nothing here, or are another company's: kept, explained, never paid for."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.support import rows
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import whop_payment

APP_SECRET = "ws_of_the_app_itself"


def listed(company: Company) -> list[dict[str, Any]]:
    return company.ok("GET", "/v1/inbox")["data"]


def outcome(answer: Any) -> str:  # noqa: ANN401 - an Answer
    assert answer.status == 200, answer.raw
    return answer.json["outcome"]


@pytest.mark.parametrize(
    ("change", "note"),
    [({"livemode": True}, "livemode_mismatch"), ({"account": "acct_1"}, "connect_account")],
)
def test_what_was_ignored_stays_ignored_when_it_is_replayed(
    company: Company, superuser: psycopg.Connection, change: dict[str, object], note: str
) -> None:
    company.refer("ada", "ben")
    event: dict[str, Any] = invoice_paid("evt_1", "in_1", user="ben") | change
    assert outcome(company.deliver(event)) == "ignored"
    assert outcome(company.deliver(event)) == "ignored"
    (kept,) = listed(company)
    assert (kept["outcome"], kept["note"], kept["error"]) == ("ignored", note, None)
    assert company.ok("POST", f"/v1/inbox/{kept['id']}/replay") == kept
    assert company.balance("ada") == 5
    assert not rows.count(superuser, company.id)["payments"]


@pytest.mark.parametrize("change", [{"livemode": True}, {"account": "acct_1"}])
def test_what_is_ignored_need_not_even_be_readable(company: Company, change: dict[str, object]) -> None:
    event: dict[str, Any] = invoice_paid("evt_1", "in_1", user="ben") | change
    event["data"]["object"]["amount_paid"] = "a lot"
    assert outcome(company.deliver(event)) == "ignored"


@pytest.mark.parametrize(
    "event",
    [
        {"id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid", "account": "acct_1"},
        {"id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid", "livemode": False},
        {"id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid", "livemode": True},
        {"id": "9f6d", "detail-type": "invoice.paid", "account": "123456789012", "detail": {"livemode": False}},
    ],
    ids=["of an account", "of a test", "of a live", "EventBridge"],
)
def test_an_operator_hears_of_every_event_that_shows_no_object(
    company: Company, live: Company, event: dict[str, object]
) -> None:
    """Whatever its mode or account: a destination of the wrong kind was set up, and all that it sends would be lost."""
    for each in (company, live):
        assert outcome(each.deliver(event)) == "failed"
        (kept,) = each.ok("GET", "/v1/inbox?status=failed")["data"]
        assert (kept["error"], kept["next_attempt_at"]) == ("thin_event", None)


@pytest.fixture
def app(company: Company, other: Company, superuser: psycopg.Connection) -> tuple[str, str]:
    """The URL of an app's endpoint, which is `company`'s, and Whop's id of `other`, which installed the app."""
    biz = f"biz_{uuid4().hex}"
    superuser.execute("UPDATE companies SET whop_company_id = %(biz)s WHERE id = %(id)s", {"biz": biz, "id": other.id})
    body = {"provider": "whop", "scope": "app", "secrets": [APP_SECRET]}
    return company.ok("POST", "/v1/provider-endpoints", body)["url"], biz


def test_a_sale_told_at_an_apps_and_at_its_companys_own_endpoint_is_one(
    company: Company, other: Company, superuser: psycopg.Connection, app: tuple[str, str]
) -> None:
    url, biz = app
    other.refer("ada", "ben")
    sale = whop_payment("msg_1", "pay_1", user="ben", company=biz)
    assert outcome(company.deliver_whop(sale, endpoint=url, secret=APP_SECRET)) == "applied"
    assert outcome(other.deliver_whop(sale)) == "applied"
    assert other.balance("ada") == 5 + 25
    assert rows.count(superuser, other.id)["payments"] == 1


def test_what_failed_at_an_apps_endpoint_is_for_the_company_it_is_about(
    company: Company, other: Company, app: tuple[str, str]
) -> None:
    url, biz = app
    event = whop_payment("msg_1", "pay_1", user="ben", company=biz, total="a lot")
    assert outcome(company.deliver_whop(event, endpoint=url, secret=APP_SECRET)) == "failed"
    assert listed(company) == []
    (failed,) = listed(other)
    assert company.api.send("POST", f"/v1/inbox/{failed['id']}/discard").status == 404
    assert other.ok("POST", f"/v1/inbox/{failed['id']}/discard")["outcome"] == "ignored"


def test_an_apps_endpoint_takes_no_companys_secret(company: Company, other: Company, app: tuple[str, str]) -> None:
    url, biz = app
    event = whop_payment("msg_1", "pay_1", user="ben", company=biz)
    for each in (company, other):
        assert company.deliver_whop(event, endpoint=url, secret=each.line["whop_secret"]).status == 400
    assert listed(other) == []


@pytest.mark.parametrize("provider", ["stripe", "whop"])
def test_only_whop_has_apps(company: Company, provider: str) -> None:
    body = {"provider": provider, "scope": "app", "secrets": [APP_SECRET]}
    assert company.api.send("POST", "/v1/provider-endpoints", body).status == (201 if provider == "whop" else 422)
