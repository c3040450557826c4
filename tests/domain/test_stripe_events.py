"""A body is read as an event only if every later step can hold it; every other body is one error."""

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.payments.bodies import EventMalformed, EventUnreadable
from goodword.payments.stripe.events import facts, read_event

EVENT = {
    "id": "evt_1",
    "object": "event",
    "api_version": "2025-09-30.clover",
    "created": 1_700_000_000,
    "livemode": True,
    "type": "invoice.paid",
    "data": {"object": {"id": "in_1"}},
}


def body(**fields: object) -> bytes:
    return json.dumps(EVENT | fields).encode()


def test_an_event_is_read() -> None:
    event = read_event(body())
    assert (event.id, event.type, event.api_version) == ("evt_1", "invoice.paid", "2025-09-30.clover")
    assert event.created == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert event.livemode is True
    assert event.account is None
    assert event.object == {"id": "in_1"}
    assert event.thin is False


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"not json",
        b"null",
        b"1",
        b'"text"',
        b"[]",
        b"[1]",
        b"{}",
        b"{",
        b"\xff\xfe",
        b'{"id": "\xe9"}',
        b"\xef\xbb\xbf" + body(),
        body().decode().encode("utf-16"),
        body() + b"}",
        body(amount=float("nan")),
        body(amount=float("-inf")),
        body()[:-1] + b', "amount": 1e999}',
        body()[:-1] + b', "amount": ' + b"9" * 5_000 + b"}",
        body()[:-1] + b', "deep": ' + b"[" * 100_000 + b"}",
        body()[:-1] + b', "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        body()[:-1] + b', "deep": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}",
        body()[:-1] + b', "id": "evt_2"}',
        body(data={"object": {}})[:-1] + b', "more": {"a": 1, "a": 1}}',
        body(note="a\0b"),
        body(**{"a\0b": 1}),
        body(list=[["\ud800"]]),
        body(**{"\udfff": 1}),
        body(id=None),
        body(id=7),
        body(id=""),
        body(id="evt 1"),
        body(id="e" * 300),
        body(type=None),
        body(type={}),
        body(data=None),
        body(data=[]),
        body(data={}),
        body(data={"object": None}),
        body(data={"object": "in_1"}),
    ],
    ids=lambda raw: repr(raw[:30] + b"..." + raw[-25:]),
)
def test_every_other_body_is_malformed(raw: bytes) -> None:
    with pytest.raises(EventMalformed) as malformed:
        read_event(raw)
    assert malformed.value.code == "malformed_body"


@pytest.mark.parametrize("text", ["\u00d7", "\N{GRINNING FACE}", "\\u0000", "\n"])
def test_ordinary_text_is_kept_escaped_or_not(text: str) -> None:
    assert read_event(body(data={"object": {"text": text}})).object == {"text": text}
    raw = json.dumps(EVENT | {"data": {"object": {"text": text}}}, ensure_ascii=False).encode()
    assert read_event(raw).object == {"text": text}


@pytest.mark.parametrize("created", [None, "1700000000", True, -1, 10**30, 1.5, {}])
def test_an_event_without_a_readable_time_is_still_an_event(created: object) -> None:
    assert read_event(body(created=created)).created is None


@pytest.mark.parametrize("livemode", [None, False, "true", 1])
def test_only_true_is_live(livemode: object) -> None:
    assert read_event(body(livemode=livemode)).livemode is False


def test_the_connected_account_is_told() -> None:
    assert read_event(body(account="acct_1")).account == "acct_1"
    assert read_event(body(account=None)).account is None


ENVELOPE = {"version": "0", "id": "6a7e8feb", "account": "123456789012", "detail-type": "invoice.paid", "detail": EVENT}
THIN = {
    "id": "evt_test_1",
    "object": "v2.core.event",
    "type": "v1.invoice.paid",
    "livemode": True,
    "created": "2026-01-01",
}


@pytest.mark.parametrize(
    ("thin", "event_id", "event_type"),
    [(ENVELOPE, "6a7e8feb", "invoice.paid"), (THIN, "evt_test_1", "v1.invoice.paid")],
)
def test_an_event_without_its_object_is_recognised(thin: dict[str, object], event_id: str, event_type: str) -> None:
    event = read_event(json.dumps(thin).encode())
    assert event.thin is True
    assert (event.id, event.type, event.livemode, event.account) == (event_id, event_type, True, None)
    assert facts(event) == ()


def test_a_thin_event_without_an_id_goes_by_its_bytes() -> None:
    first, again, other = (read_event(b'{"object": "v2.core.event"' + end) for end in (b"}", b"}", b" }"))
    assert first.id == again.id != other.id


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_anything_else(raw: bytes) -> None:
    with suppress(EventMalformed):
        read_event(raw)


@given(st.dictionaries(st.sampled_from([*EVENT, "account", "detail", "detail-type"]), JSON))
def test_what_is_read_can_be_stored_and_applied_or_is_refused_by_name(fields: dict[str, object]) -> None:
    try:
        event = read_event(body(**fields))
        facts(event)
    except (EventMalformed, EventUnreadable):
        return
    stored = json.dumps([event.id, event.type, event.account, event.object], allow_nan=False, ensure_ascii=False)
    assert b"\\u0000" not in stored.encode().replace(b"\\\\", b"")
