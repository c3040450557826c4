"""A body is read as Whop's event only if every later step can hold it; every other body is one error."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.payments.bodies import EventMalformed, EventUnreadable
from goodword.payments.whop.events import facts, read_event

V1 = {
    "id": "msg_1",
    "api_version": "v1",
    "timestamp": "2025-11-28T01:17:01.245Z",
    "type": "payment.succeeded",
    "company_id": "biz_1",
    "data": {"id": "pay_1"},
}
V5 = {"data": {"id": "pay_1", "company_id": "biz_1"}, "api_version": "v5", "action": "payment.succeeded"}


def body(**fields: object) -> bytes:
    return json.dumps(V1 | fields).encode()


def test_a_v1_event_is_read() -> None:
    event = read_event(body())
    assert (event.type, event.company, event.object) == ("payment.succeeded", "biz_1", {"id": "pay_1"})
    assert event.sent_at == datetime(2025, 11, 28, 1, 17, 1, 245_000, tzinfo=UTC)


def test_a_v5_event_is_read() -> None:
    event = read_event(json.dumps(V5).encode())
    assert (event.type, event.company, event.sent_at) == ("payment.succeeded", "biz_1", None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"null",
        b'"text"',
        b"[]",
        b"{}",
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + body(),
        body() + b"}",
        body(amount=float("nan")),
        body()[:-1] + b', "amount": 1e999}',
        body()[:-1] + b', "amount": 1e999999999999999999999}',
        body()[:-1] + b', "amount": 1e-999999999999999999999}',
        body()[:-1] + b', "amount": ' + b"9" * 5_000 + b"}",
        body()[:-1] + b', "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        body()[:-1] + b', "type": "payment.failed"}',
        body(note="a\0b"),
        body(note="\ud800"),
        body(type=None),
        body(type=""),
        body(type="payment succeeded"),
        body(type={"id": "payment.succeeded"}),
        body(data=None),
        body(data=[]),
        body(data="pay_1"),
        b'{"action": "payment.succeeded", "api_version": "v1", "data": null}',  # Whop's own test delivery, it is said
    ],
    ids=lambda raw: repr(raw[:30] + b"..." + raw[-25:]),
)
def test_every_other_body_is_malformed(raw: bytes) -> None:
    with pytest.raises(EventMalformed):
        read_event(raw)


@pytest.mark.parametrize(
    ("sent", "type_"),
    [
        ("payment.succeeded", "payment.succeeded"),
        ("payment_succeeded", "payment.succeeded"),
        ("membership_activated", "membership.activated"),
        ("membership_went_valid", "membership.went_valid"),
        ("membership.went_invalid", "membership.went_invalid"),
        ("membership.went.invalid", "membership.went_invalid"),
        ("payment_failed", "payment_failed"),
        ("dispute_alert.created", "dispute_alert.created"),
        ("app_payment.succeeded", "app_payment.succeeded"),
    ],
)
def test_a_type_that_matters_has_one_spelling(sent: str, type_: str) -> None:
    assert read_event(body(type=sent)).type == type_
    assert read_event(json.dumps(V5 | {"action": sent}).encode()).type == type_


def test_a_type_comes_before_an_action() -> None:
    assert read_event(body(type="payment.failed", action="payment.succeeded")).type == "payment.failed"
    assert read_event(body(type=None, action="payment.succeeded")).type == "payment.succeeded"


@pytest.mark.parametrize(
    ("fields", "company"),
    [
        pytest.param({}, "biz_1", id="v1"),
        pytest.param({"company_id": None, "account_id": "biz_2"}, "biz_2", id="v1 since 2026-08-14"),
        pytest.param({"data": {"company": {"id": "biz_2"}}}, "biz_1", id="the envelope comes first"),
        pytest.param({"company_id": None, "data": {"company": {"id": "biz_2"}}}, "biz_2", id="nested"),
        pytest.param({"company_id": None, "data": {"account": {"id": "biz_2"}}}, "biz_2", id="nested, dated"),
        pytest.param({"company_id": None, "data": {"account_id": "biz_2"}}, "biz_2", id="flat, dated"),
        pytest.param({"company_id": None, "data": {"company_id": "biz_2"}}, "biz_2", id="a v5 payment"),
        pytest.param({"company_id": None, "data": {"page_id": "biz_2"}}, "biz_2", id="a v5 membership"),
        pytest.param({"company_id": 7, "data": {"company": {"id": []}}}, None, id="unreadable"),
        pytest.param({"company_id": None}, None, id="not shown"),
    ],
)
def test_an_event_is_about_one_company(fields: dict[str, object], company: str | None) -> None:
    assert read_event(body(**fields)).company == company


@pytest.mark.parametrize("timestamp", [None, "yesterday", True, -1, 10**30, 1.5, {}, "2025-11-28T01:17:01"])
def test_an_event_without_a_readable_time_is_still_an_event(timestamp: object) -> None:
    assert read_event(body(timestamp=timestamp)).sent_at is None


def test_fractions_are_read_as_they_are_written() -> None:
    event = read_event(body()[:-2] + b', "total": 6.9, "large": 12345678901234567890.12345678901234567890}}')
    assert event.object["total"] == Decimal("6.9") != 6.9
    assert event.object["large"] == Decimal("12345678901234567890.12345678901234567890")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_anything_else(raw: bytes) -> None:
    with suppress(EventMalformed):
        read_event(raw)


@given(st.dictionaries(st.sampled_from([*V1, "action", "account_id"]), JSON))
def test_what_is_read_can_be_stored_and_applied_or_is_refused_by_name(fields: dict[str, object]) -> None:
    try:
        event = read_event(body(**fields))
        facts(event)
    except (EventMalformed, EventUnreadable):
        return
    for stored in (event.type, event.company or ""):
        assert "\0" not in stored.encode().decode()
