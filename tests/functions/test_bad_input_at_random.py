"""Whatever arrives: bodies, paths and queries that nobody thought of are a client's mistake, never a failure."""

import json
import time
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodword.payments import signatures
from local.client import Answer
from tests.support.requests import REQUESTS, ROUTES, Asked

pytestmark = pytest.mark.soak

FEW = max(2, settings().max_examples // 25)
"""Examples for each of the routes, which read them by the same code."""
WITH_BODY = [key for key, route in ROUTES.items() if route.body is not None]
WITH_PATH = [key for key in ROUTES if "{" in key and not key.startswith("POST /webhooks")]

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
# text of the kinds that parsers and databases have stumbled over, among any other
ODD = st.text(max_size=12) | st.sampled_from(
    ["\0", "\ud800", "\ufffd", "../..", "%00", "1e999", "null", "'", "\\", "\r\n"]
)


def judge(answer: Answer) -> None:
    """An answer, or a problem of the client's; no failure."""
    assert answer.status < 500, answer.raw
    if answer.status >= 400 and answer.raw:
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "code", "request_id"} <= answer.json.keys()


def send(asked: Asked, key: str, raw: bytes | None, path: str | None = None) -> Answer:
    headers = {"idempotency-key": uuid4().hex}
    return asked.company.api.send(key.partition(" ")[0], path or asked.path(key), raw=raw, headers=headers)


@pytest.mark.parametrize("key", WITH_BODY)
@settings(max_examples=FEW)
@given(raw=st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_answered(asked: Asked, key: str, raw: bytes) -> None:
    judge(send(asked, key, raw))


@pytest.mark.parametrize("key", WITH_BODY)
@settings(max_examples=FEW)
@given(data=st.data())
def test_any_values_in_the_right_fields_are_answered(asked: Asked, key: str, data: st.DataObject) -> None:
    body = asked.body(key)
    for name in data.draw(st.sets(st.sampled_from(sorted(body)), min_size=1), "fields"):
        body[name] = data.draw(ODD | ANYTHING, name)
    judge(send(asked, key, json.dumps(body).encode()))


@pytest.mark.parametrize("key", WITH_PATH)
@settings(max_examples=FEW)
@given(part=ODD.filter(bool), query=st.dictionaries(ODD, ODD, max_size=2))
def test_any_path_and_query_are_answered(asked: Asked, key: str, part: str, query: dict[str, str]) -> None:
    def quoted(text: str) -> str:
        return quote(text.encode("utf-8", "surrogatepass"), safe="")

    parameters = "&".join(f"{quoted(name)}={quoted(value)}" for name, value in query.items())
    path = key.partition(" ")[2]
    for name in ("code", "user_id", "feature", "endpoint_id", "id"):
        path = path.replace(f"{{{name}}}", quoted(part))
    judge(send(asked, key, None if REQUESTS[key].body is None else b"{}", f"{path}?{parameters}"))


@settings(max_examples=settings().max_examples // 2)
@given(data=st.data())
def test_any_signed_event_is_answered(asked: Asked, data: st.DataObject) -> None:
    """Even what Stripe itself would sign, were it to send anything at all in the places we read."""
    line = asked.company.line
    value = data.draw(st.dictionaries(st.sampled_from(READ), ODD | ANYTHING, max_size=6))
    event: dict[str, Any] = {
        "id": data.draw(st.uuids()).hex,
        "type": data.draw(st.sampled_from(TYPES)),
        "created": data.draw(st.integers(0, 2**40)),
        "livemode": False,
        "data": {"object": {"id": data.draw(st.uuids()).hex, "currency": "usd", "amount_paid": 1900, **value}},
    }
    raw = json.dumps(event).encode()
    header = signatures.sign(raw, line["stripe_secret"], int(time.time()))
    path = asked.path("POST /webhooks/stripe/{endpoint_id}")
    answer = asked.company.browser.send("POST", path, raw=raw, headers={"stripe-signature": header})
    judge(answer)
    assert answer.status in {200, 400}


TYPES = ("checkout.session.completed", "invoice.paid", "invoice.payment_succeeded", "invoice_payment.paid")
READ = (
    "amount_paid", "amount_paid_off_stripe", "amount_total", "charge", "client_reference_id", "created", "currency",
    "customer", "invoice", "lines", "metadata", "mode", "parent", "payment", "payment_intent", "payment_status",
    "payments", "status", "status_transitions", "subscription", "subscription_details", "tax", "total",
    "total_details", "total_excluding_tax", "total_taxes",
)  # fmt: skip
