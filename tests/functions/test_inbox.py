"""What came in and failed: seen by an operator, tried again by hand or by the job, or given up."""

import json
import time
from typing import Any

import psycopg
import pytest

from goodword.core import ids
from goodword.core.observability import logger
from goodword.payments import reception, signatures
from goodword.payments.provider import Delivery
from goodword.payments.stripe.webhooks import STRIPE
from local.client import Client
from local.setup import Prepared
from tests.functions.conftest import as_role
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import whop_payment


def run(company: Company, job: str) -> Any:  # noqa: ANN401 - the function's JSON
    client = Client(company.url)
    answer = client.send("POST", f"/_local/functions/{job}Function/invocations", {})
    client.close()
    assert answer.status == 200, answer.raw
    return answer.json


def make_due(superuser: psycopg.Connection, company: Company) -> None:
    superuser.execute(
        "UPDATE inbox_events SET next_attempt_at = clock_timestamp() WHERE company_id = %s AND outcome = 'failed'"
        " AND error <> 'thin_event'",
        (company.id,),
    )


@pytest.fixture
def spoilt(company: Company, superuser: psycopg.Connection) -> Company:
    """Ben's payment came in while something was wrong with it: its bytes are replaced, as a repaired reader would."""
    company.refer("ada", "ben")
    event = invoice_paid("evt_1", "in_1", user="ben")
    broken = json.loads(json.dumps(event))
    broken["data"]["object"]["amount_paid"] = "a lot"
    assert company.deliver(broken).json == {"received": True, "duplicate": False, "outcome": "failed"}
    superuser.execute(
        "UPDATE inbox_events SET body = %s WHERE company_id = %s", (json.dumps(event).encode(), company.id)
    )
    return company


def test_a_failed_event_is_listed_with_its_error_and_without_its_body(spoilt: Company) -> None:
    (event,) = spoilt.ok("GET", "/v1/inbox?status=failed")["data"]
    assert event["id"].startswith("inb_")
    assert {name: event[name] for name in ("event_id", "provider", "type", "outcome", "error", "attempts")} == {
        "event_id": "evt_1", "provider": "stripe", "type": "invoice.paid", "outcome": "failed",
        "error": "amount_paid is not an amount", "attempts": 1,
    }  # fmt: skip
    assert event["next_attempt_at"] > event["received_at"]
    assert "body" not in event
    assert spoilt.ok("GET", "/v1/inbox?status=applied")["data"] == []


def error_line_of(
    company: Company, event: dict[str, Any], prepared: Prepared, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> dict[str, Any]:  # fmt: skip
    """The one line of the log that an event leaves when its function takes it in."""
    body, now = json.dumps(event).encode(), time.time()
    signature = signatures.sign(body, company.line["stripe_secret"], int(now))
    endpoint_id = ids.parse("whe", company.line["stripe_endpoint"].rsplit("/", 1)[1])
    with as_role("webhook", prepared, monkeypatch):
        reception.receive(STRIPE, endpoint_id, Delivery(body, {"stripe-signature": signature}), now)
    (record,) = caplog.records
    line = json.loads(logger.registered_formatter.format(record))
    assert (line["level"], line["message"]) == ("ERROR", reception.KEPT_AS_FAILED)
    assert (line["provider"], line["type"]) == ("stripe", "invoice.paid")
    return line


def test_a_failed_event_is_an_error_line_without_anything_of_its_body(
    company: Company, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line that the metric filter of template.yaml looks for (tests/contracts/test_alarms.py)."""
    event = invoice_paid("evt_1", "in_1", user="ben")
    event["data"]["object"]["amount_paid"] = "a lot"
    line = error_line_of(company, event, prepared, monkeypatch, caplog)
    assert line["fault"] == "EventUnreadable"
    assert "a lot" not in json.dumps(line)


def test_a_failed_event_names_the_constraint_it_broke_and_nothing_of_the_row(
    company: Company, superuser: psycopg.Connection, prepared: Prepared, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    condition = f"CHECK (company_id <> '{company.id}') NOT VALID"
    superuser.execute(f"ALTER TABLE payments ADD CONSTRAINT made_up_ck {condition}".encode())
    try:
        event = invoice_paid("evt_1", "in_1", user="ben")
        line = error_line_of(company, event, prepared, monkeypatch, caplog)
    finally:
        superuser.execute("ALTER TABLE payments DROP CONSTRAINT made_up_ck")
    assert (line["fault"], line["sqlstate"], line["constraint"]) == ("CheckViolation", "23514", "made_up_ck")
    assert "in_1" not in json.dumps(line)


def test_an_operator_applies_it_again_and_twice_is_once(spoilt: Company) -> None:
    (event,) = spoilt.ok("GET", "/v1/inbox?status=failed")["data"]
    before = spoilt.balance("ada")
    replayed = spoilt.ok("POST", f"/v1/inbox/{event['id']}/replay")
    assert (replayed["outcome"], replayed["error"], replayed["attempts"]) == ("applied", None, 2)
    assert spoilt.balance("ada") == before + 25
    assert spoilt.ok("POST", f"/v1/inbox/{event['id']}/replay")["outcome"] == "applied"
    assert spoilt.balance("ada") == before + 25


def test_the_job_tries_again_when_it_is_due_and_later_each_time(spoilt: Company, superuser: psycopg.Connection) -> None:
    assert run(spoilt, "ReplayWebhooks")["applied"] == 0, "not due for a minute"
    superuser.execute("UPDATE inbox_events SET body = '{}' WHERE company_id = %s", (spoilt.id,))
    make_due(superuser, spoilt)
    run(spoilt, "ReplayWebhooks")
    (event,) = spoilt.ok("GET", "/v1/inbox?status=failed")["data"]
    assert event["attempts"] == 2
    good = json.dumps(invoice_paid("evt_1", "in_1", user="ben")).encode()
    superuser.execute("UPDATE inbox_events SET body = %s WHERE company_id = %s", (good, spoilt.id))
    make_due(superuser, spoilt)
    run(spoilt, "ReplayWebhooks")
    (event,) = spoilt.ok("GET", "/v1/inbox")["data"]
    assert (event["outcome"], event["attempts"], event["next_attempt_at"]) == ("applied", 3, None)
    assert spoilt.balance("ada") == 30


def test_the_job_fills_in_what_whop_knows_of_a_person(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ben")
    event = whop_payment("msg_1", "pay_1", user="ben", buyer={"id": "user_1", "username": "benny"})
    broken = json.loads(json.dumps(event))
    broken["data"]["total"] = "a lot"
    assert company.deliver_whop(broken).json["outcome"] == "failed"
    superuser.execute("UPDATE inbox_events SET body = %s WHERE company_id = %s", (json.dumps(event), company.id))
    make_due(superuser, company)
    run(company, "ReplayWebhooks")
    assert [each["outcome"] for each in company.ok("GET", "/v1/inbox")["data"]] == ["applied"]
    assert company.ok("GET", "/v1/users/ben")["username"] == "benny"


def test_an_event_is_given_up_once_and_a_handled_one_never(spoilt: Company) -> None:
    (event,) = spoilt.ok("GET", "/v1/inbox?status=failed")["data"]
    discarded = spoilt.ok("POST", f"/v1/inbox/{event['id']}/discard")
    assert (discarded["outcome"], discarded["note"]) == ("ignored", "discarded: amount_paid is not an amount")
    assert spoilt.ok("POST", f"/v1/inbox/{event['id']}/discard") == discarded
    assert spoilt.deliver(invoice_paid("evt_1", "in_1", user="ben")).json == {
        "received": True, "duplicate": True, "outcome": "ignored",
    }  # fmt: skip
    assert spoilt.deliver(invoice_paid("evt_2", "in_2", user="ben")).json["outcome"] == "applied"
    (applied,) = spoilt.ok("GET", "/v1/inbox?status=applied")["data"]
    refused = spoilt.api.send("POST", f"/v1/inbox/{applied['id']}/discard")
    assert (refused.status, refused.json["code"]) == (409, "inbox_event_not_failed")


def test_a_thin_event_waits_for_an_operator_and_the_job_leaves_it(
    company: Company, superuser: psycopg.Connection
) -> None:
    thin = {"id": "evt_thin", "object": "v2.core.event", "type": "v1.invoice.paid", "livemode": False}
    assert company.deliver(thin).json["outcome"] == "failed"
    (event,) = company.ok("GET", "/v1/inbox?status=failed")["data"]
    assert (event["error"], event["next_attempt_at"]) == ("thin_event", None)
    make_due(superuser, company)
    run(company, "ReplayWebhooks")
    assert company.ok("GET", "/v1/inbox?status=failed")["data"] == [event]
    again = company.ok("POST", f"/v1/inbox/{event['id']}/replay")
    assert (again["outcome"], again["error"], again["next_attempt_at"]) == ("failed", "thin_event", None)


def test_nobody_sees_or_touches_another_companys_events(spoilt: Company, server: str) -> None:
    (event,) = spoilt.ok("GET", "/v1/inbox")["data"]
    other = Company.open(server)
    assert other.ok("GET", "/v1/inbox")["data"] == []
    for verb in ("replay", "discard"):
        assert other.api.send("POST", f"/v1/inbox/{event['id']}/{verb}").status == 404
    other.close()


def test_bodies_of_handled_events_go_after_ninety_days_and_failed_ones_stay(
    spoilt: Company, superuser: psycopg.Connection
) -> None:
    assert spoilt.deliver(invoice_paid("evt_2", "in_2", user="ben")).json["outcome"] == "applied"
    superuser.execute(
        "UPDATE inbox_events SET received_at = received_at - interval '91 days' WHERE company_id = %s", (spoilt.id,)
    )
    run(spoilt, "EnforceRetention")
    rows = superuser.execute(
        "SELECT event_id, body IS NULL, headers = '{}' FROM inbox_events WHERE company_id = %s ORDER BY event_id",
        (spoilt.id,),
    ).fetchall()
    assert rows == [("evt_1", False, False), ("evt_2", True, True)]
    (applied,) = spoilt.ok("GET", "/v1/inbox?status=applied")["data"]
    refused = spoilt.api.send("POST", f"/v1/inbox/{applied['id']}/replay")
    assert (refused.status, refused.json["code"]) == (409, "inbox_event_redacted")
    assert spoilt.deliver(invoice_paid("evt_2", "in_2", user="ben")).json["duplicate"] is True
