"""Whop's webhook, from signed bytes to points: every delivery is kept once, every sale counts once."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from goodword.payments.whop import signatures as whop_signatures
from local.client import Answer
from tests.support import rows, whop_objects
from tests.support.answers import problem
from tests.support.clients import Call, Clients
from tests.support.companies import Company
from tests.support.whop_objects import whop_payment

APPLIED = {"received": True, "duplicate": False, "outcome": "applied"}
AGAIN = {"received": True, "duplicate": True, "outcome": "applied"}
PARKED = {"received": True, "duplicate": False, "outcome": "parked"}
IGNORED = {"received": True, "duplicate": False, "outcome": "ignored"}
SECRET = "ws_" + "5" * 64


def post(company: Company, raw: bytes, headers: dict[str, str]) -> Answer:
    return company.browser.send("POST", urlsplit(company.line["whop_endpoint"]).path, raw=raw, headers=headers)


def v5_payment(payment_id: str, **fields: object) -> dict[str, Any]:
    """A `payment.succeeded` event in the shape of v5."""
    at = int(datetime.now(UTC).timestamp())
    data = {
        "id": payment_id, "membership_id": "mem_user_1", "user_id": "user_1", "company_id": "biz_1", "created_at": at,
        "paid_at": at, "status": "paid", "subtotal": 29.0, "final_amount": 29.0, "currency": "usd",
        "user_email": "ben@whop.example", "user_username": "ben-on-whop", "membership_metadata": {},
    }  # fmt: skip
    return {"data": data | fields, "api_version": "v5", "action": "payment.succeeded"}


def membership(message_id: str, event_type: str = "membership.activated", **fields: object) -> dict[str, Any]:
    return whop_objects.event(event_type, whop_objects.membership(**fields), id=message_id)


def kept(superuser: psycopg.Connection, company: Company) -> list[dict[str, Any]]:
    """The company's inbox, oldest first."""
    return rows.find(
        superuser,
        "SELECT event_id, type, outcome, error, note, livemode FROM inbox_events WHERE company_id = %(company_id)s"
        " ORDER BY received_at",
        company_id=company.id,
    )


def stage(company: Company, referrer: str = "ada") -> str:
    (referral,) = company.ok("GET", f"/v1/users/{referrer}/referrals")["data"]
    return referral["stage"]


# Who sent it


def test_the_url_answers_a_get(company: Company) -> None:
    answer = company.browser.send("GET", urlsplit(company.line["whop_endpoint"]).path)
    assert (answer.status, answer.raw) == (200, b"")


def test_what_is_not_signed_by_whop_is_refused_and_not_kept(company: Company, superuser: psycopg.Connection) -> None:
    event = whop_payment("msg_1", "pay_1", user="ben")
    v5 = v5_payment("pay_1")
    raw = json.dumps(event).encode()
    signed = whop_signatures.sign(raw, company.line["whop_secret"], "msg_1", int(datetime.now(UTC).timestamp()))
    right = signed["webhook-signature"]
    unsigned = b'{"action":"payment.succeeded","api_version":"v1","data":null}'
    refused = [
        (post(company, unsigned, {}), "signature_missing"),
        (post(company, raw, {"webhook-id": "msg_1", "webhook-timestamp": "1"}), "signature_missing"),
        (post(company, raw, {"webhook-signature": "v1,"}), "signature_invalid"),
        (post(company, raw, {"x-whop-signature": "garbage"}), "signature_invalid"),
        (post(company, raw, signed | {"webhook-signature": right.replace("v1,", "v1a,")}), "signature_invalid"),
        (post(company, raw, signed | {"webhook-signature": right.replace("v1,", "v1,é")}), "signature_invalid"),
        (post(company, raw, signed | {"webhook-id": "msg_2"}), "signature_invalid"),
        (post(company, raw + b" ", signed), "signature_invalid"),
        (company.deliver_whop(event, secret=company.line["whop_secret"].removeprefix("ws_")), "signature_invalid"),
        (company.deliver_whop(event, secret="ws_another"), "signature_invalid"),
        (company.deliver_whop(v5, secret="ws_another"), "signature_invalid"),
        (company.deliver_whop(event, age=timedelta(seconds=303)), "timestamp_out_of_range"),
        (company.deliver_whop(event, age=timedelta(seconds=-310)), "timestamp_out_of_range"),
        (company.deliver_whop(v5, age=timedelta(seconds=303)), "timestamp_out_of_range"),
        (company.deliver_whop(v5, age=timedelta(seconds=-310)), "timestamp_out_of_range"),
        (company.deliver_whop(event, secret=company.line["stripe_secret"]), "signature_invalid"),
    ]
    for answer, code in refused:
        problem(answer, 400, code)
    assert kept(superuser, company) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xef\xbb\xbf{}",
        b'{"type": "payment.succeeded", "data": null}',
        b'{"action": null, "data": {}}',
    ],
)
def test_signed_bytes_that_are_no_event_are_refused(
    company: Company, superuser: psycopg.Connection, raw: bytes
) -> None:
    at = int(datetime.now(UTC).timestamp())
    secret = company.line["whop_secret"]
    for headers in (whop_signatures.sign(raw, secret, "msg_1", at), whop_signatures.sign_v5(raw, secret, at)):
        problem(post(company, raw, headers), 400, "malformed_body")
    assert kept(superuser, company) == []


def test_an_unknown_endpoint_is_not_found(company: Company) -> None:
    event = whop_payment("msg_1", "pay_1")
    stripe_id = company.line["stripe_endpoint"].rpartition("/")[2]
    for endpoint_id in (f"whe_{uuid4().hex}", "whe_1", "nothing", stripe_id):
        answer = company.deliver_whop(event, endpoint=f"/webhooks/whop/{endpoint_id}")
        problem(answer, 404, "endpoint_not_found")


def test_any_of_several_secrets_may_sign(company: Company) -> None:
    body = {"provider": "whop", "secrets": ["ws_" + "0" * 64, SECRET]}
    url = company.ok("POST", "/v1/provider-endpoints", body)["url"]
    for number, secret in enumerate(body["secrets"]):
        answer = company.deliver_whop(whop_payment(f"msg_{number}", "pay_1"), endpoint=url, secret=secret)
        assert answer.json == PARKED


# What it means


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(whop_payment("msg_1", "pay_1", user="ben"), id="v1"),
        pytest.param(
            whop_payment("msg_1", "pay_1", user="ben", total={"amount": "29.00", "currency": "usd", "decimals": 2}),
            id="dated v1",
        ),
        pytest.param(v5_payment("pay_1", membership_metadata={"goodword_user": "ben"}), id="v5"),
    ],
)
def test_a_payment_earns_the_referrer_what_the_program_says(company: Company, event: dict[str, Any]) -> None:
    company.refer("ada", "ben")
    assert company.deliver_whop(event).json == APPLIED
    assert company.balance("ada") == 5 + 25
    assert stage(company) == "qualified"
    (referral,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    assert referral["revenue"] == [{"currency": "usd", "amount": 2900}]


def test_a_delivery_is_kept_as_it_came(company: Company, superuser: psycopg.Connection) -> None:
    event = whop_payment("msg_1", "pay_1")
    assert company.deliver_whop(event).json == PARKED
    row = rows.find_one(
        superuser, "SELECT * FROM inbox_events WHERE company_id = %(company_id)s", company_id=company.id
    )
    assert (row["provider"], row["event_id"], row["type"]) == ("whop", "msg_1", "payment.succeeded")
    assert row["body"] == json.dumps(event).encode()
    assert row["headers"].keys() >= {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert row["livemode"] is False, "Whop does not say; the endpoint's company does"


def test_a_live_companys_events_are_live(live: Company, superuser: psycopg.Connection) -> None:
    live.refer("ada", "ben")
    assert live.deliver_whop(whop_payment("msg_1", "pay_1", user="ben")).json == APPLIED
    assert live.balance("ada") == 5 + 25
    assert [row["livemode"] for row in kept(superuser, live)] == [True]


@pytest.mark.parametrize(
    ("type_", "outcome"),
    [("payment_succeeded", "parked"), ("payment.failed", "ignored"), ("refund.created", "ignored"),
     ("something.new", "ignored"), ("membership.went_invalid", "applied")],
)  # fmt: skip
def test_other_kinds_are_kept_and_ignored(
    company: Company, superuser: psycopg.Connection, type_: str, outcome: str
) -> None:
    event = whop_payment("msg_1", "pay_1") | {"type": type_}
    assert company.deliver_whop(event).json["outcome"] == outcome
    assert [row["outcome"] for row in kept(superuser, company)] == [outcome]


@pytest.mark.parametrize(
    "fields", [{"currency": None, "total": "0.0"}, {"total": "0"}, {"total": "5", "tax_amount": 5}]
)
def test_a_purchase_without_money_qualifies_nobody(company: Company, fields: dict[str, Any]) -> None:
    company.refer("ada", "ben")
    assert company.deliver_whop(whop_payment("msg_1", "pay_1", user="ben", **fields)).json == APPLIED
    assert (stage(company), company.balance("ada")) == ("registered", 5)
    assert company.deliver_whop(whop_payment("msg_2", "pay_2", user="ben")).json == APPLIED
    assert (stage(company), company.balance("ada")) == ("qualified", 5 + 25)


def test_money_that_cannot_be_read_is_kept_as_failed_and_tried_again(
    company: Company, superuser: psycopg.Connection
) -> None:
    company.refer("ada", "ben")
    odd = whop_payment("msg_1", "pay_1", user="ben", total="a lot")
    failed = {"received": True, "duplicate": False, "outcome": "failed"}
    assert [company.deliver_whop(odd).json, company.deliver_whop(odd).json] == [failed, failed]
    (row,) = kept(superuser, company)
    assert (row["outcome"], row["error"]) == ("failed", "total is not an amount")
    assert company.deliver_whop(whop_payment("msg_1", "pay_1", user="ben")).json == APPLIED
    assert company.balance("ada") == 5 + 25


# Once


def test_one_sale_counts_once_however_it_is_told(company: Company, superuser: psycopg.Connection) -> None:
    company.refer("ada", "ben")
    v1 = whop_payment("msg_1", "pay_1", user="ben")
    v5 = v5_payment("pay_1", membership_metadata={"goodword_user": "ben"})
    assert company.deliver_whop(v1).json == APPLIED
    assert company.deliver_whop(v1).json == AGAIN
    assert company.deliver_whop(v1, message_id="msg_regenerated").json == APPLIED
    assert company.deliver_whop(v5).json == APPLIED
    assert company.deliver_whop(v5).json == AGAIN
    assert rows.count(superuser, company.id)["payments"] == 1
    assert company.balance("ada") == 5 + 25
    by_bytes = f"v5:{sha256(json.dumps(v5).encode()).hexdigest()}"
    assert [row["event_id"] for row in kept(superuser, company)] == ["msg_1", "msg_regenerated", by_bytes]


def test_a_payment_delivered_20_times_at_once_is_awarded_once(company: Company, superuser: psycopg.Connection) -> None:
    company.refer("ada", "ben")
    raw = json.dumps(whop_payment("msg_1", "pay_1", user="ben")).encode()
    at = int(datetime.now(UTC).timestamp())
    message_ids = ["msg_1" if number % 2 else f"msg_fresh_{number}" for number in range(20)]
    path = urlsplit(company.line["whop_endpoint"]).path
    signed = [whop_signatures.sign(raw, company.line["whop_secret"], each, at) for each in message_ids]
    with Clients(len(signed)) as clients:
        answers = clients.fire_each(company.url, [Call("POST", path, headers, raw.decode()) for headers in signed])
    assert {(answer.status, answer.json["outcome"]) for answer in answers} == {(200, "applied")}
    assert [answer.json["duplicate"] for answer in answers].count(False) == len(set(message_ids)) == 11
    stored = rows.count(superuser, company.id)
    assert (stored["payments"], stored["inbox_events"]) == (1, 11)
    awards = rows.find(
        superuser,
        "SELECT event, status FROM awards WHERE company_id = %(company_id)s ORDER BY event",
        company_id=company.id,
    )
    assert awards == [{"event": event, "status": "paid"} for event in ("qualified", "registered", "welcome")]
    assert company.balance("ada") == 5 + 25


# Who paid


def test_a_payment_waits_for_its_person(company: Company) -> None:
    """Nobody is named: the payment is found by the Whop user when the app tells whose that is."""
    code = company.sign_up("ada")["user"]["referral_code"]
    assert company.deliver_whop(whop_payment("msg_1", "pay_1", buyer={"id": "user_ben"})).json == PARKED
    body = {"user": {"external_id": "ben", "whop_user_id": "user_ben"}, "referral_code": code}
    answer = company.ok("POST", "/v1/signups", body)
    assert {award["event"] for award in answer["awards"]} == {"registered", "welcome", "qualified"}
    assert company.balance("ada") == 5 + 25


def test_a_payment_names_its_person_before_they_sign_up(company: Company) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    assert company.deliver_whop(whop_payment("msg_1", "pay_1", user="ben")).json == PARKED
    company.sign_up("ben", referral_code=code)
    assert company.balance("ada") == 5 + 25


def test_a_renewal_is_known_by_the_first_checkout(company: Company) -> None:
    """Metadata need not be repeated: the Whop user was named once, by a membership."""
    company.refer("ada", "ben")
    assert company.deliver_whop(membership("msg_1", metadata={"goodword_user": "ben"})).json == APPLIED
    assert company.deliver_whop(whop_payment("msg_2", "pay_1")).json == APPLIED
    assert company.balance("ada") == 5 + 25


def test_a_membership_names_the_person_of_a_parked_payment(company: Company) -> None:
    company.refer("ada", "ben")
    assert company.deliver_whop(whop_payment("msg_1", "pay_1")).json == PARKED
    assert company.deliver_whop(membership("msg_2", metadata={"goodword_user": "ben"})).json == APPLIED
    assert company.balance("ada") == 5 + 25


# What Whop knows of them


def profile(company: Company, external_id: str = "ben") -> tuple[str | None, ...]:
    user = company.ok("GET", f"/v1/users/{external_id}")
    return user["whop_user_id"], user["username"], user["email"], user["avatar_url"]


SHOWN = {
    "id": "user_1", "name": "Ben B.", "username": "ben-on-whop", "email": "ben@whop.example",
    "profile_picture": {"url": "https://img.example/ben.png"},
}  # fmt: skip


@pytest.mark.parametrize("event_type", ["membership.activated", "membership.deactivated", "payment.succeeded"])
def test_a_profile_is_filled_in_from_whop(company: Company, event_type: str) -> None:
    company.sign_up("ben")
    event = whop_payment("msg_1", "pay_1", user="ben", buyer=SHOWN) | {"type": event_type}
    assert company.deliver_whop(event).json == APPLIED
    assert profile(company) == ("user_1", "ben-on-whop", "ben@whop.example", "https://img.example/ben.png")


def test_what_the_app_said_is_never_overwritten(company: Company) -> None:
    user = {"external_id": "ben", "username": "Ben", "email": "ben@app.example", "whop_user_id": "user_1"}
    company.ok("POST", "/v1/signups", {"user": user})
    assert company.deliver_whop(membership("msg_1", user=SHOWN)).json == APPLIED
    assert profile(company) == ("user_1", "Ben", "ben@app.example", "https://img.example/ben.png")


def test_another_persons_whop_user_stays_theirs(company: Company) -> None:
    """Ada pays for Ben on Whop: the payment is his, the account is hers."""
    company.ok("POST", "/v1/signups", {"user": {"external_id": "ada", "whop_user_id": "user_1"}})
    code = company.ok("GET", "/v1/users/ada")["referral_code"]
    company.sign_up("ben", referral_code=code)
    assert company.deliver_whop(whop_payment("msg_1", "pay_1", user="ben", buyer=SHOWN)).json == APPLIED
    assert profile(company) == (None, None, None, None)
    assert company.balance("ada") == 5 + 25


def test_a_v5_payment_brings_its_buyers_name(company: Company) -> None:
    company.sign_up("ben")
    assert company.deliver_whop(v5_payment("pay_1", membership_metadata={"goodword_user": "ben"})).json == APPLIED
    assert profile(company) == ("user_1", "ben-on-whop", "ben@whop.example", None)


# Whose company


def installed(superuser: psycopg.Connection, company: Company) -> str:
    """Give the company a Whop company of its own, by whose id an app's endpoint finds it."""
    biz = f"biz_{uuid4().hex}"
    superuser.execute(
        "UPDATE companies SET whop_company_id = %(biz)s WHERE id = %(id)s", {"biz": biz, "id": company.id}
    )
    return biz


def app_endpoint(company: Company) -> str:
    body = {"provider": "whop", "scope": "app", "secrets": [SECRET]}
    return company.ok("POST", "/v1/provider-endpoints", body)["url"]


@pytest.mark.parametrize("name", ["company_id", "account_id"])
def test_an_apps_endpoint_finds_the_company_that_installed_the_app(
    company: Company, other: Company, superuser: psycopg.Connection, name: str
) -> None:
    url, biz = app_endpoint(company), installed(superuser, other)
    other.refer("ada", "ben")
    company.refer("ada", "ben")
    event = whop_payment("msg_1", "pay_1", user="ben") | {"company_id": None, name: biz}
    assert company.deliver_whop(event, endpoint=url, secret=SECRET).json == APPLIED
    assert company.deliver_whop(event, endpoint=url, secret=SECRET).json == AGAIN
    assert (other.balance("ada"), company.balance("ada")) == (5 + 25, 5)
    assert kept(superuser, company) == []
    assert [row["outcome"] for row in kept(superuser, other)] == ["applied"]


def test_an_apps_endpoint_finds_the_company_of_a_v5_event(
    company: Company, other: Company, superuser: psycopg.Connection
) -> None:
    url, biz = app_endpoint(company), installed(superuser, other)
    other.refer("ada", "ben")
    event = v5_payment("pay_1", company_id=biz, membership_metadata={"goodword_user": "ben"})
    assert company.deliver_whop(event, endpoint=url, secret=SECRET).json == APPLIED
    assert other.balance("ada") == 5 + 25


@pytest.mark.parametrize("biz", ["biz_nobody", None])
def test_an_unknown_companys_event_is_kept_and_ignored(
    company: Company, superuser: psycopg.Connection, biz: str | None
) -> None:
    company.refer("ada", "ben")
    event = whop_payment("msg_1", "pay_1", user="ben", company=biz)
    assert company.deliver_whop(event, endpoint=app_endpoint(company), secret=SECRET).json == IGNORED
    (row,) = kept(superuser, company)
    assert (row["outcome"], row["note"]) == ("ignored", "unknown_company")
    assert company.balance("ada") == 5


def test_a_live_apps_events_never_reach_a_test_company(
    live: Company, other: Company, superuser: psycopg.Connection
) -> None:
    url, biz = app_endpoint(live), installed(superuser, other)
    other.refer("ada", "ben")
    event = whop_payment("msg_1", "pay_1", user="ben", company=biz)
    assert live.deliver_whop(event, endpoint=url, secret=SECRET).json == IGNORED
    assert other.balance("ada") == 5


def test_a_companys_own_endpoint_does_not_ask_which_company(
    company: Company, other: Company, superuser: psycopg.Connection
) -> None:
    company.refer("ada", "ben")
    other.refer("ada", "ben")
    event = whop_payment("msg_1", "pay_1", user="ben", company=installed(superuser, other))
    assert company.deliver_whop(event).json == APPLIED
    assert (company.balance("ada"), other.balance("ada")) == (5 + 25, 5)
