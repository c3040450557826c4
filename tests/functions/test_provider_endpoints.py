"""The addresses for providers: listed, given other secrets, turned off; and secrets that stay in Secrets Manager."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from goodword.core import clock, ids
from goodword.core.errors import Malformed, Unavailable
from goodword.payments import reception, signatures
from goodword.payments.inbox import Receipt
from goodword.payments.provider import Delivery
from goodword.payments.stripe.webhooks import STRIPE
from goodword.payments.whop import signatures as whop_signatures
from goodword.payments.whop.webhooks import WHOP
from local.client import Answer
from local.setup import Prepared
from tests.functions.conftest import as_role
from tests.support import rows
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.vault import Vault
from tests.support.whop_objects import whop_payment

SECRET = "whsec_0123456789"
OTHER_SECRET = "whsec_9876543210"
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:goodword/stripe-AbCdEf"


def make(company: Company, *secrets: str, provider: str = "stripe") -> dict[str, Any]:
    return company.ok("POST", "/v1/provider-endpoints", {"provider": provider, "secrets": list(secrets)})


def send(company: Company, endpoint: dict[str, Any], event_id: str, secret: str) -> Answer:
    raw = json.dumps(invoice_paid(event_id, f"in_{event_id}", user="ben")).encode()
    header = {"stripe-signature": signatures.sign(raw, secret, int(time.time()))}
    return company.browser.send("POST", urlsplit(endpoint["url"]).path, raw=raw, headers=header)


def listed(company: Company, query: str = "") -> list[dict[str, Any]]:
    return company.ok("GET", f"/v1/provider-endpoints{query}")["data"]


def test_endpoints_are_listed_newest_first_and_without_their_secrets(company: Company) -> None:
    made = [make(company, SECRET), make(company, SECRET, ARN, provider="whop")]
    newest, older, *its_first = listed(company)
    assert newest.keys() == {"id", "url", "provider", "scope", "reconciles", "reconciled_until", "created_at"}
    assert [(each["id"], each["url"]) for each in (newest, older)] == [(m["id"], m["url"]) for m in reversed(made)]
    assert (newest["provider"], newest["scope"], older["provider"]) == ("whop", "company", "stripe")
    assert newest["created_at"] >= older["created_at"]
    assert {each["url"] for each in its_first} == {company.line["stripe_endpoint"], company.line["whop_endpoint"]}
    assert b"whsec" not in company.api.send("GET", "/v1/provider-endpoints").raw


def test_the_list_goes_on_after_an_endpoint_even_if_it_is_off_by_then(company: Company, other: Company) -> None:
    make(company, SECRET)
    newest, second, *rest = listed(company)
    page = company.ok("GET", "/v1/provider-endpoints?limit=1")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([newest["id"]], True)
    company.api.send("DELETE", f"/v1/provider-endpoints/{newest['id']}")
    page = company.ok("GET", f"/v1/provider-endpoints?limit=100&after={newest['id']}")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (
        [second["id"], *(each["id"] for each in rest)], False,
    )  # fmt: skip
    theirs = listed(other)[0]["id"]
    assert fields(company.api.send("GET", f"/v1/provider-endpoints?after={theirs}")) == {"after"}


def test_a_leaked_secret_is_retired(company: Company) -> None:
    endpoint = make(company, SECRET)
    assert send(company, endpoint, "evt_1", SECRET).status == 200
    changed = company.api.send("PATCH", f"/v1/provider-endpoints/{endpoint['id']}", {"secrets": [OTHER_SECRET]})
    assert changed.status == 200
    assert changed.json in listed(company)
    problem(send(company, endpoint, "evt_2", SECRET), 400, "signature_invalid")
    assert send(company, endpoint, "evt_2", OTHER_SECRET).status == 200


def test_an_endpoint_that_is_off_takes_nothing_in_and_keeps_what_came(
    company: Company, superuser: psycopg.Connection
) -> None:
    endpoint = make(company, SECRET)
    assert send(company, endpoint, "evt_1", SECRET).json["outcome"] == "parked"
    for _ in range(2):  # once more changes nothing
        answer = company.api.send("DELETE", f"/v1/provider-endpoints/{endpoint['id']}")
        assert (answer.status, answer.raw) == (204, b"")
    for event_id in ("evt_1", "evt_2"):
        problem(send(company, endpoint, event_id, SECRET), 404, "endpoint_not_found")
    assert endpoint["id"] not in {each["id"] for each in listed(company)}
    (event,) = company.ok("GET", "/v1/inbox")["data"]
    assert (event["endpoint_id"], event["event_id"]) == (endpoint["id"], "evt_1")
    assert company.ok("POST", f"/v1/inbox/{event['id']}/replay")["outcome"] == "parked"
    body = {"secrets": [OTHER_SECRET]}
    problem(company.api.send("PATCH", f"/v1/provider-endpoints/{endpoint['id']}", body), 404, "endpoint_not_found")
    (kept,) = rows.find(
        superuser, "SELECT secrets FROM provider_endpoints WHERE id = %(id)s", id=ids.parse("whe", endpoint["id"])
    )
    assert kept["secrets"] == []


def change(company: Company, endpoint: dict[str, Any], **body: object) -> dict[str, Any]:
    return company.ok("PATCH", f"/v1/provider-endpoints/{endpoint['id']}", body)


def test_a_key_is_given_replaced_and_taken_away_and_never_shown(
    company: Company, superuser: psycopg.Connection
) -> None:
    def kept(endpoint: dict[str, Any]) -> tuple[object, object]:
        found = "SELECT secrets, api_key FROM provider_endpoints WHERE id = %(id)s"
        row = rows.find_one(superuser, found, id=ids.parse("whe", endpoint["id"]))
        return row["secrets"], row["api_key"]

    first = make(company, SECRET)
    assert (listed(company)[0]["reconciles"], listed(company)[0]["reconciled_until"]) == (False, None)
    body = {"provider": "stripe", "secrets": [SECRET], "api_key": "rk_live_1"}
    second = company.ok("POST", "/v1/provider-endpoints", body)
    assert second.keys() == {"id", "url"}
    assert [each["reconciles"] for each in listed(company)[:2]] == [True, False]
    changed = change(company, first, api_key=ARN)
    assert (changed["reconciles"], kept(first)) == (True, ([SECRET], ARN))
    assert changed == listed(company)[1]
    change(company, second, secrets=[OTHER_SECRET])
    assert kept(second) == ([OTHER_SECRET], "rk_live_1")
    change(company, second, secrets=[SECRET], api_key="rk_live_2")
    assert kept(second) == ([SECRET], "rk_live_2")
    assert change(company, second, api_key=None)["reconciles"] is False
    assert kept(second) == ([SECRET], None)
    assert b"rk_live" not in company.api.send("GET", "/v1/provider-endpoints").raw
    company.api.send("DELETE", f"/v1/provider-endpoints/{first['id']}")
    assert kept(first) == ([], None)


OTHER_SPELLINGS = [ARN.replace("arn:", "ARN:"), ARN.upper(), ARN.replace("arn:", "Arn:")]


@pytest.mark.parametrize(
    "key",
    [
        "", "short", "two words of text", "arn:aws:iam::123456789012:role/x", ["rk_live_1"], "whsec_0123456789",
        "ws_0123456789", "pk_live_0123456789", "gw_live_0123456789", *OTHER_SPELLINGS,
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_is_refused(shared: Company, key: object) -> None:
    endpoint = shared.line["stripe_endpoint"].rpartition("/")[2]
    for method, path, body in [
        ("PATCH", f"/v1/provider-endpoints/{endpoint}", {}),
        ("POST", "/v1/provider-endpoints", {"provider": "stripe", "secrets": [SECRET]}),
    ]:
        assert fields(shared.api.send(method, path, {**body, "api_key": key})) == {"api_key"}


def test_a_change_of_nothing_is_refused(shared: Company) -> None:
    endpoint = shared.line["stripe_endpoint"].rpartition("/")[2]
    problem(shared.api.send("PATCH", f"/v1/provider-endpoints/{endpoint}", {}), 422, "invalid_request")


@pytest.mark.parametrize("endpoint_id", ["nonsense", "whe_" + "0" * 32, "cmp_" + "0" * 32])
def test_what_is_no_endpoint_is_not_found(shared: Company, endpoint_id: str) -> None:
    path = f"/v1/provider-endpoints/{endpoint_id}"
    problem(shared.api.send("PATCH", path, {"secrets": [SECRET]}), 404, "endpoint_not_found")
    problem(shared.api.send("DELETE", path), 404, "endpoint_not_found")


def test_another_companys_endpoint_is_not_found(company: Company, other: Company) -> None:
    theirs = make(other, SECRET)
    path = f"/v1/provider-endpoints/{theirs['id']}"
    problem(company.api.send("PATCH", path, {"secrets": [OTHER_SECRET]}), 404, "endpoint_not_found")
    problem(company.api.send("DELETE", path), 404, "endpoint_not_found")
    assert send(other, theirs, "evt_1", SECRET).status == 200


@pytest.mark.parametrize("secrets", [[], ["short"], ["arn:aws:iam::123456789012:role/x"], [SECRET] * 11, None])
def test_secrets_that_cannot_be_are_refused(shared: Company, secrets: object) -> None:
    endpoint = shared.line["stripe_endpoint"].rpartition("/")[2]
    answer = shared.api.send("PATCH", f"/v1/provider-endpoints/{endpoint}", {"secrets": secrets})
    assert {name.partition(".")[0] for name in fields(answer)} == {"secrets"}


@pytest.mark.parametrize("prefix", ["sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "apik_", "gw_live_"])
@pytest.mark.parametrize("beside", [[], [SECRET]])
def test_an_api_key_is_no_signing_secret(shared: Company, prefix: str, beside: list[str]) -> None:
    endpoint = shared.line["stripe_endpoint"].rpartition("/")[2]
    secrets = [*beside, f"{prefix}0123456789"]
    for method, path, body in [
        ("PATCH", f"/v1/provider-endpoints/{endpoint}", {}),
        ("POST", "/v1/provider-endpoints", {"provider": "stripe"}),
        ("POST", "/v1/provider-endpoints", {"provider": "whop"}),
    ]:
        answer = shared.api.send(method, path, {**body, "secrets": secrets})
        assert fields(answer) == {f"secrets.{len(beside)}"}
        assert f"{prefix}0123456789".encode() not in answer.raw


@pytest.mark.parametrize("arn", OTHER_SPELLINGS)
def test_an_arn_in_another_spelling_is_not_kept_as_a_secret(shared: Company, arn: str) -> None:
    answer = shared.api.send("POST", "/v1/provider-endpoints", {"provider": "stripe", "secrets": [arn]})
    assert fields(answer) == {"secrets.0"}


@pytest.fixture
def vault(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """This process as the receiving functions themselves, with an AWS of its own."""
    with as_role("webhook", prepared, monkeypatch), Vault.open(monkeypatch) as opened:
        yield opened


def receive(endpoint: dict[str, Any], event_id: str, secret: str) -> Receipt:
    """Take a signed Stripe event in, as the function does."""
    raw = json.dumps(invoice_paid(event_id, f"in_{event_id}", user="ben")).encode()
    now = clock.real_now().timestamp()
    headers = {"stripe-signature": signatures.sign(raw, secret, int(now))}
    return reception.receive(STRIPE, ids.parse("whe", endpoint["id"]), Delivery(raw, headers), now)


def receive_whop(endpoint: dict[str, Any], message_id: str, secret: str) -> Receipt:
    """Take a signed Whop event in, as the function does."""
    raw = json.dumps(whop_payment(message_id, f"pay_{message_id}", user="ben")).encode()
    now = clock.real_now().timestamp()
    headers = whop_signatures.sign(raw, secret, message_id, int(now))
    return reception.receive(WHOP, ids.parse("whe", endpoint["id"]), Delivery(raw, headers), now)


def test_an_endpoint_may_name_where_its_secret_is(company: Company, vault: Vault) -> None:
    endpoint = make(company, vault.create("whsec_in_the_vault"))
    assert receive(endpoint, "evt_1", "whsec_in_the_vault") == Receipt(duplicate=False, outcome="parked")
    assert receive(endpoint, "evt_1", "whsec_in_the_vault") == Receipt(duplicate=True, outcome="parked")
    at_whop = make(company, vault.create('{"secrets": ["ws_in_the_vault"]}'), provider="whop")
    assert receive_whop(at_whop, "msg_1", "ws_in_the_vault") == Receipt(duplicate=False, outcome="parked")


def test_a_reference_itself_signs_nothing(company: Company, vault: Vault) -> None:
    arn = vault.create("whsec_in_the_vault")
    with pytest.raises(Malformed) as refused:
        receive(make(company, arn), "evt_1", arn)
    assert refused.value.code == "signature_invalid"


def test_a_rotation_loses_no_event(company: Company, vault: Vault) -> None:
    arn = vault.create("whsec_number_1")
    endpoint = make(company, arn)
    receive(endpoint, "evt_1", "whsec_number_1")
    vault.put(arn, "whsec_number_2")
    vault.wait(61)
    assert receive(endpoint, "evt_2", "whsec_number_2").outcome == "parked"  # newer than what is remembered
    assert receive(endpoint, "evt_3", "whsec_number_1").outcome == "parked"  # the previous one
    vault.put(arn, "whsec_number_3")
    vault.wait(300)
    with pytest.raises(Malformed):
        receive(endpoint, "evt_4", "whsec_number_1")


def test_forged_events_ask_aws_once_a_minute(company: Company, vault: Vault) -> None:
    endpoint = make(company, vault.create("whsec_in_the_vault"))
    receive(endpoint, "evt_1", "whsec_in_the_vault")
    asked = vault.questions
    vault.wait(60)
    for number in range(20):
        with pytest.raises(Malformed):
            receive(endpoint, f"evt_forged_{number}", "whsec_somebody_elses")
    assert vault.questions == asked + 2  # both versions


def test_when_aws_is_away_the_provider_shall_send_again(
    company: Company, vault: Vault, superuser: psycopg.Connection
) -> None:
    endpoint = make(company, "arn:aws:secretsmanager:eu-central-1:123456789012:secret:goodword/none-AbCdEf")
    with pytest.raises(Unavailable) as refused:
        receive(endpoint, "evt_1", "whsec_in_the_vault")
    assert refused.value.code == "secrets_unavailable"
    assert rows.count(superuser, company.id)["inbox_events"] == 0
    assert vault.questions == 1
