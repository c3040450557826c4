"""A user is changed after the signup: what is told anew, whose payments are found by it, and what that earns."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from local import setup
from local.client import Answer, Client
from local.postgres import Cluster
from tests.support import books, rows, stripe_objects
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.waiting import wait_until_blocked
from tests.support.whop_objects import whop_payment

EMAIL = "ben@app.example"
REFERRED, PAID = 5, 5 + 25
"""What a referrer has of a referral before and after its first payment."""


@pytest.fixture
def town(company: Company, superuser: psycopg.Connection) -> Iterator[Company]:
    """A company whose clock stands still: Ada has brought Ben, and Dan Cleo; its books are right at the end."""
    company.set_clock(datetime.now(UTC))
    company.refer("ada", "ben")
    company.refer("dan", "cleo")
    yield company
    assert books.faults(superuser, company.id) == []


def change(company: Company, user: str = "ben", **wanted: object) -> Answer:
    return company.api.send("PATCH", f"/v1/users/{user}", wanted)


def changed(company: Company, user: str = "ben", **wanted: object) -> Any:  # noqa: ANN401 - any JSON value
    answer = change(company, user, **wanted)
    assert answer.status == 200, answer.raw
    assert answer.json == company.ok("GET", f"/v1/users/{user}")
    return answer.json


def pay(company: Company, customer: str, number: int = 1, **shown: Any) -> str:  # noqa: ANN401 - fields of any kind
    """An invoice that names nobody is paid; what became of it."""
    event = invoice_paid(f"evt_{customer}_{number}", f"in_{customer}_{number}", customer=customer, **shown)
    return company.deliver(event).json["outcome"]


def earned(company: Company) -> tuple[int, int]:
    """What Ada and Dan have."""
    return company.balance("ada"), company.balance("dan")


def test_what_an_app_tells_anew_takes_the_place_of_what_it_told(town: Company) -> None:
    before = town.ok("GET", "/v1/users/ben")
    details = {"email": EMAIL, "username": "Ben", "avatar_url": "https://img.example/ben.png"}
    assert changed(town, **details) == before | details
    assert changed(town) == before | details
    assert changed(town, username="Benjamin") == before | details | {"username": "Benjamin"}
    ids = {"whop_user_id": "user_ben", "stripe_customer_id": "cus_ben"}
    assert changed(town, **ids) == before | details | ids | {"username": "Benjamin"}


def test_null_clears_what_a_person_may_be_without(town: Company) -> None:
    before = town.ok("GET", "/v1/users/ben")
    changed(town, email=EMAIL, username="Ben", avatar_url="https://img.example/ben.png")
    assert changed(town, email=None, username=None, avatar_url=None) == before


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({"whop_user_id": None}, "whop_user_id"),
        ({"stripe_customer_id": None}, "stripe_customer_id"),
        ({"stripe_customer_id": ""}, "stripe_customer_id"),
        ({"email": "ben"}, "email"),
        ({"email_verified": None}, "email_verified"),
        ({"email_verified": "yes"}, "email_verified"),
        ({"email_verified": 1}, "email_verified"),
        ({"email_verified": True}, "email_verified"),
        ({"email": None, "email_verified": True}, "email_verified"),
        ({"username": ""}, "username"),
        ({"avatar_url": "javascript:alert(1)"}, "avatar_url"),
        ({"external_id": "benjamin"}, "external_id"),
        ({"id": "usr_" + "0" * 32}, "id"),
        ({"balance": 100}, "balance"),
        ({"created_at": "2026-01-15T12:00:00Z"}, "created_at"),
    ],
)
def test_a_change_that_cannot_be_is_refused_by_field(
    town: Company, superuser: psycopg.Connection, wanted: dict[str, Any], wrong: str
) -> None:
    before, ben = rows.count(superuser, town.id), town.ok("GET", "/v1/users/ben")
    assert fields(change(town, **wanted)) == {wrong}
    assert (rows.count(superuser, town.id), town.ok("GET", "/v1/users/ben")) == (before, ben)


def test_nobody_verifies_an_email_at_the_signup_without_telling_it(company: Company) -> None:
    signup = {"user": {"external_id": "ben", "email_verified": True}}
    assert fields(company.api.send("POST", "/v1/signups", signup)) == {"user.email_verified"}


def test_a_user_whom_nobody_knows_is_not_changed(company: Company, other: Company) -> None:
    other.sign_up("ben")
    problem(change(company, username="Ben"), 404, "user_not_found")


@pytest.mark.parametrize(
    ("wanted", "verified"),
    [
        ({"email": "other@app.example"}, False),
        ({"email": "other@app.example", "email_verified": True}, True),
        ({"email": "BEN@App.example"}, True),
        ({"email": "BEN@App.example", "email_verified": False}, False),
        ({"email_verified": False}, False),
        ({"username": "Ben"}, True),
    ],
)
def test_another_email_is_one_that_nobody_has_verified(
    town: Company, wanted: dict[str, Any], *, verified: bool
) -> None:
    changed(town, email=EMAIL, email_verified=True)
    assert changed(town, **wanted)["email_verified"] is verified


def test_a_verified_email_claims_what_waits_for_it(town: Company) -> None:
    assert pay(town, "cus_1", customer_email="Ben@APP.example") == "parked"
    assert changed(town, email=EMAIL)["email_verified"] is False
    assert earned(town) == (REFERRED, REFERRED)
    changed(town, email_verified=True)
    assert earned(town) == (PAID, REFERRED)
    changed(town, email_verified=True)
    assert earned(town) == (PAID, REFERRED)


def test_a_payment_after_the_change_finds_its_person_by_the_email(town: Company) -> None:
    changed(town, email=EMAIL, email_verified=True)
    assert pay(town, "cus_1", customer_email=EMAIL) == "applied"
    assert earned(town) == (PAID, REFERRED)


def test_what_was_paid_by_a_verified_email_stays_when_the_email_changes(town: Company) -> None:
    changed(town, email=EMAIL, email_verified=True)
    pay(town, "cus_1", customer_email=EMAIL)
    changed(town, email="other@app.example")
    assert earned(town) == (PAID, REFERRED)
    town.deliver(stripe_objects.event("customer.updated", stripe_objects.customer(id="cus_1", email=EMAIL)))
    assert earned(town) == (PAID, REFERRED)


def test_of_an_email_that_two_verify_nobody_has_anything(town: Company) -> None:
    pay(town, "cus_1", customer_email=EMAIL)
    changed(town, email=EMAIL, email_verified=True)
    changed(town, "cleo", email=EMAIL, email_verified=True)
    assert earned(town) == (REFERRED, REFERRED)


def test_a_customer_of_stripe_brings_what_was_paid(town: Company) -> None:
    assert pay(town, "cus_1") == "parked"
    changed(town, stripe_customer_id="cus_1")
    assert earned(town) == (PAID, REFERRED)
    assert pay(town, "cus_1", 2) == "applied"


def test_a_user_of_whop_brings_what_was_paid(town: Company) -> None:
    event = whop_payment("msg_1", "pay_1", buyer={"id": "user_1", "username": "ben", "email": None})
    assert town.deliver_whop(event).json["outcome"] == "parked"
    changed(town, whop_user_id="user_1")
    assert earned(town) == (PAID, REFERRED)


@pytest.mark.parametrize("field", ["stripe_customer_id", "whop_user_id"])
def test_what_is_another_users_own_is_taken(town: Company, superuser: psycopg.Connection, field: str) -> None:
    changed(town, "cleo", **{field: "one"})
    before = rows.count(superuser, town.id)
    problem(change(town, **{field: "one", "username": "Ben"}), 409, "identity_taken")
    assert town.ok("GET", "/v1/users/ben")["username"] is None
    assert rows.count(superuser, town.id) == before


def test_what_a_replaced_customer_has_paid_stays_theirs(town: Company, superuser: psycopg.Connection) -> None:
    changed(town, stripe_customer_id="cus_1")
    pay(town, "cus_1")
    changed(town, stripe_customer_id="cus_2")
    assert earned(town) == (PAID, REFERRED)
    for customer, number in (("cus_1", 2), ("cus_2", 1)):
        assert pay(town, customer, number) == "applied"
    payers = rows.find(superuser, "SELECT DISTINCT user_id FROM payments WHERE company_id = %(id)s", id=town.id)
    assert (len(payers), payers[0]["user_id"] is not None) == (1, True)
    changed(town, stripe_customer_id="cus_1")
    assert earned(town) == (PAID, REFERRED)


@pytest.mark.parametrize("by", ["change", "signup"])
def test_a_replaced_customer_goes_to_whoever_has_it_next(town: Company, by: str) -> None:
    """The app had told the wrong customer, and sets it right."""
    changed(town, stripe_customer_id="cus_1")
    pay(town, "cus_1")
    assert earned(town) == (PAID, REFERRED)
    changed(town, stripe_customer_id="cus_2")
    if by == "change":
        changed(town, "cleo", stripe_customer_id="cus_1")
    else:
        code = town.ok("GET", "/v1/users/dan")["referral_code"]
        eve = {"external_id": "eve", "stripe_customer_id": "cus_1"}
        town.ok("POST", "/v1/signups", {"user": eve, "referral_code": code}, status=201)
    assert earned(town) == (REFERRED, PAID if by == "change" else REFERRED + PAID)
    assert pay(town, "cus_1", 2) == "applied"
    assert earned(town)[0] == REFERRED


def test_an_unreferred_user_is_bound_by_the_code_that_their_payment_carried(company: Company) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    company.sign_up("gil")
    at = datetime.now(UTC)
    paid = invoice_paid("evt_1", "in_1", customer="cus_1", paid_at=at, named={"goodword_code": code})
    assert company.deliver(paid).json["outcome"] == "parked"
    changed(company, "gil", stripe_customer_id="cus_1")
    (referral,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    assert (referral["referee"], referral["stage"]) == ("gil", "qualified")
    assert company.balance("ada") == PAID


def test_what_a_former_customer_carries_names_the_referrer_of_whoever_has_it(company: Company) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    for person in ("gil", "hal"):
        company.sign_up(person)
    changed(company, "gil", stripe_customer_id="cus_1")
    changed(company, "gil", stripe_customer_id="cus_2")
    changed(company, "hal", stripe_customer_id="cus_1")
    pay(company, "cus_1", named={"goodword_code": code}, subscription="sub_1")
    pay(company, "cus_2", subscription="sub_2")
    assert [each["referee"] for each in company.ok("GET", "/v1/users/ada/referrals")["data"]] == ["hal"]


def test_a_subscription_that_waited_gives_its_plan(company: Company) -> None:
    company.ok("PATCH", "/v1/plans/basic", {"stripe_price_id_monthly": "price_basic"})
    company.sign_up("gil")
    item = stripe_objects.item("price_basic", datetime(2040, 1, 1, tzinfo=UTC))
    value = stripe_objects.subscription(item, status="active", customer="cus_1", created=datetime.now(UTC))
    company.deliver(stripe_objects.event("customer.subscription.updated", value, sent_at=datetime.now(UTC)))
    assert company.ok("GET", "/v1/users/gil")["plan"] == "free"
    assert changed(company, "gil", stripe_customer_id="cus_1")["plan"] == "basic"


def test_a_change_is_told_once_without_what_it_was(town: Company, superuser: psycopg.Connection) -> None:
    changed(town, email=EMAIL, username="Ben")
    changed(town, email=EMAIL)
    events = rows.find(
        superuser,
        "SELECT data FROM outbox_events WHERE company_id = %(id)s AND type = 'user.updated'",
        id=town.id,
    )
    assert [row["data"] for row in events] == [{"id": town.ok("GET", "/v1/users/ben")["id"]}]


def test_what_another_request_gives_meanwhile_is_told_by_that_one(
    company: Company, cluster: Cluster, superuser: psycopg.Connection
) -> None:
    company.sign_up("ben")
    with ThreadPoolExecutor(1) as thread, psycopg.connect(cluster.superuser_url(setup.DATABASE)) as other:
        other.execute("SELECT FROM goodword.users WHERE company_id = %s FOR NO KEY UPDATE", (company.id,))
        edited = thread.submit(change, company, stripe_customer_id="cus_ben")
        wait_until_blocked(superuser)
        admin = Client(company.url, company.line["secret_key"])
        given = admin.send("POST", "/v1/users/ben/grants", {"plan": "premium", "days": 1, "reason": "x"})
        admin.close()
        other.rollback()
    assert (given.status, edited.result().status, edited.result().json["plan"]) == (201, 200, "premium")
    told = "SELECT details FROM activity WHERE company_id = %s AND action = 'plan_changed'"
    assert superuser.execute(told, (company.id,)).fetchall() == [({"from": "free", "to": "premium"},)]
