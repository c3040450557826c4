"""Asking Stripe and Whop what they could not deliver: each thing counts once, under its own date, whoever told it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from goodword.core import ids, jobs
from goodword.payments import reconciliation
from local import setup
from local.setup import Prepared
from tests.support import books, rows, stripe_objects
from tests.support.answers import time_of
from tests.support.companies import Company
from tests.support.jobs import Remaining, run_job
from tests.support.providers import Account, Providers, Said
from tests.support.stripe_objects import invoice_paid
from tests.support.vault import Vault
from tests.support.whop_objects import money, whop_payment

ROOT = Path(__file__).resolve().parents[2]
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(autouse=True)
def _only_our_keys(superuser: psycopg.Connection) -> Iterator[None]:
    """The job asks for all companies: nobody else's key is left, and none of ours for anybody else."""
    superuser.execute("UPDATE provider_endpoints SET api_key = NULL")
    yield
    superuser.execute("UPDATE provider_endpoints SET api_key = NULL")
    superuser.execute("DELETE FROM job_leases WHERE job = %s", (reconciliation.JOB,))


@pytest.fixture
def referred(company: Company) -> Company:
    """Ada brought Ben ten days ago, and has 5 points for that."""
    return brought(company)


def brought(company: Company) -> Company:
    company.set_clock(NOW - 10 * DAY)
    company.refer("ada", "ben")
    return company


def give(company: Company, key: str | None, provider: str = "stripe") -> dict[str, Any]:
    endpoint = company.line[f"{provider}_endpoint"].rpartition("/")[2]
    return company.ok("PATCH", f"/v1/provider-endpoints/{endpoint}", {"api_key": key})


def until(company: Company, provider: str = "stripe") -> datetime | None:
    """Until when the company's endpoint is reconciled."""
    found = company.ok("GET", "/v1/provider-endpoints")["data"]
    (instant,) = (each["reconciled_until"] for each in found if each["provider"] == provider)
    return instant and time_of(instant)


def at_whop(superuser: psycopg.Connection, company: Company) -> str:
    """Make the company one of Whop's; its `biz_…`."""
    biz = f"biz_{company.id.hex[:14]}"
    superuser.execute("UPDATE companies SET whop_company_id = %s WHERE id = %s", (biz, company.id))
    return biz


def reconcile(*companies: Company) -> dict[str, Any]:
    """One run, for all of them."""
    return run_job(companies[0].url, "ReconcilePaymentsFunction")


def counts(result: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in result.items() if type(count) is int and count and name != "batches"}


def kept(superuser: psycopg.Connection, company_id: UUID) -> list[tuple[str, str]]:
    """The events of a company: type and outcome, as they came in."""
    found = "SELECT type, outcome FROM inbox_events WHERE company_id = %(id)s ORDER BY received_at"
    return [(row["type"], row["outcome"]) for row in rows.find(superuser, found, id=company_id)]


def standing(company: Company) -> tuple[str, int, int]:
    """The stage of Ada's only referral, its revenue, her balance."""
    (found,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    return found["stage"], sum(each["amount"] for each in found["revenue"]), company.balance("ada")


QUALIFIED = ("qualified", 1900, 5 + 25)
CANCELLED = ("cancelled", 0, 5)


def paid(number: int = 1, at: datetime = NOW - DAY, user: str = "ben") -> dict[str, Any]:
    return invoice_paid(f"evt_{number}", f"in_{number}", user=user, paid_at=at)


def event(of: str, at: datetime, **value: object) -> dict[str, Any]:
    return stripe_objects.event(of, dict(value), sent_at=at, id=f"evt_{of}_{int(at.timestamp())}")


def test_what_stripe_could_not_deliver_counts_under_its_own_date(
    referred: Company, providers: Providers, superuser: psycopg.Connection
) -> None:
    stripe = providers.open([paid(at=NOW - 9 * DAY), event("product.created", NOW - DAY, id="prod_1")])
    give(referred, stripe.key)
    assert until(referred) is None
    before = datetime.now(UTC)
    assert counts(reconcile(referred)) == {"events": 1, "reconciled": 1}
    assert standing(referred) == QUALIFIED
    (found,) = referred.ok("GET", "/v1/users/ada/referrals")["data"]
    assert time_of(found["qualified_at"]) == NOW - 9 * DAY
    assert before <= (until(referred) or before) <= datetime.now(UTC)
    assert kept(superuser, referred.id) == [("invoice.paid", "applied")]
    asked = int(stripe.asked[0].query["created[gte]"][0])
    assert abs(asked - (before - 30 * DAY).timestamp()) < 60
    # ask for nothing that means nothing here, and no more than is allowed at once
    types = [name for question in stripe.asked for name in question.query["types[]"]]
    assert len(types) == len(set(types)) > 20


def test_the_next_run_asks_from_a_day_before_and_finds_what_it_knows(
    referred: Company, providers: Providers, superuser: psycopg.Connection
) -> None:
    stripe = providers.open([paid(1, at=NOW - 9 * DAY), paid(2, at=NOW)])
    give(referred, stripe.key)
    reconcile(referred)
    first, stripe.asked = until(referred), []
    before = rows.count(superuser, referred.id)
    assert counts(reconcile(referred)) == {"duplicates": 1, "reconciled": 1}
    assert first is not None
    assert int(stripe.asked[0].query["created[gte]"][0]) == int((first - DAY).timestamp())
    assert (until(referred) or first) > first
    assert rows.count(superuser, referred.id) == before


def test_without_a_key_nobody_is_asked(referred: Company, providers: Providers) -> None:
    stripe = providers.open([paid()])
    give(referred, stripe.key)
    give(referred, None)
    assert counts(reconcile(referred)) == {}
    assert stripe.asked == []


@pytest.mark.parametrize("first", ["delivered", "asked"])
def test_what_was_delivered_too_is_one(
    referred: Company, providers: Providers, superuser: psycopg.Connection, first: str
) -> None:
    stripe = providers.open([paid()])
    give(referred, stripe.key)
    if first == "delivered":
        assert referred.deliver(paid()).json["duplicate"] is False
        assert counts(reconcile(referred)) == {"duplicates": 1, "reconciled": 1}
    else:
        reconcile(referred)
        assert referred.deliver(paid()).json == {"received": True, "duplicate": True, "outcome": "applied"}
    assert (standing(referred), kept(superuser, referred.id)) == (QUALIFIED, [("invoice.paid", "applied")])


def test_every_page_is_read_and_the_refund_and_the_dispute_of_meanwhile_are_found(
    referred: Company, providers: Providers, superuser: psycopg.Connection
) -> None:
    refund = {"id": "re_1", "object": "refund", "amount": 1900, "currency": "usd", "payment_intent": "pi_1",
              "status": "succeeded", "created": int(NOW.timestamp())}  # fmt: skip
    dispute = {"id": "dp_1", "object": "dispute", "amount": 1900, "currency": "usd", "payment_intent": "pi_2",
               "status": "lost", "created": int(NOW.timestamp())}  # fmt: skip
    link = {"object": "invoice_payment", "status": "paid"}
    stripe = providers.open([
        paid(1, NOW - 5 * DAY),
        event("invoice_payment.paid", NOW - 5 * DAY, id="inpay_1", invoice="in_1",
              payment={"payment_intent": "pi_1"}, **link),
        event("refund.created", NOW - 2 * DAY, **refund),
        paid(2, NOW - 4 * DAY),
        event("invoice_payment.paid", NOW - 4 * DAY, id="inpay_2", invoice="in_2",
              payment={"payment_intent": "pi_2"}, **link),
        event("charge.dispute.closed", NOW - DAY, **dispute),
        *(event("customer.updated", NOW - 3 * DAY + timedelta(hours=number), id="cus_1") for number in range(9)),
    ])  # fmt: skip
    stripe.largest_page = 2
    give(referred, stripe.key)
    assert counts(reconcile(referred)) == {"events": 15, "reconciled": 1}
    assert standing(referred) == CANCELLED
    assert books.faults(superuser, referred.id) == []


def test_what_cannot_be_applied_is_kept_as_failed_and_what_is_none_is_left_out(
    referred: Company, providers: Providers, superuser: psycopg.Connection
) -> None:
    unreadable, odd, other_mode = paid(1), paid(2), paid(3)
    unreadable["data"]["object"]["amount_paid"] = "a lot"
    odd["data"]["object"]["note"] = "\0"
    other_mode["livemode"] = True
    give(referred, providers.open([unreadable, odd, other_mode, paid(4)]).key)
    assert counts(reconcile(referred)) == {"events": 3, "malformed": 1, "reconciled": 1}
    assert sorted(kept(superuser, referred.id)) == [
        ("invoice.paid", "applied"), ("invoice.paid", "failed"), ("invoice.paid", "ignored"),
    ]  # fmt: skip
    (failed,) = referred.ok("GET", "/v1/inbox?status=failed")["data"]
    assert failed["error"] == "amount_paid is not an amount"


def of_whop(kind: str, key: str, created_at: datetime, updated_at: datetime | None = None, **fields: object) -> Any:  # noqa: ANN401
    return {
        "id": key, "created_at": created_at.isoformat(), "updated_at": (updated_at or created_at).isoformat(),
        "object": kind,
    } | fields  # fmt: skip


def sale(at: datetime = NOW - 5 * DAY, key: str = "pay_1", **fields: object) -> dict[str, Any]:
    """19.00 as the dated API shows a payment."""
    return of_whop(
        "payment", key, at, status="paid", substatus="succeeded", paid_at=at.isoformat(), currency="usd",
        total=money("19.00"), tax_amount=None, membership_id="mem_1", member_id="mber_1", plan_id="plan_1",
        user={"id": "user_1", "username": "ben", "profile_pic_url": "https://img.example/1?signature=1"},
        customer_email="ben@example.org", metadata={"goodword_user": "ben"},
    ) | fields  # fmt: skip


def membership(status: str, changed_at: datetime, **fields: object) -> dict[str, Any]:
    return of_whop(
        "membership", "mem_1", NOW - 5 * DAY, changed_at, status=status, plan_id="plan_1", user_id="user_1",
        member_id="mber_1", metadata={"goodword_user": "ben"}, cancel_at_period_end=False,
    ) | fields  # fmt: skip


@pytest.fixture
def whop(referred: Company, providers: Providers, superuser: psycopg.Connection) -> Account:
    """What Whop knows of the company, which can ask."""
    at_whop(superuser, referred)
    account = providers.open(payments=[], refunds=[], disputes=[], memberships=[])
    give(referred, account.key, "whop")
    return account


def subscriptions(superuser: psycopg.Connection, company: Company) -> list[tuple[str, datetime | None]]:
    found = "SELECT status, ended_at FROM subscriptions WHERE company_id = %(id)s"
    return [(row["status"], row["ended_at"]) for row in rows.find(superuser, found, id=company.id)]


def test_what_whop_does_not_send_again_is_found_in_its_lists(
    referred: Company, whop: Account, superuser: psycopg.Connection
) -> None:
    whop.objects["payments"] = [sale(), sale(key="pay_open", status="open", paid_at=None)]
    whop.objects["memberships"] = [membership("active", NOW - 5 * DAY)]
    assert counts(reconcile(referred)) == {"events": 2, "reconciled": 1}
    assert standing(referred) == QUALIFIED
    (found,) = referred.ok("GET", "/v1/users/ada/referrals")["data"]
    assert time_of(found["qualified_at"]) == NOW - 5 * DAY
    assert subscriptions(superuser, referred) == [("active", None)]
    ben = referred.ok("GET", "/v1/users/ben")
    assert (ben["username"], ben["email"]) == ("ben", "ben@example.org")
    assert until(referred, "whop") is not None
    assert counts(reconcile(referred)) == {"reconciled": 1}, "nothing has changed since"


def test_one_state_is_one_event_and_the_next_state_another(
    referred: Company, whop: Account, superuser: psycopg.Connection
) -> None:
    refund = of_whop("refund", "rf_1", NOW - 2 * DAY, NOW, payment_id="pay_1", amount=money("19.00"),
                     original_amount=money("19.00"), status="pending")  # fmt: skip
    whop.objects |= {"payments": [sale()], "refunds": [refund]}
    assert counts(reconcile(referred)) == {"events": 2, "reconciled": 1}
    assert counts(reconcile(referred)) == {"duplicates": 1, "reconciled": 1}
    assert standing(referred) == CANCELLED
    whop.objects["refunds"] = [refund | {"status": "succeeded", "updated_at": (NOW + DAY / 24).isoformat()}]
    assert counts(reconcile(referred)) == {"events": 1, "reconciled": 1}
    assert standing(referred) == CANCELLED
    whop.objects["refunds"] = [refund | {"status": "failed", "updated_at": (NOW + DAY / 12).isoformat()}]
    reconcile(referred)
    assert standing(referred) == QUALIFIED
    assert [kind for kind, _ in kept(superuser, referred.id)] == ["payment.succeeded"] + ["refund.updated"] * 3
    assert books.faults(superuser, referred.id) == []


def test_a_link_that_is_signed_anew_is_no_new_state(referred: Company, whop: Account) -> None:
    whop.objects["payments"] = [sale(NOW)]
    assert counts(reconcile(referred)) == {"events": 1, "reconciled": 1}
    user = whop.objects["payments"][0]["user"] | {"profile_pic_url": "https://img.example/1?signature=2"}
    whop.objects["payments"] = [sale(NOW, user=user)]
    assert counts(reconcile(referred)) == {"duplicates": 1, "reconciled": 1}


@pytest.mark.parametrize("first", ["delivered", "asked"])
def test_a_payment_that_was_delivered_too_is_one_sale(
    referred: Company, whop: Account, superuser: psycopg.Connection, first: str
) -> None:
    at = (NOW - 5 * DAY).isoformat()
    delivered = whop_payment("msg_1", "pay_1", user="ben", created_at=at, paid_at=at, total="19.00")
    whop.objects["payments"] = [sale()]
    if first == "delivered":
        referred.deliver_whop(delivered)
    assert counts(reconcile(referred)) == {"events": 1, "reconciled": 1}
    if first == "asked":
        referred.deliver_whop(delivered)
    assert standing(referred) == QUALIFIED
    stored = rows.count(superuser, referred.id)
    assert (stored["payments"], stored["inbox_events"]) == (1, 2)


def test_a_dispute_of_long_ago_is_found_when_it_is_lost(referred: Company, whop: Account) -> None:
    whop.objects["payments"] = [sale()]
    reconcile(referred)
    lost = of_whop("dispute", "dspt_1", NOW - 100 * DAY, NOW, payment={"id": "pay_1"}, amount=19.0, currency="usd",
                   status="lost", inquiry=False)  # fmt: skip
    whop.objects["disputes"] = [lost]
    assert counts(reconcile(referred)) == {"events": 1, "reconciled": 1}
    assert standing(referred) == CANCELLED


def test_a_membership_ends_once_whatever_is_edited_of_it_later(
    referred: Company, whop: Account, superuser: psycopg.Connection
) -> None:
    whop.objects["memberships"] = [membership("canceled", NOW - 2 * DAY)]
    reconcile(referred)
    assert subscriptions(superuser, referred) == [("ended", NOW - 2 * DAY)]
    whop.objects["memberships"] = [membership("canceled", NOW, metadata={"goodword_user": "ben", "note": "nice"})]
    assert counts(reconcile(referred)) == {"reconciled": 1}
    assert subscriptions(superuser, referred) == [("ended", NOW - 2 * DAY)]
    whop.objects["memberships"] = [membership("active", NOW)]
    reconcile(referred)
    assert subscriptions(superuser, referred) == [("active", None)]


def test_every_page_of_every_list_is_read(referred: Company, whop: Account) -> None:
    whop.largest_page = 2
    whop.objects["payments"] = [sale(NOW - DAY / 24 * number, key=f"pay_{number}") for number in range(5)]
    whop.objects["memberships"] = [membership("active", NOW)]
    assert counts(reconcile(referred)) == {"events": 6, "reconciled": 1}
    assert whop.paths() == [
        *["/sandbox/payments"] * 3, "/sandbox/refunds", "/sandbox/disputes", "/sandbox/memberships",
    ]  # fmt: skip


def test_a_live_company_is_asked_about_in_production(
    live: Company, providers: Providers, superuser: psycopg.Connection
) -> None:
    account = providers.open()
    at_whop(superuser, live)
    give(live, account.key, "whop")
    reconcile(live)
    assert account.paths() == ["/whop/payments", "/whop/refunds", "/whop/disputes", "/whop/memberships"]


def test_an_app_is_asked_about_each_company_that_is_known(
    referred: Company, other: Company, providers: Providers, superuser: psycopg.Connection
) -> None:
    superuser.execute("UPDATE companies SET whop_company_id = NULL")
    brought(other)
    whose = {at_whop(superuser, each): each for each in (referred, other)}
    account = providers.open(payments=[
        sale(key=f"pay_{number}", account_id=biz) for number, biz in enumerate([*whose, "biz_strange"])
    ])  # fmt: skip
    body = {"provider": "whop", "secrets": ["ws_0123456789"], "scope": "app", "api_key": account.key}
    app = referred.ok("POST", "/v1/provider-endpoints", body)
    assert counts(reconcile(referred)) == {"events": 2, "reconciled": 2}
    for each in (referred, other):
        assert (standing(each), kept(superuser, each.id)) == (QUALIFIED, [("payment.succeeded", "applied")])
    (shown,) = (each for each in referred.ok("GET", "/v1/provider-endpoints")["data"] if each["id"] == app["id"])
    assert shown["reconciled_until"] is not None


def test_whop_is_not_asked_about_a_company_it_does_not_know(referred: Company, providers: Providers) -> None:
    account = providers.open()
    give(referred, account.key, "whop")
    assert counts(reconcile(referred)) == {"unanswered": 1}
    assert (account.asked, until(referred, "whop")) == ([], None)


@pytest.mark.parametrize(
    "said",
    [
        Said(401), Said(403), Said(404), Said(500), Said(200, b"{"), Said(200, b"[]"), Said(200, b"{}"),
        Said(200, b'{"data": []}'), Said(302, headers=(("location", "/stripe/v1/events"),)),
    ],
    ids=lambda said: f"{said.status} {said.body.decode()}",
)  # fmt: skip
def test_who_does_not_answer_is_asked_again_next_time_and_the_others_are_asked_now(
    referred: Company, other: Company, providers: Providers, said: Said
) -> None:
    away, there = providers.open([paid()]), providers.open([paid(at=datetime.now(UTC))])
    away.instead.extend([said] * 10)
    give(referred, away.key)
    give(brought(other), there.key)
    assert counts(reconcile(referred, other)) == {"events": 1, "reconciled": 1, "unanswered": 1}
    assert (until(referred), standing(other)) == (None, QUALIFIED)
    away.instead.clear()
    assert counts(reconcile(referred)) == {"events": 1, "duplicates": 1, "reconciled": 2}
    assert standing(referred) == QUALIFIED


@pytest.mark.parametrize("said", [Said(429, headers=(("retry-after", "1"),)), Said(429), Said(503), Said(500)])
def test_who_is_busy_is_asked_again_a_little_later(referred: Company, providers: Providers, said: Said) -> None:
    stripe = providers.open([paid()])
    stripe.instead.append(said)
    give(referred, stripe.key)
    assert counts(reconcile(referred)) == {"events": 1, "reconciled": 1}
    assert stripe.asked[0].query == stripe.asked[1].query


@pytest.mark.usefixtures("as_jobs")
def test_nothing_of_a_key_is_logged(
    referred: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    providers: Providers,
) -> None:  # fmt: skip
    monkeypatch.setenv("STRIPE_API_URL", providers.variables["STRIPE_API_URL"])
    give(referred, "rk_test_of_nobody")
    assert counts(jobs.run_steps(reconciliation.JOB, Remaining(), reconciliation.steps())) == {"unanswered": 1}
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert (record.__dict__["fault"], record.__dict__["endpoint"]) == ("http_401", endpoint_of(referred))
    assert "rk_test_of_nobody" not in json.dumps([record.__dict__ for record in caplog.records], default=str)


def endpoint_of(company: Company) -> str:
    return company.line["stripe_endpoint"].rpartition("/")[2]


@pytest.mark.usefixtures("as_jobs")
def test_a_key_may_stay_in_secrets_manager(
    referred: Company, monkeypatch: pytest.MonkeyPatch, providers: Providers
) -> None:
    monkeypatch.setenv("STRIPE_API_URL", providers.variables["STRIPE_API_URL"])
    stripe = providers.open([paid()])
    with Vault.open(monkeypatch) as vault:
        give(referred, vault.create(stripe.key))
        assert counts(jobs.run_steps(reconciliation.JOB, Remaining(), reconciliation.steps())) == {
            "events": 1, "reconciled": 1,
        }  # fmt: skip
        give(referred, "arn:aws:secretsmanager:eu-central-1:123456789012:secret:goodword/none-AbCdEf")
        unread = jobs.run_steps(reconciliation.JOB, Remaining(), reconciliation.steps())
    assert counts(unread) == {"unanswered": 1}
    assert standing(referred) == QUALIFIED


@pytest.mark.usefixtures("as_jobs")
def test_without_enough_time_nobody_is_asked(
    referred: Company, monkeypatch: pytest.MonkeyPatch, providers: Providers
) -> None:
    monkeypatch.setenv("STRIPE_API_URL", providers.variables["STRIPE_API_URL"])
    stripe = providers.open([paid()])
    give(referred, stripe.key)
    result = jobs.run_steps(reconciliation.JOB, Remaining(60_000), reconciliation.steps())
    assert (result["complete"], stripe.asked, until(referred)) == (False, [], None)


@pytest.mark.usefixtures("as_jobs")
def test_a_run_whose_time_is_up_ends_after_its_page_and_the_next_goes_on(
    referred: Company, monkeypatch: pytest.MonkeyPatch, providers: Providers
) -> None:
    class Dwindling(Remaining):
        def get_remaining_time_in_millis(self) -> int:
            return 900_000 if len(stripe.asked) < 2 else 60_000

    monkeypatch.setenv("STRIPE_API_URL", providers.variables["STRIPE_API_URL"])
    stripe = providers.open([paid(number, NOW - number * DAY / 24) for number in range(5)])
    stripe.largest_page = 2
    give(referred, stripe.key)
    result = jobs.run_steps(reconciliation.JOB, Dwindling(), reconciliation.steps())
    assert (counts(result), result["complete"], until(referred)) == ({"events": 4}, False, None)
    assert counts(reconcile(referred)) == {"events": 1, "duplicates": 4, "reconciled": 1}


@pytest.mark.parametrize(
    "said", [b'{"data": []}', b'{"data": [], "page_info": {"has_next_page": true, "end_cursor": null}}']
)
def test_a_list_without_an_end_is_not_taken_for_whole(referred: Company, whop: Account, said: bytes) -> None:
    whop.instead.append(Said(200, said))
    assert counts(reconcile(referred)) == {"unanswered": 1}
    assert until(referred, "whop") is None


def test_a_run_that_is_killed_between_two_pages_is_made_up_for_by_the_next(
    referred: Company, providers: Providers, prepared: Prepared, superuser: psycopg.Connection
) -> None:
    stripe = providers.open([paid(number, NOW - number * DAY / 24) for number in range(4)])
    stripe.largest_page = 2
    stripe.hold_at(2)
    give(referred, stripe.key)
    command = "import app, sys; sys.path.insert(0, '.'); from tests.support.jobs import Remaining;"
    with subprocess.Popen(
        [sys.executable, "-c", f"{command} app.lambda_handler({{}}, Remaining())"],
        cwd=ROOT,
        env={**os.environ, **job_environment(prepared, providers)},
    ) as process:
        stripe.wait_until_held()
        process.kill()
    stripe.go_on()
    assert len(kept(superuser, referred.id)) == 2
    assert until(referred) is None
    assert reconcile(referred)["skipped"], "the lease of the dead holds for a while"
    superuser.execute("UPDATE job_leases SET held_until = clock_timestamp() WHERE job = %s", (reconciliation.JOB,))
    assert counts(reconcile(referred)) == {"events": 2, "duplicates": 2, "reconciled": 1}
    assert standing(referred)[:2] == ("qualified", 4 * 1900)
    assert books.faults(superuser, referred.id) == []


def job_environment(prepared: Prepared, providers: Providers) -> dict[str, str]:
    return {
        "DATABASE_HOST": prepared.parameters["DatabaseHost"],
        "DATABASE_PORT": prepared.parameters["DatabasePort"],
        "DATABASE_NAME": prepared.parameters["DatabaseName"],
        "DATABASE_USER": "goodword_jobs",
        "DATABASE_IAM_AUTHENTICATION": "false",
        "PRIVACY_SECRET": setup.PRIVACY_SECRET,
        "DATABASE_CA_FILE": "",
        "PGPASSFILE": prepared.environment["PGPASSFILE"],
        "PYTHONPATH": f"{ROOT / 'functions/reconcile_payments'}:{ROOT / 'layers/goodword'}:{ROOT}",
        **providers.variables,
    }


def test_of_two_runs_at_once_one_gives_way_and_even_two_do_nothing_twice(
    referred: Company, providers: Providers, superuser: psycopg.Connection
) -> None:
    stripe = providers.open([paid(number, NOW - number * DAY / 24) for number in range(4)])
    stripe.largest_page = 2
    stripe.hold_at(2)
    give(referred, stripe.key)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(reconcile, referred)
        stripe.wait_until_held()
        locks = "SELECT count(*) AS locks FROM pg_locks JOIN pg_stat_activity USING (pid)"
        held = rows.find_one(superuser, f"{locks} WHERE usename = 'goodword_jobs' AND locktype = 'transactionid'")
        assert held["locks"] == 0, "nobody waits for a provider inside of a transaction"
        assert reconcile(referred)["skipped"] == "another run holds the lease"
        superuser.execute("DELETE FROM job_leases WHERE job = %s", (reconciliation.JOB,))
        second = reconcile(referred)
        stripe.go_on()
        assert counts(second)["reconciled"] == counts(first.result())["reconciled"] == 1
    assert standing(referred)[:2] == ("qualified", 4 * 1900)
    assert len(kept(superuser, referred.id)) == 4
    assert books.faults(superuser, referred.id) == []


def test_who_has_waited_longest_is_asked_first(
    referred: Company, other: Company, providers: Providers, superuser: psycopg.Connection
) -> None:
    accounts = [providers.open(), providers.open()]
    for each, account in zip((referred, other), accounts, strict=True):
        give(each, account.key)
    reconcile(referred)
    endpoints = [ids.parse("whe", endpoint_of(each)) for each in (referred, other)]
    for first in (0, 1):
        superuser.execute(
            "UPDATE reconciliations SET asked_at = asked_at - interval '1 day' WHERE endpoint_id = %s",
            (endpoints[first],),
        )
        accounts[first].hold_at(len(accounts[first].asked) + 1)
        before = len(accounts[1 - first].asked)
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(reconcile, referred)
            accounts[first].wait_until_held()
            assert len(accounts[1 - first].asked) == before
            accounts[first].go_on()
            running.result()
