"""Codes made by hand: custom ones and a campaign's, their caps and counts, and what becomes of their clicks."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from local.client import Answer, Client
from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import DESTINATION, Company
from tests.support.stripe_objects import invoice_paid

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
SHOP = "https://shop.example/talk"

_numbers = count(1)


def unique(start: str = "CODE") -> str:
    """A text that no other test takes: codes are unique over the installation."""
    return f"{start}-{next(_numbers)}"


@pytest.fixture
def ada(company: Company) -> str:
    """The code that Ada got at her signup, at noon."""
    company.set_clock(NOON)
    return company.sign_up("ada")["user"]["referral_code"]


def create(company: Company, **fields: object) -> Any:  # noqa: ANN401 - the JSON of the answer
    """A custom code of Ada's, unless something else is said."""
    body = {"code": unique(), "user_id": "ada", **fields}
    return company.ok("POST", "/v1/codes", body, status=201)


def change(company: Company, code: str, **fields: object) -> Any:  # noqa: ANN401 - the JSON of the answer
    return company.ok("PATCH", f"/v1/codes/{code}", fields, status=200)


def read(company: Company, code: str) -> Any:  # noqa: ANN401 - the JSON of the answer
    return change(company, code)


def outcome(company: Company, person: str, **fields: object) -> tuple[str, str | None]:
    """How a signup is attributed, and why not."""
    attribution = company.sign_up(person, **fields)["attribution"]
    return attribution["outcome"], attribution["reason"]


def bring(company: Company, code: str, people: int) -> None:
    for _ in range(people):
        assert outcome(company, f"person-{next(_numbers)}", referral_code=code) == ("attributed", None)


def click(company: Company, code: str) -> str:
    return company.ok("POST", "/v1/clicks", {"code": code})["id"]


def counts(code: dict[str, Any]) -> tuple[int, int, int]:
    return code["clicks"], code["uses"], code["conversions"]


def events(superuser: psycopg.Connection, company: Company, kind: str) -> list[dict[str, Any]]:
    found = rows.find(
        superuser,
        "SELECT data FROM outbox_events WHERE company_id = %(id)s AND type = %(kind)s ORDER BY created_at, id",
        id=company.id, kind=kind,
    )  # fmt: skip
    return [each["data"] for each in found]


@pytest.mark.usefixtures("ada")
def test_a_custom_code_is_what_was_asked_for(company: Company, superuser: psycopg.Connection) -> None:
    text = unique("Ada-Talks")
    given = {
        "type": "custom", "code": text, "user_id": "ada", "app_id": "web", "destination_url": SHOP, "active": True,
        "max_uses": 7, "expires_at": "2027-02-01T12:00:00+01:00", "metadata": {"event": "meetup", "empty": ""},
    }  # fmt: skip
    code = company.ok("POST", "/v1/codes", given, status=201)
    assert read(company, text) == code
    assert code.pop("id").startswith("cod_")
    assert [time_of(code.pop(name)) for name in ("created_at", "updated_at")] == [NOON, NOON]
    assert code == given | {
        "code": text.upper(), "expires_at": "2027-02-01T11:00:00.000000Z", "metadata": {"event": "meetup"},
        "campaign_id": None, "uses": 0, "clicks": 0, "conversions": 0,
    }  # fmt: skip
    (announced,) = events(superuser, company, "code.created")
    assert announced["code"] == text.upper()


@pytest.mark.usefixtures("ada")
def test_a_custom_code_refers_to_its_user(company: Company) -> None:
    code = create(company, destination_url=SHOP)["code"]
    assert company.browser.send("GET", f"/r/{code.lower()}").headers["location"].startswith(f"{SHOP}?gw_click=")
    assert company.ok("GET", f"/v1/codes/{code}")["valid"]
    referral = company.sign_up("ben", referral_code=code.lower())["referral"]
    assert (referral["referrer"], referral["code"]) == ("ada", code)
    assert counts(read(company, code)) == (1, 1, 0)


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(
    ("change_", "wrong"),
    [
        ({"code": "AB"}, "code"),
        ({"code": "A" * 21}, "code"),
        ({"code": "ADA_1"}, "code"),
        ({"code": "ADA 1"}, "code"),
        ({"code": " ADA1"}, "code"),
        ({"code": "ADA1\n"}, "code"),
        ({"code": "ÄDA1"}, "code"),
        ({"code": "ADMIN"}, "code"),
        ({"code": "api"}, "code"),
        ({"code": "Goodword"}, "code"),
        ({"code": None}, "code"),
        ({"type": "auto"}, "type"),
        ({"user_id": None}, "user_id"),
        ({"user_id": "a b"}, "user_id"),
        ({"max_uses": 0}, "max_uses"),
        ({"max_uses": 2**31}, "max_uses"),
        ({"expires_at": "2027-02-01"}, "expires_at"),
        ({"destination_url": "javascript:alert(1)"}, "destination_url"),
        ({"active": None}, "active"),
        ({"metadata": {"event": 1}}, "metadata.event"),
        ({"metadata": {f"key-{number}": "x" for number in range(51)}}, "metadata"),
        ({"campaign_id": "cam_1"}, "campaign_id"),
        ({"uses": 3}, "uses"),
    ],
)
def test_a_code_that_cannot_be_is_refused_by_its_field(
    company: Company, superuser: psycopg.Connection, change_: dict[str, object], wrong: str
) -> None:
    before = rows.count(superuser, company.id)
    body = {"code": unique(), "user_id": "ada", **change_}
    assert fields(company.api.send("POST", "/v1/codes", body)) == {wrong}
    assert rows.count(superuser, company.id) == before


def test_a_text_is_taken_for_the_whole_installation(
    company: Company, other: Company, ada: str, superuser: psycopg.Connection
) -> None:
    other.sign_up("eve")
    custom = create(company)["code"]
    before = rows.count(superuser, other.id)
    for text in (custom, custom.lower(), ada):
        problem(other.api.send("POST", "/v1/codes", {"code": text, "user_id": "eve"}), 409, "code_taken")
    assert rows.count(superuser, other.id) == before
    kept = [
        company.api.send("POST", "/v1/codes", {"code": ada, "user_id": "ada"}, headers={"idempotency-key": "taken"})
        for _ in range(2)
    ]
    assert [(answer.status, answer.raw) for answer in kept] == [(409, kept[0].raw)] * 2


def test_a_code_is_made_for_a_user_who_is_there(company: Company, other: Company) -> None:
    other.sign_up("eve")
    for user_id in ("nobody", "eve"):
        answer = company.api.send("POST", "/v1/codes", {"code": unique(), "user_id": user_id})
        problem(answer, 404, "user_not_found")


@pytest.mark.usefixtures("ada")
def test_a_code_is_made_once_per_key(company: Company, superuser: psycopg.Connection) -> None:
    body = {"code": unique(), "user_id": "ada"}
    first, again = (company.api.send("POST", "/v1/codes", body, headers={"idempotency-key": "code"}) for _ in range(2))
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert again.headers["idempotent-replay"] == "true"
    assert rows.count(superuser, company.id)["codes"] == 2
    problem(company.api.send("POST", "/v1/codes", body), 409, "code_taken")


@pytest.mark.usefixtures("ada")
def test_whoever_may_write_makes_custom_codes_and_no_others(company: Company, superuser: psycopg.Connection) -> None:
    key = api_keys.create(superuser, company.id, livemode=False, scope=Scope.WRITE)
    writer, before = Client(company.url, key), rows.count(superuser, company.id)
    text = unique()
    assert writer.send("POST", "/v1/codes", {"code": text, "user_id": "ada"}).status == 201
    for method, path, body in (
        ("POST", "/v1/codes", {"type": "campaign", "code": unique(), "user_id": "ada", "campaign_id": f"cam_{0:032}"}),
        # where visitors are sent is not for every server of the company to say
        ("POST", "/v1/codes", {"code": unique(), "user_id": "ada", "destination_url": SHOP}),
        ("PATCH", f"/v1/codes/{text}", {"active": False}),
        ("GET", "/v1/codes", None),
    ):
        problem(writer.send(method, path, body), 403, "scope_insufficient")
    writer.close()
    assert (rows.count(superuser, company.id) - before)["codes"] == 1


def attempt(company: Company, user_id: str = "ada", key: str | None = None, code: str | None = None) -> Answer:
    body = {"code": code or unique(), "user_id": user_id}
    return company.api.send("POST", "/v1/codes", body, headers={"idempotency-key": key} if key else None)


def pass_time(superuser: psycopg.Connection, company: Company, seconds: int) -> None:
    """As if the codes had been made so much earlier."""
    superuser.execute(
        "UPDATE rate_windows SET hits = ARRAY(SELECT hit - make_interval(secs => %(seconds)s) FROM unnest(hits) AS hit)"
        " WHERE company_id = %(id)s",
        {"id": company.id, "seconds": seconds},
    )


def test_a_user_gets_ten_codes_an_hour(company: Company, ada: str, superuser: psycopg.Connection) -> None:
    company.sign_up("bob")
    problem(attempt(company, code=ada), 409, "code_taken")  # nothing was made, so nothing counts
    assert [attempt(company).status for _ in range(4)] == [201] * 4
    pass_time(superuser, company, 1000)
    assert [attempt(company).status for _ in range(6)] == [201] * 6
    before = rows.count(superuser, company.id)
    company.set_clock(NOON + timedelta(days=1))  # the limit lives in real time
    refused = attempt(company, key="late")
    problem(refused, 429, "rate_limited")
    assert 2500 <= int(refused.headers["retry-after"]) <= 2600
    assert rows.count(superuser, company.id) == before
    assert attempt(company, "bob").status == 201
    pass_time(superuser, company, 2600)
    assert [attempt(company).status for _ in range(4)] == [201] * 4
    problem(attempt(company), 429, "rate_limited")


def test_codes_count_for_their_user_whoever_makes_them(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ada")  # whose automatic code counts for nothing
    company.ok("PUT", "/v1/program", {"limits": {"code_creations_per_hour": 2}})
    writer = Client(company.url, api_keys.create(superuser, company.id, livemode=False, scope=Scope.WRITE))
    given = {"user_id": "ada", "type": "custom"}
    by_both = [
        client.send("POST", "/v1/codes", {**given, "code": unique()}).status
        for client in (writer, company.api, writer, company.api)
    ]
    writer.close()
    assert by_both == [201, 201, 429, 429]


@pytest.mark.usefixtures("ada")
def test_a_refused_request_may_be_sent_again_under_its_key(company: Company, superuser: psycopg.Connection) -> None:
    text = unique()
    for _ in range(10):
        attempt(company)
    problem(attempt(company, key="once", code=text), 429, "rate_limited")
    pass_time(superuser, company, 3600)
    made, again = attempt(company, key="once", code=text), attempt(company, key="once", code=text)
    assert (made.status, again.raw) == (201, made.raw)


def test_the_limit_is_the_programs(company: Company) -> None:
    company.sign_up("ada")
    for limit in (2, 1, 0):
        company.ok("PUT", "/v1/program", {"limits": {"code_creations_per_hour": limit}})
        user_id = f"user-{limit}"
        company.sign_up(user_id)
        assert [attempt(company, user_id).status for _ in range(limit)] == [201] * limit
        refused = attempt(company, user_id)
        problem(refused, 429, "rate_limited")
        assert 3590 <= int(refused.headers["retry-after"]) <= 3600


def test_a_lowered_limit_counts_what_was_made_before(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ada")
    for _ in range(3):
        attempt(company)
        pass_time(superuser, company, 1000)
    company.ok("PUT", "/v1/program", {"limits": {"code_creations_per_hour": 1}})
    # there is room when the newest of the three is an hour old
    assert 2590 <= int(attempt(company).headers["retry-after"]) <= 2600


def test_a_code_is_changed_field_by_field(company: Company, ada: str) -> None:
    before = read(company, ada)
    company.set_clock(NOON + timedelta(hours=1))
    for given in (
        {"active": False},
        {"max_uses": 3},
        {"expires_at": "2027-03-01T00:00:00.000000Z"},
        {"destination_url": SHOP},
        {"app_id": "web"},
        {"metadata": {"event": "meetup"}},
        {"expires_at": None, "destination_url": None, "app_id": None, "max_uses": None, "active": True},
    ):
        after = change(company, ada.lower(), **given)
        assert after == before | given | {"updated_at": "2027-01-15T13:00:00.000000Z"}
        before = after


def test_metadata_is_merged_and_an_empty_text_removes(company: Company, ada: str) -> None:
    change(company, ada, metadata={"event": "meetup", "city": "Berlin"})
    changed = change(company, ada, metadata={"city": "", "year": "2027", "nothing": ""})
    assert changed["metadata"] == {"event": "meetup", "year": "2027"}
    change(company, ada, metadata={f"key-{number}": "x" for number in range(48)})
    too_many = company.api.send("PATCH", f"/v1/codes/{ada}", {"metadata": {"one": "more"}})
    assert fields(too_many) == {"metadata"}


def test_a_change_is_announced_and_none_is_not(company: Company, ada: str, superuser: psycopg.Connection) -> None:
    before = rows.count(superuser, company.id)
    company.set_clock(NOON + timedelta(hours=1))
    unchanged = read(company, ada)
    assert unchanged["updated_at"] == unchanged["created_at"]
    assert rows.count(superuser, company.id) == before
    change(company, ada, active=False)
    (announced,) = events(superuser, company, "code.updated")
    assert (announced["code"], announced["active"]) == (ada, False)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"active": None}, "active"),
        ({"max_uses": 0}, "max_uses"),
        ({"max_uses": "3"}, "max_uses"),
        ({"metadata": None}, "metadata"),
        ({"code": "OTHER-1"}, "code"),
        ({"type": "campaign"}, "type"),
        ({"user_id": "bob"}, "user_id"),
        ({"uses": 0}, "uses"),
    ],
)
def test_what_cannot_be_changed_is_refused_by_its_field(
    company: Company, ada: str, given: dict[str, object], wrong: str
) -> None:
    before = read(company, ada)
    assert fields(company.api.send("PATCH", f"/v1/codes/{ada}", given)) == {wrong}
    assert read(company, ada) == before


def test_only_ones_own_codes_can_be_changed(company: Company, other: Company, ada: str) -> None:
    for path in (f"/v1/codes/{ada}", "/v1/codes/NO-SUCH-CODE", "/v1/codes/%00"):
        problem(other.api.send("PATCH", path, {"active": False}), 404, "code_not_found")
    assert read(company, ada)["active"]


@pytest.mark.parametrize(
    ("given", "reason"), [({"active": False}, "inactive"), ({"expires_at": "2027-01-15T12:00:00Z"}, "expired")]
)
def test_a_code_that_is_off_or_past_its_time_brings_nobody_new(
    company: Company, ada: str, given: dict[str, object], reason: str
) -> None:
    """But a click of when it was good outlives that, for as long as clicks count."""
    click_id = click(company, ada)
    change(company, ada, destination_url=SHOP, **given)
    assert company.ok("GET", f"/v1/codes/{ada}")["reason"] == reason
    assert company.browser.send("GET", f"/r/{ada}").headers["location"] == DESTINATION
    problem(company.api.send("POST", "/v1/clicks", {"code": ada}), 422, f"{reason}_code")
    assert outcome(company, "ben", referral_code=ada) == ("rejected", f"{reason}_code")
    company.set_clock(NOON + timedelta(days=90))
    assert outcome(company, "cleo", click_id=click_id) == ("attributed", None)
    company.set_clock(NOON + timedelta(days=90, microseconds=1))
    assert outcome(company, "dan", click_id=click_id) == ("rejected", "outside_window")
    change(company, ada, active=True, expires_at=None)
    assert outcome(company, "eve", referral_code=ada) == ("attributed", None)


def test_a_code_expires_at_its_instant(company: Company) -> None:
    company.set_clock(NOON)
    company.sign_up("ada")
    code = create(company, expires_at=(NOON + timedelta(days=1)).isoformat())["code"]
    company.set_clock(NOON + timedelta(days=1) - timedelta(microseconds=1))
    assert outcome(company, "ben", referral_code=code) == ("attributed", None)
    company.set_clock(NOON + timedelta(days=1))
    assert outcome(company, "cleo", referral_code=code) == ("rejected", "expired_code")


def test_a_used_up_code_brings_nobody_not_even_by_an_older_click(company: Company, ada: str) -> None:
    click_id = click(company, ada)
    change(company, ada, max_uses=1)
    bring(company, ada, 1)
    assert company.ok("GET", f"/v1/codes/{ada}")["reason"] == "used_up"
    assert company.browser.send("GET", f"/r/{ada}").headers["location"] == DESTINATION
    assert outcome(company, "ben", referral_code=ada) == ("rejected", "code_used_up")
    assert outcome(company, "cleo", click_id=click_id) == ("rejected", "code_used_up")
    change(company, ada, max_uses=2)
    assert outcome(company, "dan", click_id=click_id) == ("attributed", None)
    assert outcome(company, "eve", click_id=click_id) == ("rejected", "code_used_up")


def test_a_first_cap_counts_the_uses_before_it(company: Company, ada: str) -> None:
    bring(company, ada, 3)
    assert read(company, ada)["uses"] == 3
    for cap in (1, 2):
        assert fields(company.api.send("PATCH", f"/v1/codes/{ada}", {"max_uses": cap})) == {"max_uses"}
    assert read(company, ada)["max_uses"] is None
    capped = change(company, ada, max_uses=4)
    assert (capped["uses"], capped["max_uses"]) == (3, 4)
    bring(company, ada, 1)
    assert outcome(company, "ben", referral_code=ada) == ("rejected", "code_used_up")
    assert read(company, ada)["uses"] == 4
    assert fields(company.api.send("PATCH", f"/v1/codes/{ada}", {"max_uses": 3})) == {"max_uses"}


def test_a_cap_can_be_lifted_and_set_again(company: Company, ada: str) -> None:
    change(company, ada, max_uses=1)
    bring(company, ada, 1)
    assert change(company, ada, max_uses=None)["uses"] == 1
    bring(company, ada, 2)
    assert read(company, ada)["uses"] == 3
    assert fields(company.api.send("PATCH", f"/v1/codes/{ada}", {"max_uses": 2})) == {"max_uses"}
    assert change(company, ada, max_uses=3)["uses"] == 3
    assert outcome(company, "ben", referral_code=ada) == ("rejected", "code_used_up")


def test_late_attribution_is_a_use_too(company: Company, ada: str) -> None:
    change(company, ada, max_uses=1)
    for person, expected in (("ben", "attributed"), ("cleo", "rejected")):
        company.sign_up(person)
        late = company.ok("PUT", f"/v1/users/{person}/referrer", {"referral_code": ada, "reason": "by phone"})
        assert late["attribution"]["outcome"] == expected
    assert read(company, ada)["uses"] == 1


def test_conversions_are_the_referrals_that_qualified_and_still_stand(
    company: Company, ada: str, superuser: psycopg.Connection
) -> None:
    own = create(company)["code"]
    for number, code in enumerate((ada, ada, ada, own)):
        person = f"referee-{number}"
        company.sign_up(person, referral_code=code)
        if number != 2:
            company.deliver(invoice_paid(f"evt_{number}", f"in_{number}", user=person, customer=f"cus_{number}"))
    click(company, ada)
    assert counts(read(company, ada)) == (1, 3, 2)
    assert counts(read(company, own)) == (0, 1, 1)
    superuser.execute(
        "UPDATE referrals SET stage = 'cancelled', counts = false FROM users"
        " WHERE users.id = referee_id AND external_id = 'referee-0' AND referrals.company_id = %(id)s",
        {"id": company.id},
    )
    assert counts(read(company, ada)) == (1, 3, 1)


def test_clicks_whose_partition_is_gone_still_count(company: Company, ada: str, superuser: psycopg.Connection) -> None:
    for _ in range(2):
        click(company, ada)
    superuser.execute("UPDATE codes SET archived_clicks = 40 WHERE code = %(code)s", {"code": ada})
    assert read(company, ada)["clicks"] == 42


def test_codes_are_listed_newest_first_and_page_by_page(company: Company, ada: str) -> None:
    made = []
    for number in range(4):
        company.set_clock(NOON + timedelta(hours=number // 2))  # two at the same instant
        made.append(create(company))
    pages = [company.ok("GET", "/v1/codes?limit=2")]
    create(company)
    while pages[-1]["has_more"]:
        pages.append(company.ok("GET", f"/v1/codes?limit=2&after={pages[-1]['data'][-1]['id']}"))
    listed = [each for page in pages for each in page["data"]]
    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    assert [each["created_at"] for each in listed] == sorted((each["created_at"] for each in listed), reverse=True)
    assert {each["code"] for each in listed} == {ada, *(each["code"] for each in made)}
    for each in made:
        assert each in listed


def test_codes_are_listed_by_type_user_and_whether_they_are_on(company: Company, other: Company, ada: str) -> None:
    bob = company.sign_up("bob")["user"]["referral_code"]
    custom = create(company)["code"]
    dates = {"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2028-01-01T00:00:00Z"}
    campaign_id = company.ok("POST", "/v1/campaigns", {"name": "Winter", **dates})["id"]
    campaign = create(company, type="campaign", campaign_id=campaign_id, active=False)["code"]
    other.sign_up("ada")
    for query, expected in (
        ("", {ada, bob, custom, campaign}),
        ("type=auto", {ada, bob}),
        ("type=custom", {custom}),
        ("type=campaign&active=true", set()),
        ("active=false", {campaign}),
        ("user_id=ada", {ada, custom, campaign}),
        ("user_id=ada&type=auto&active=true", {ada}),
        ("user_id=nobody", set()),
    ):
        assert {each["code"] for each in company.ok("GET", f"/v1/codes?{query}")["data"]} == expected, query


def test_a_list_goes_on_only_after_a_code_of_its_own(company: Company, other: Company, ada: str) -> None:
    other.sign_up("eve")
    ours = read(company, ada)["id"]
    assert company.ok("GET", f"/v1/codes?after={ours}") == {"data": [], "has_more": False}
    assert fields(other.api.send("GET", f"/v1/codes?after={ours}")) == {"after"}
