"""What Stripe sends: who may send it, what is kept of it, and what is said to Stripe."""

import json
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from goodword.payments import signatures
from local.client import Answer
from tests.support import rows
from tests.support.answers import problem
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

LARGEST = 1024 * 1024


def send(company: Company, raw: bytes, *, endpoint: str | None = None, **headers: str) -> Answer:
    """A request as it is; `headers` with underscores for hyphens."""
    path = endpoint or urlsplit(company.line["stripe_endpoint"]).path
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return company.browser.send("POST", path, raw=raw, headers=sent)


def signed(company: Company, raw: bytes) -> str:
    return signatures.sign(raw, company.line["stripe_secret"], int(time.time()))


def inbox(superuser: psycopg.Connection, company: Company) -> list[dict[str, Any]]:
    """What was kept, but for the events that were delivered before a shared company was handed out."""
    kept = rows.find(superuser, "SELECT * FROM inbox_events WHERE company_id = %(id)s ORDER BY id", id=company.id)
    return [row for row in kept if row["event_id"] not in {"evt_thin", "evt_cy"}]


def the_event(superuser: psycopg.Connection, company: Company) -> dict[str, Any]:
    (event,) = inbox(superuser, company)
    return event


def said(answer: Answer) -> tuple[bool, str]:
    """Whether it was a duplicate, and the outcome."""
    assert answer.status == 200, answer.raw
    assert answer.json.keys() == {"received", "duplicate", "outcome"}
    assert answer.json["received"] is True
    return answer.json["duplicate"], answer.json["outcome"]


EVENT = json.dumps(invoice_paid("evt_1", "in_1", user="ben")).encode()


def test_what_was_signed_with_another_secret_is_refused(shared: Company, superuser: psycopg.Connection) -> None:
    problem(shared.deliver(None, raw=EVENT, secret="whsec_somebody_elses"), 400, "signature_invalid")
    assert inbox(superuser, shared) == []


def test_what_was_changed_after_signing_is_refused(shared: Company, superuser: psycopg.Connection) -> None:
    changed = EVENT.replace(b"1900", b"9900")
    problem(send(shared, changed, stripe_signature=signed(shared, EVENT)), 400, "signature_invalid")
    assert inbox(superuser, shared) == []


def test_what_nobody_signed_is_refused(shared: Company, superuser: psycopg.Connection) -> None:
    problem(send(shared, EVENT), 400, "signature_missing")
    assert inbox(superuser, shared) == []


@pytest.mark.parametrize(
    "header",
    ["nonsense", "t=1", "v1=00", "t=,v1=", "t=abc,v1=00", "t=-1,v1=00", "t=1e9,v1=00", "t=1,v0=00", "é=1,v1=é"],
)
def test_a_signature_that_is_none_is_refused(shared: Company, superuser: psycopg.Connection, header: str) -> None:
    assert send(shared, EVENT, stripe_signature=header).status == 400
    assert inbox(superuser, shared) == []


def test_a_right_signature_counts_only_as_stripe_writes_it(shared: Company, superuser: psycopg.Connection) -> None:
    at, _, right = signed(shared, EVENT).partition(",v1=")
    for parts in ((at, f"v0={right}"), (at, f"v1={right.upper()}"), (at, f" v1={right}"), (at, f"v1=é{right[1:]}")):
        problem(send(shared, EVENT, stripe_signature=",".join(parts)), 400, "signature_invalid")
    problem(send(shared, EVENT, stripe_signature=f"v1={right}"), 400, "signature_invalid")
    cut = shared.line["stripe_secret"].removeprefix("whsec_")
    problem(shared.deliver(None, raw=EVENT, secret=cut), 400, "signature_invalid")
    assert inbox(superuser, shared) == []


@pytest.mark.parametrize("age", [timedelta(seconds=301), timedelta(seconds=-302), timedelta(days=365)])
def test_a_stale_or_future_signature_is_refused(shared: Company, superuser: psycopg.Connection, age: timedelta) -> None:
    problem(shared.deliver(None, raw=EVENT, age=age), 400, "timestamp_out_of_range")
    assert inbox(superuser, shared) == []


def test_the_freshness_of_a_signature_is_judged_by_real_time(company: Company) -> None:
    company.ok("PUT", "/v1/test-clock", {"now": "2040-01-01T00:00:00Z"})
    assert said(company.deliver(None, raw=EVENT)) == (False, "parked")


def test_one_good_signature_among_several_is_enough(company: Company) -> None:
    at = int(time.time())
    good = signatures.sign(EVENT, company.line["stripe_secret"], at).partition(",")[2]
    assert said(send(company, EVENT, stripe_signature=f"t={at},v1={'0' * 64},{good},v0={'1' * 64}"))[1] == "parked"


def test_either_secret_signs_while_one_is_being_replaced(company: Company) -> None:
    new = {"provider": "stripe", "secrets": ["whsec_the_old_one", "whsec_the_new_one"]}
    endpoint = urlsplit(company.ok("POST", "/v1/provider-endpoints", new)["url"]).path
    for number, secret in enumerate(new["secrets"]):
        raw = json.dumps(invoice_paid(f"evt_{number}", f"in_{number}", user="ben")).encode()
        header = signatures.sign(raw, secret, int(time.time()))
        assert said(send(company, raw, endpoint=endpoint, stripe_signature=header)) == (False, "parked")
    header = signed(company, EVENT)
    problem(send(company, EVENT, endpoint=endpoint, stripe_signature=header), 400, "signature_invalid")


@pytest.mark.parametrize("endpoint_id", ["nonsense", "whe_", "whe_" + "0" * 32, "whe_" + "F" * 32, "cmp_" + "0" * 32])
def test_an_unknown_endpoint_is_not_found(shared: Company, superuser: psycopg.Connection, endpoint_id: str) -> None:
    answer = send(shared, EVENT, endpoint=f"/webhooks/stripe/{endpoint_id}", stripe_signature=signed(shared, EVENT))
    problem(answer, 404, "endpoint_not_found")
    assert inbox(superuser, shared) == []


def test_another_providers_endpoint_is_not_found(company: Company) -> None:
    endpoint = company.line["whop_endpoint"].rpartition("/")[2]
    answer = send(company, EVENT, endpoint=f"/webhooks/stripe/{endpoint}", stripe_signature=signed(company, EVENT))
    problem(answer, 404, "endpoint_not_found")


def test_another_companys_endpoint_knows_another_secret(company: Company, other: Company) -> None:
    endpoint = urlsplit(other.line["stripe_endpoint"]).path
    answer = send(company, EVENT, endpoint=endpoint, stripe_signature=signed(company, EVENT))
    problem(answer, 400, "signature_invalid")


def test_get_shows_that_the_address_answers(company: Company) -> None:
    assert company.browser.send("GET", urlsplit(company.line["stripe_endpoint"]).path).status == 200


def test_a_mebibyte_is_taken_and_a_byte_more_is_not(company: Company, superuser: psycopg.Connection) -> None:
    event = {"id": "evt_1", "type": "file.created", "created": 1, "livemode": False, "data": {"object": {"text": ""}}}
    padding = LARGEST - len(json.dumps(event))
    event["data"]["object"]["text"] = "x" * padding
    assert said(company.deliver(event)) == (False, "ignored")
    event["data"]["object"]["text"] += "x"
    problem(company.deliver(event | {"id": "evt_2"}), 413, "body_too_large")
    assert len(the_event(superuser, company)["body"]) == LARGEST


MALFORMED = [
    b"",
    b"not JSON",
    b"null",
    b"[]",
    b'"evt_1"',
    b"1",
    b"{}",
    b'{"id": "evt_1"}',
    b'{"id": "evt_1", "type": "invoice.paid"}',
    b'{"id": "evt_1", "type": "invoice.paid", "data": {}}',
    b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": []}}',
    b'{"id": 1, "type": "invoice.paid", "data": {"object": {}}}',
    b'{"id": "evt_1", "id": "evt_2", "type": "invoice.paid", "data": {"object": {}}}',
    b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": {"amount_paid": NaN}}}',
    b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": {"amount_paid": -Infinity}}}',
    b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": {"amount_paid": 1e999}}}',
    b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": "\\u0000"}}}',
    b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": "\\ud800"}}}',
    b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": "\x00"}}}',
    b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}}",
    b"[" * 100_000,
]


@pytest.mark.parametrize("raw", MALFORMED, ids=lambda raw: raw[:40].decode(errors="replace"))
def test_a_signed_body_that_is_no_event_is_refused(shared: Company, superuser: psycopg.Connection, raw: bytes) -> None:
    problem(shared.deliver(None, raw=raw), 400, "malformed_body")
    assert inbox(superuser, shared) == []


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/json"])
def test_signed_bytes_that_are_not_utf_8_are_refused(
    shared: Company, superuser: psycopg.Connection, content_type: str
) -> None:
    raw = EVENT.replace(b"cus_1", b"cus_\xff")
    assert send(shared, raw, stripe_signature=signed(shared, raw), content_type=content_type).status == 400
    assert inbox(superuser, shared) == []


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/octet-stream"])
def test_an_event_is_kept_byte_for_byte(company: Company, superuser: psycopg.Connection, content_type: str) -> None:
    raw = json.dumps(
        invoice_paid("evt_1", "in_1", user="ben") | {"note": "ü and 🦆"}, indent=3, ensure_ascii=False
    ).encode()
    header = signed(company, raw)
    answer = send(
        company, raw, stripe_signature=header, content_type=content_type, user_agent="Stripe/1.0", cookie="a=b"
    )
    assert said(answer) == (False, "parked")
    event = the_event(superuser, company)
    assert event["body"] == raw
    assert event["headers"] == {"stripe-signature": header, "content-type": content_type, "user-agent": "Stripe/1.0"}
    kept = ("provider", "event_id", "type", "livemode", "outcome", "error", "note", "attempts")
    assert [event[name] for name in kept] == ["stripe", "evt_1", "invoice.paid", False, "parked", None, None, 1]
    assert event["handled_at"] is not None


def test_an_event_that_comes_again_is_a_duplicate_and_changes_nothing(
    company: Company, superuser: psycopg.Connection
) -> None:
    company.refer("ada", "ben")
    assert said(company.deliver(None, raw=EVENT)) == (False, "applied")
    before = rows.count(superuser, company.id), inbox(superuser, company)
    changed = json.dumps(invoice_paid("evt_1", "in_2", user="ben", amount=99_00)).encode()
    assert said(company.deliver(None, raw=EVENT)) == (True, "applied")
    assert said(company.deliver(None, raw=changed)) == (True, "applied")
    assert (rows.count(superuser, company.id), inbox(superuser, company)) == before


def test_one_event_at_two_endpoints_is_one_sale(company: Company, superuser: psycopg.Connection) -> None:
    company.refer("ada", "ben")
    secret = "whsec_the_second"
    new = {"provider": "stripe", "secrets": [secret]}
    endpoint = urlsplit(company.ok("POST", "/v1/provider-endpoints", new)["url"]).path
    assert said(company.deliver(None, raw=EVENT)) == (False, "applied")
    header = signatures.sign(EVENT, secret, int(time.time()))
    assert said(send(company, EVENT, endpoint=endpoint, stripe_signature=header)) == (False, "applied")
    assert rows.count(superuser, company.id)["payments"] == 1
    assert company.balance("ada") == 5 + 25


def test_an_event_of_the_other_mode_is_kept_and_ignored(
    company: Company, live: Company, superuser: psycopg.Connection
) -> None:
    for each, livemode in ((company, True), (live, False)):
        each.refer("ada", "ben")
        event = invoice_paid("evt_1", "in_1", user="ben", livemode=livemode)
        assert said(each.deliver(event)) == (False, "ignored")
        assert the_event(superuser, each)["note"] == "livemode_mismatch"
        assert each.balance("ada") == 5
    assert said(live.deliver(invoice_paid("evt_2", "in_2", user="ben", livemode=True))) == (False, "applied")
    assert live.balance("ada") == 5 + 25


def test_a_connected_accounts_event_is_kept_and_ignored(company: Company, superuser: psycopg.Connection) -> None:
    company.refer("ada", "ben")
    event = invoice_paid("evt_1", "in_1", user="ben") | {"account": "acct_1"}
    assert said(company.deliver(event)) == (False, "ignored")
    assert the_event(superuser, company)["note"] == "connect_account"
    assert company.balance("ada") == 5


@pytest.mark.parametrize(
    "event",
    [
        {"id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid", "related_object": {"id": "in_1"}},
        {"id": "9f6d", "version": "0", "detail-type": "invoice.paid", "source": "aws.partner/stripe", "detail": {}},
        {"object": "v2.core.event"},
    ],
    ids=["thin", "EventBridge", "no id"],
)
def test_an_event_without_its_object_is_kept_as_failed(
    company: Company, superuser: psycopg.Connection, event: dict[str, object]
) -> None:
    assert said(company.deliver(event)) == (False, "failed")
    kept = the_event(superuser, company)
    assert (kept["error"], kept["handled_at"], kept["attempts"]) == ("thin_event", None, 1)
    assert said(company.deliver(event)) == (False, "failed")
    assert the_event(superuser, company)["attempts"] == 2


@pytest.mark.parametrize("event_type", ["customer.updated", "made.up", "ping", "x" * 255])
def test_an_event_of_a_kind_we_do_not_handle_is_kept_and_ignored(
    company: Company, superuser: psycopg.Connection, event_type: str
) -> None:
    assert said(company.deliver(invoice_paid("evt_1", "in_1", user="ben") | {"type": event_type})) == (False, "ignored")
    assert the_event(superuser, company)["type"] == event_type
    assert not rows.count(superuser, company.id)["payments"]


@pytest.mark.parametrize(
    ("name", "value"), [("amount_paid", "1900"), ("amount_paid", None), ("amount_paid", 2**63), ("created", -1)]
)
def test_money_or_time_that_cannot_be_read_fails_and_is_never_guessed_at(
    company: Company, superuser: psycopg.Connection, name: str, value: object
) -> None:
    company.refer("ada", "ben")
    event = invoice_paid("evt_1", "in_1", user="ben")
    event["data"]["object"][name] = value
    assert said(company.deliver(event)) == (False, "failed")
    kept = the_event(superuser, company)
    assert name in kept["error"]
    assert not rows.count(superuser, company.id)["payments"]
    assert company.balance("ada") == 5


def test_a_failed_event_is_applied_when_it_comes_again(company: Company, superuser: psycopg.Connection) -> None:
    company.refer("ada", "ben")
    superuser.execute(
        f"ALTER TABLE payments ADD CONSTRAINT broken_ck CHECK (company_id <> '{company.id}') NOT VALID".encode()
    )
    try:
        assert said(company.deliver(None, raw=EVENT)) == (False, "failed")
        kept = the_event(superuser, company)
        assert (kept["error"], kept["handled_at"], kept["body"]) == ("CheckViolation", None, EVENT)
        assert said(company.deliver(None, raw=EVENT)) == (False, "failed")
        assert company.balance("ada") == 5
    finally:
        superuser.execute("ALTER TABLE payments DROP CONSTRAINT broken_ck")
    assert said(company.deliver(None, raw=EVENT)) == (False, "applied")
    kept = the_event(superuser, company)
    assert (kept["outcome"], kept["error"], kept["attempts"]) == ("applied", None, 3)
    assert kept["handled_at"] is not None
    assert company.balance("ada") == 5 + 25
    assert said(company.deliver(None, raw=EVENT)) == (True, "applied")
