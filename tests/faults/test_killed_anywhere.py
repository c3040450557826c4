"""A function's process is killed after each of the statements with which it takes in a provider's event.

Whichever was the last one, nothing of the event is there unless that was COMMIT. Then the provider sends the event
again, and everything is as if nobody had been killed; sent once more, it changes nothing.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest

from goodword.payments import signatures
from goodword.payments.whop import signatures as whop_signatures
from local.client import Answer
from local.setup import Prepared
from tests.support import books, rows, stripe_objects, whop_objects
from tests.support.companies import Company
from tests.support.invocations import Invocations
from tests.support.jobs import run_job
from tests.support.stripe_objects import invoice_paid
from tests.support.waiting import wait_until
from tests.support.whop_objects import whop_payment
from tests.support.wire_proxy import WireProxy

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)

Event = dict[str, Any]


@pytest.fixture(scope="module")
def functions(proxy: WireProxy, prepared: Prepared) -> Iterator[dict[str, Invocations]]:
    """The function that each provider speaks to, on a database behind the proxy."""
    behind = {**prepared.parameters, "DatabaseHost": str(proxy.folder)}
    with (
        Invocations("ReceiveStripeWebhookFunction", behind, prepared.environment) as stripe,
        Invocations("ReceiveWhopWebhookFunction", behind, prepared.environment) as whop,
    ):
        yield {"stripe": stripe, "whop": whop}


def stripe(event_id: str, event_type: str, value: Event, at: datetime = NOON) -> Event:
    return stripe_objects.event(event_type, value, sent_at=at, id=event_id)


def paid(user: str | None = "ben") -> Event:
    """19.00, by an invoice that says by what a refund finds it."""
    return invoice_paid("evt_paid", "in_1", user=user, paid_at=NOON, payment_intent="pi_1")


def refund() -> Event:
    return stripe("evt_refund", "refund.created", stripe_objects.refund(amount=950, created=NOON))


def dispute(kind: str, status: str, at: datetime) -> Event:
    value = stripe_objects.dispute(status=status, created=NOON)
    return stripe(f"evt_dispute_{status}", f"charge.dispute.{kind}", value, at)


def subscription(kind: str, at: datetime, **fields: object) -> Event:
    value = stripe_objects.subscription(created=NOON) | fields
    return stripe(f"evt_subscription_{kind}", f"customer.subscription.{kind}", value, at)


def checkout() -> Event:
    value = stripe_objects.subscribing(client_reference_id="ben", invoice="in_1", created=NOON)
    return stripe("evt_checkout", "checkout.session.completed", value)


def whop_paid() -> Event:
    return whop_payment("msg_paid", "pay_1", user="ben", sent_at=NOON)


def whop_refund() -> Event:
    value = whop_objects.refund(amount=6.9, created_at=NOON)
    return whop_objects.event("refund.created", value, sent_at=NOON, id="msg_refund")


Standing = tuple[str, str | None, int]
"""The stage of Ben's referral, the status of the award for his first payment, what Ada may spend."""


class Case(NamedTuple):
    """What came before, the event in question, and how things stand before and after it.

    `program` differs from the usual one; `later` is the time that passes, with its jobs, until the event.
    """

    before: list[Event]
    event: Event
    stands: Standing
    then: Standing
    program: Mapping[str, object] | None = None
    later: timedelta = timedelta()


OPENED = dispute("created", "needs_response", NOON)
LOST = dispute("closed", "lost", NOON + DAY)
WON = dispute("closed", "won", NOON + 2 * DAY)
HELD = {"awards": {"qualified": {"points": 25, "hold_days": 14}}}
CASES = {
    "payment": Case([], paid(), ("registered", None, 5), ("qualified", "paid", 30)),
    "partial refund": Case([paid()], refund(), ("qualified", "paid", 30), ("qualified", "paid", 18)),
    "dispute opened": Case([paid()], OPENED, ("qualified", "pending", 5), ("qualified", "held", 5), HELD),
    "dispute lost": Case([paid(), OPENED], LOST, ("qualified", "paid", 30), ("cancelled", "reversed", 5)),
    "dispute won": Case([paid(), OPENED], WON, ("qualified", "held", 5), ("qualified", "pending", 5), HELD),
    "dispute won after all": Case([paid(), LOST], WON, ("cancelled", "reversed", 5), ("qualified", "paid", 30)),
    "subscription ended": Case(
        [paid(), subscription("created", NOON)],
        subscription("deleted", NOON + 31 * DAY, status="canceled", ended_at=int((NOON + 9 * DAY).timestamp())),
        ("retained", "paid", 45), ("qualified", "paid", 30), later=31 * DAY,
    ),
    "parked payment claimed": Case([paid(None)], checkout(), ("registered", None, 5), ("qualified", "paid", 30)),
    "whop payment": Case([], whop_paid(), ("registered", None, 5), ("qualified", "paid", 30)),
    "whop refund": Case([whop_paid()], whop_refund(), ("qualified", "paid", 30), ("qualified", "paid", 24)),
}  # fmt: skip


def open_before(opener: psycopg.Connection, server: str, case: Case) -> Company:
    """Ada brought Ben at noon; then came what is to come before."""
    company = Company.write(opener, server)
    company.set_clock(NOON)
    if case.program:
        company.ok("PUT", "/v1/program", {**company.ok("GET", "/v1/program")["program"], **case.program})
    company.refer("ada", "ben")
    for event in case.before:
        assert deliver(company, event).status == 200
    if case.later:
        company.set_clock(NOON + case.later)
        run_job(server, "AdvanceReferralsFunction")
    return company


def standing(state: dict[str, Any]) -> Standing:
    (referral,) = state["referrals"]
    wallets = {each["external_id"]: each["balance"] for each in state["wallets"]}
    statuses = [each["status"] for each in state["awards"] if each["event"] == "qualified"]
    return referral["stage"], statuses[0] if statuses else None, wallets.get("ada", 0)


def deliver(company: Company, event: Event) -> Answer:
    return company.deliver(event) if event.get("object") == "event" else company.deliver_whop(event)


def from_gateway(company: Company, event: Event) -> Event:
    """The signed event as the gateway hands it over."""
    body, at = json.dumps(event), int(time.time())
    if event.get("object") == "event":
        provider = "stripe"
        headers = {"stripe-signature": signatures.sign(body.encode(), company.line["stripe_secret"], at)}
    else:
        provider = "whop"
        headers = whop_signatures.sign(body.encode(), company.line["whop_secret"], event["id"], at)
    path = urlsplit(company.line[f"{provider}_endpoint"]).path
    route = f"POST /webhooks/{provider}/{{endpoint_id}}"
    return {
        "version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": "", "headers": headers,
        "requestContext": {
            "http": {"method": "POST", "path": path, "sourceIp": "192.0.2.1"}, "requestId": "1", "domainName": "",
        },
        "pathParameters": {"endpoint_id": path.rpartition("/")[2]}, "body": body, "isBase64Encoded": False,
    }  # fmt: skip


STATE = {
    "referrals": """
        SELECT stage, risk, fraud_score, fraud_signals, judged_paid_at, activated_at, qualified_at,
            retained_at, expired_at, advances_at
        FROM referrals WHERE company_id = %(id)s
    """,
    "awards": """
        SELECT u.external_id, event, app_id, period, base_points, points, reversed_points, adjustments, status,
            hold_until, hold_reason, reason, due_at, payment_key
        FROM awards a JOIN users u ON (u.company_id, u.id) = (a.company_id, a.user_id)
        LEFT JOIN payments p ON (p.company_id, p.id) = (a.company_id, a.payment_id)
        WHERE a.company_id = %(id)s ORDER BY u.external_id, event
    """,
    "entries": """
        SELECT external_id, e.version, type, delta, debt_delta, balance_after, debt_after, effective_at
        FROM entries e JOIN users u ON (u.company_id, u.id) = (e.company_id, e.user_id)
        WHERE e.company_id = %(id)s ORDER BY external_id, e.version
    """,
    "lots": """
        SELECT external_id, amount, remaining, expires_at
        FROM lots l JOIN users u ON (u.company_id, u.id) = (l.company_id, l.user_id)
        WHERE l.company_id = %(id)s ORDER BY external_id, l.id
    """,
    "wallets": """
        SELECT external_id, balance, debt, total_earned, total_spent, total_expired, total_reversed, w.version
        FROM wallets w JOIN users u ON (u.company_id, u.id) = (w.company_id, w.user_id)
        WHERE w.company_id = %(id)s ORDER BY external_id
    """,
    "payments": """
        SELECT payment_key, objects, p.external_id, u.external_id AS user, currency, gross_amount, net_amount, paid_at,
            superseded
        FROM payments p LEFT JOIN users u ON (u.company_id, u.id) = (p.company_id, p.user_id)
        WHERE p.company_id = %(id)s ORDER BY payment_key
    """,
    "takebacks": """
        SELECT kind, takeback_key, t.objects, payment_key, amount, t.currency, status, began_at, status_at
        FROM takebacks t LEFT JOIN payments p ON (p.company_id, p.id) = (t.company_id, t.payment_id)
        WHERE t.company_id = %(id)s ORDER BY kind, takeback_key
    """,
    "subscriptions": """
        SELECT subscription_key, objects, s.external_id, u.external_id AS user, status, price_refs, period_ends_at,
            cancel_at_period_end, began_at, ended_at, status_at
        FROM subscriptions s LEFT JOIN users u ON (u.company_id, u.id) = (s.company_id, s.user_id)
        WHERE s.company_id = %(id)s ORDER BY subscription_key
    """,
    "inbox": """
        SELECT event_id, type, outcome, error, note, attempts, next_attempt_at, handled_at IS NULL AS unhandled
        FROM inbox_events WHERE company_id = %(id)s ORDER BY event_id
    """,
    "told": "SELECT type FROM outbox_events WHERE company_id = %(id)s ORDER BY type",
}


def state(superuser: psycopg.Connection, company: Company) -> dict[str, Any]:
    """Everything that events lead to, without ids; and of every table, how many rows it has."""
    found = {name: rows.find(superuser, statement, id=company.id) for name, statement in STATE.items()}
    return {**found, "counted": rows.count(superuser, company.id)}


@pytest.mark.parametrize("name", CASES)
def test_an_event_is_taken_in_once_whichever_statement_was_the_last(
    server: str, functions: dict[str, Invocations], proxy: WireProxy, opener: psycopg.Connection,
    superuser: psycopg.Connection, name: str,
) -> None:  # fmt: skip
    case = CASES[name]
    function = functions["stripe" if case.event.get("object") == "event" else "whop"]

    with closing(open_before(opener, server, case)) as twin:
        before, passed_on = state(superuser, twin), proxy.statements
        assert standing(before) == case.stands
        function.begin(from_gateway(twin, case.event))
        receipt = json.loads(function.result()["body"])
        statements = proxy.statements - passed_on
        assert receipt == {"received": True, "duplicate": False, "outcome": "applied"}
        wanted = state(superuser, twin)
        assert standing(wanted) == case.then

    for last in range(statements + 1):
        where = f"after statement {last} of {statements}"
        with closing(open_before(opener, server, case)) as company:
            kill_after(last, proxy, function, from_gateway(company, case.event))
            committed = last == statements
            assert state(superuser, company) == (wanted if committed else before), where
            for duplicate in (committed, True):
                answer = deliver(company, case.event)
                assert (answer.status, answer.json) == (200, receipt | {"duplicate": duplicate}), where
                assert state(superuser, company) == wanted, where
            assert books.faults(superuser, company.id) == []


def kill_after(last: int, proxy: WireProxy, function: Invocations, event: Event) -> None:
    """Let a process take in an event until the server has heard so many statements of it, and kill it there."""
    proxy.stop_after(last)
    function.begin(event)
    try:
        wait_until(lambda: proxy.has_stopped, "the last statement")
    finally:
        function.kill()
        wait_until(lambda: proxy.wires == 0, "the server is done with the dead")
        proxy.stop_after(None)
