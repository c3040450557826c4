"""Campaigns as an administrator makes them: what each may be, what may change until when, and how one ends."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, LiteralString

import psycopg
import pytest

from goodword.core.auth import Scope
from tests.functions.test_codes import events, unique
from tests.support import rows
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.jobs import run_job
from tests.support.stripe_objects import event, invoice_paid, invoice_payment, refund

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
START, END = NOON - 5 * DAY, NOON + 10 * DAY
NEW: dict[str, Any] = {"name": "Winter", "starts_at": START.isoformat(), "ends_at": END.isoformat()}
LADDER = [{"name": "new", "from": 0, "multiplier_bps": 10_000}, {"name": "old", "from": 2, "multiplier_bps": 20_000}]

_numbers = count(1)


@pytest.fixture
def shop(company: Company) -> Company:
    company.set_clock(NOON)
    return company


def make(shop: Company, **fields: object) -> Any:  # noqa: ANN401 - the JSON of the answer
    return shop.ok("POST", "/v1/campaigns", NEW | fields, status=201)


def change(shop: Company, campaign: dict[str, Any], **fields: object) -> Any:  # noqa: ANN401 - the JSON of the answer
    return shop.ok("PATCH", f"/v1/campaigns/{campaign['id']}", fields, status=200)


def launch(shop: Company, **fields: object) -> Any:  # noqa: ANN401 - the JSON of the answer
    return change(shop, make(shop, **fields), status="active")


def read(shop: Company, campaign: dict[str, Any]) -> Any:  # noqa: ANN401 - the JSON of the answer
    return shop.ok("GET", f"/v1/campaigns/{campaign['id']}")


def refuse(shop: Company, campaign: dict[str, Any], status: int, code: str, /, **fields: object) -> dict[str, Any]:
    """A change that is refused, and changes nothing."""
    before = read(shop, campaign)
    refused = problem(shop.api.send("PATCH", f"/v1/campaigns/{campaign['id']}", fields), status, code)
    assert read(shop, campaign) == before
    return refused


def code_of(shop: Company, campaign: dict[str, Any], user: str) -> str:
    """A code of the campaign for a user, who signs up if there is none."""
    shop.sign_up(user)
    body = {"type": "campaign", "code": unique(), "user_id": user, "campaign_id": campaign["id"]}
    return shop.ok("POST", "/v1/codes", body, status=201)["code"]


def bring(shop: Company, code: str, *, paid_at: datetime | None = None) -> str:
    """Somebody who comes by a code, and pays once if it is said when."""
    name = f"person-{next(_numbers)}"
    shop.sign_up(name, referral_code=code)
    if paid_at:
        pay(shop, name, paid_at)
    return name


def pay(shop: Company, name: str, paid_at: datetime) -> str:
    """The number of the sale."""
    number = str(next(_numbers))
    answer = shop.deliver(invoice_paid(
        f"evt_{number}", f"in_{number}", user=name, paid_at=paid_at, customer=f"cus_{number}",
        subscription=f"sub_{number}",
    ))  # fmt: skip
    assert answer.json["outcome"] == "applied", answer.raw
    return number


def give_back(shop: Company, sale: str) -> None:
    shop.deliver(event("invoice_payment.paid", invoice_payment(sale)))
    assert shop.deliver(event("refund.created", refund(sale))).json["outcome"] == "applied"


def advance(shop: Company) -> Any:  # noqa: ANN401 - the function's JSON
    return run_job(shop.url, "AdvanceReferralsFunction")


def ranks(superuser: psycopg.Connection, shop: Company) -> list[tuple[int, str, int, int, int]]:
    found = rows.find(
        superuser,
        "SELECT rank, external_id, qualified, points, prize_points FROM campaign_ranks JOIN users"
        " ON users.company_id = campaign_ranks.company_id AND users.id = user_id"
        " WHERE users.company_id = %(id)s ORDER BY rank",
        id=shop.id,
    )
    return [tuple(row.values()) for row in found]


def test_a_campaign_begins_as_a_draft_and_is_shown_whole(shop: Company, superuser: psycopg.Connection) -> None:
    rules = {
        "awards": {"qualified": {"points": 50, "hold_days": 3}, "recurring": {"bps": 500}}, "tiers": LADDER,
        "points_cap": 1000, "per_user_cap": 100,
    }  # fmt: skip
    prizes = [{"rank_from": 1, "rank_to": 1, "points": 500}, {"rank_from": 3, "rank_to": 5, "points": 50}]
    made = make(shop, description="all twice", rules=rules, prizes=prizes, verification_days=14)
    rules["awards"]["recurring"]["hold_days"] = 0
    assert made == {
        "id": made["id"], "name": "Winter", "description": "all twice", "starts_at": "2027-01-10T12:00:00.000000Z",
        "ends_at": "2027-01-25T12:00:00.000000Z", "status": "draft", "rules": rules, "prizes": prizes,
        "verification_days": 14, "total_referrals": 0, "reserved_points": 0, "ranked_at": None,
        "created_at": "2027-01-15T12:00:00.000000Z", "updated_at": "2027-01-15T12:00:00.000000Z",
    }  # fmt: skip
    assert made["id"].startswith("cam_")
    assert read(shop, made) == made
    (told,) = events(superuser, shop, "campaign.created")
    assert told == {
        name: value if name != "rules" else {each: rules[each] for each in rules if each != "tiers"}
        for name, value in made.items()
        if name not in {"name", "description"}
    }


def test_a_campaign_that_says_nothing_has_the_programs_rules(shop: Company) -> None:
    made = make(shop)
    assert made["rules"] == {"awards": None, "tiers": None, "points_cap": None, "per_user_cap": None}
    assert (made["description"], made["prizes"], made["verification_days"]) == (None, [], 0)
    assert made["reserved_points"] is None


def test_campaigns_are_listed_newest_first(shop: Company) -> None:
    made = [make(shop, name=f"No. {number}") for number in range(3)]
    page = shop.ok("GET", "/v1/campaigns?limit=2")
    assert (page["data"], page["has_more"]) == ([made[2], made[1]], True)
    page = shop.ok("GET", f"/v1/campaigns?limit=2&after={made[1]['id']}")
    assert (page["data"], page["has_more"]) == ([made[0]], False)
    assert fields(shop.api.send("GET", f"/v1/campaigns?after=cam_{'0' * 32}")) == {"after"}


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"name": None}, {"name"}),
        ({"name": ""}, {"name"}),
        ({"starts_at": None, "ends_at": None}, {"starts_at", "ends_at"}),
        ({"starts_at": "2027-01-15"}, {"starts_at"}),
        ({"ends_at": NEW["starts_at"]}, {"ends_at"}),
        ({"status": "active"}, {"status"}),
        ({"total_referrals": 3}, {"total_referrals"}),
        ({"id": "cam_1"}, {"id"}),
        ({"rules": None}, {"rules"}),
        ({"rules": {"points_cap": 0}}, {"rules.points_cap"}),
        ({"rules": {"points_cap": 1.5, "per_user_cap": "10"}}, {"rules.points_cap", "rules.per_user_cap"}),
        ({"rules": {"bonus": 3}}, {"rules.bonus"}),
        ({"rules": {"awards": {"shared": {"points": 3}}}}, {"rules.awards.shared"}),
        ({"rules": {"awards": {"welcome": {"bps": 100}}}}, {"rules.awards.welcome.bps"}),
        ({"rules": {"awards": {"qualified": {"points": 5, "bps": 100}}}}, {"rules.awards.qualified"}),
        ({"rules": {"awards": {"qualified": {"points": -5}}}}, {"rules.awards.qualified.points"}),
        ({"rules": {"tiers": []}}, {"rules.tiers"}),
        ({"rules": {"tiers": [{**LADDER[0], "from": 1}]}}, {"rules.tiers.0.from"}),
        ({"rules": {"tiers": [LADDER[0], LADDER[0]]}}, {"rules.tiers.1.from", "rules.tiers.1.name"}),
        ({"prizes": None}, {"prizes"}),
        ({"prizes": [{"rank_from": 1, "rank_to": 1}]}, {"prizes.0.points"}),
        ({"prizes": [{"rank_from": 0, "rank_to": 1, "points": 0}]}, {"prizes.0.rank_from", "prizes.0.points"}),
        ({"prizes": [{"rank_from": 3, "rank_to": 2, "points": 5}]}, {"prizes.0.rank_to"}),
        (
            {"prizes": [{"rank_from": 2, "rank_to": 4, "points": 5}, {"rank_from": 1, "rank_to": 2, "points": 9}]},
            {"prizes"},
        ),
        ({"verification_days": 91}, {"verification_days"}),
        ({"verification_days": None}, {"verification_days"}),
        ({"ends_at": NEW["starts_at"], "rules": {"points_cap": 0}, "x": 1}, {"ends_at", "rules.points_cap", "x"}),
    ],
)
def test_a_campaign_that_cannot_be_is_refused_by_every_wrong_field(
    shop: Company, superuser: psycopg.Connection, given: dict[str, object], wrong: set[str]
) -> None:
    assert fields(shop.api.send("POST", "/v1/campaigns", NEW | given)) == wrong
    assert rows.count(superuser, shop.id)["campaigns"] == 0


def test_a_draft_may_change_in_all(shop: Company, superuser: psycopg.Connection) -> None:
    made = make(shop, description="x", rules={"awards": {"welcome": {"points": 1}}, "points_cap": 5})
    shop.set_clock(NOON + DAY)
    prizes = [{"rank_from": 1, "rank_to": 9, "points": 3}]
    changed = change(
        shop, made, name="Spring", description=None, starts_at="2028-03-01T00:00:00Z", ends_at="2028-04-01T00:00:00Z",
        rules={"awards": {"l2": {"points": 7}}, "tiers": LADDER, "per_user_cap": 20}, prizes=prizes,
        verification_days=3,
    )  # fmt: skip
    assert changed == made | {
        "name": "Spring", "description": None, "starts_at": "2028-03-01T00:00:00.000000Z",
        "ends_at": "2028-04-01T00:00:00.000000Z",
        "rules": {
            "awards": {"l2": {"points": 7, "hold_days": 0}}, "tiers": LADDER, "points_cap": 5, "per_user_cap": 20,
        },
        "prizes": prizes, "verification_days": 3, "updated_at": "2027-01-16T12:00:00.000000Z",
    }  # fmt: skip
    assert len(events(superuser, shop, "campaign.updated")) == 1
    assert change(shop, made) == changed
    bare = change(shop, made, rules={"awards": None, "tiers": None, "points_cap": None, "per_user_cap": None})
    assert bare["rules"] == {"awards": None, "tiers": None, "points_cap": None, "per_user_cap": None}
    assert len(events(superuser, shop, "campaign.updated")) == 2


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"name": None}, "name"),
        ({"starts_at": None}, "starts_at"),
        ({"ends_at": NEW["starts_at"]}, "ends_at"),
        ({"starts_at": NEW["ends_at"]}, "ends_at"),
        ({"status": "over"}, "status"),
        ({"status": None}, "status"),
        ({"rules": None}, "rules"),
        ({"rules": {"points_cap": 0}}, "rules.points_cap"),
        ({"prizes": None}, "prizes"),
        ({"verification_days": None}, "verification_days"),
        ({"total_referrals": 1}, "total_referrals"),
        ({"ranked_at": None}, "ranked_at"),
    ],
)
def test_a_change_that_cannot_be_is_refused_by_its_field(shop: Company, given: dict[str, Any], wrong: str) -> None:
    refused = refuse(shop, make(shop), 422, "invalid_request", **given)
    assert {each["field"] for each in refused["errors"]} == {wrong}


def test_what_an_active_campaign_gives_stays_and_how_much_and_how_long_may_change(shop: Company) -> None:
    campaign = launch(shop, rules={"awards": {"welcome": {"points": 30}}})
    for given in (
        {"rules": {"awards": {"welcome": {"points": 31}}}},
        {"rules": {"awards": None}},
        {"rules": {"tiers": LADDER, "points_cap": 7}},
        {"starts_at": (START + DAY).isoformat()},
    ):
        refuse(shop, campaign, 409, "campaign_active", **given)
    refused = refuse(shop, campaign, 422, "invalid_request", ends_at=(NOON - timedelta(microseconds=1)).isoformat())
    assert [each["field"] for each in refused["errors"]] == ["ends_at"]
    prizes = [{"rank_from": 1, "rank_to": 1, "points": 3}]
    changed = change(
        shop, campaign, name="Snow", rules={"awards": {"welcome": {"points": 30}}, "points_cap": 7}, prizes=prizes,
        verification_days=2, ends_at=(NOON + DAY).isoformat(),
    )  # fmt: skip
    assert changed["rules"] == campaign["rules"] | {"points_cap": 7}
    assert (changed["name"], changed["prizes"], changed["verification_days"]) == ("Snow", prizes, 2)
    assert change(shop, campaign, ends_at=NOON.isoformat())["status"] == "ended"


def test_nothing_but_its_name_changes_of_one_that_is_over(shop: Company) -> None:
    campaign = launch(shop)
    shop.set_clock(END)
    assert read(shop, campaign)["status"] == "ended"
    for given in (
        {"ends_at": (END + DAY).isoformat()}, {"rules": {"per_user_cap": 3}}, {"verification_days": 1},
        {"prizes": [{"rank_from": 1, "rank_to": 1, "points": 3}]},
    ):  # fmt: skip
        refuse(shop, campaign, 409, "campaign_ended", **given)
    refuse(shop, campaign, 409, "campaign_active", rules={"tiers": LADDER})
    assert change(shop, campaign, name="Past", ends_at=END.isoformat())["name"] == "Past"


def ended(shop: Company) -> Any:  # noqa: ANN401 - the JSON of the answer
    campaign = launch(shop)
    shop.set_clock(END)
    return campaign


def archived(shop: Company) -> Any:  # noqa: ANN401 - the JSON of the answer
    return change(shop, make(shop), status="archived")


@pytest.mark.parametrize(
    ("begin", "statuses"),
    [
        (make, {"draft", "ended"}),
        (launch, {"draft", "active", "ended", "archived"}),
        (ended, {"draft", "active", "ended"}),
        (archived, {"draft", "active", "ended", "archived"}),
    ],
)
def test_a_status_that_does_not_follow_is_a_conflict(
    shop: Company, begin: Callable[[Company], Any], statuses: set[str]
) -> None:
    campaign = begin(shop)
    for status in sorted(statuses):
        refuse(shop, campaign, 409, "campaign_status", status=status)


def test_the_ways_of_a_campaign(shop: Company, superuser: psycopg.Connection) -> None:
    early = make(shop, starts_at=(NOON + DAY).isoformat())
    assert change(shop, early, status="active", name="Soon")["status"] == "active"
    (told,) = events(superuser, shop, "campaign.activated")
    assert (told["id"], told["status"]) == (early["id"], "active")
    shop.set_clock(END)
    assert change(shop, early, status="archived")["status"] == "archived"
    assert change(shop, make(shop), status="archived")["status"] == "archived"
    assert len(events(superuser, shop, "campaign.archived")) == 2
    late = make(shop)
    refused = refuse(shop, late, 422, "invalid_request", status="active")
    assert [each["field"] for each in refused["errors"]] == ["ends_at"]
    assert change(shop, late, status="active", ends_at=(END + DAY).isoformat())["status"] == "active"


def test_another_companys_campaign_is_unknown_and_what_is_no_id_is_refused(shop: Company, other: Company) -> None:
    campaign = make(shop)
    path = f"/v1/campaigns/{campaign['id']}"
    problem(other.api.send("GET", path), 404, "campaign_not_found")
    problem(other.api.send("PATCH", path, {"name": "Mine"}), 404, "campaign_not_found")
    problem(shop.api.send("PATCH", f"/v1/campaigns/cam_{'0' * 32}", {"name": "x"}), 404, "campaign_not_found")
    for text in ("cam_1", campaign["id"].replace("cam_", "cmp_"), campaign["id"].upper()):
        assert fields(shop.api.send("PATCH", f"/v1/campaigns/{text}", {"name": "x"})) == {"id"}
        assert fields(shop.api.send("GET", f"/v1/campaigns/{text}")) == {"id"}
    assert other.ok("GET", "/v1/campaigns")["data"] == []
    assert fields(other.api.send("GET", f"/v1/campaigns?after={campaign['id']}")) == {"after"}
    assert read(shop, campaign) == campaign


def test_only_an_administrator_runs_campaigns(shop: Company, superuser: psycopg.Connection) -> None:
    campaign = make(shop)
    before = rows.count(superuser, shop.id)
    secret = shop.ok("POST", "/v1/api-keys", {"name": "x", "scope": Scope.WRITE.name.lower()})["secret"]
    for method, path, body in (
        ("POST", "/v1/campaigns", NEW),
        ("GET", "/v1/campaigns", None),
        ("GET", f"/v1/campaigns/{campaign['id']}", None),
        ("PATCH", f"/v1/campaigns/{campaign['id']}", {"status": "active"}),
    ):
        answer = shop.browser.send(method, path, body, headers={"authorization": f"Bearer {secret}"})
        problem(answer, 403, "scope_insufficient")
    assert rows.count(superuser, shop.id) - before == {"api_keys": 1}


def test_a_first_cap_counts_what_was_earned_without_one(shop: Company) -> None:
    campaign = launch(shop, rules={"awards": {"welcome": {"points": 30}, "registered": {"points": 20}}})
    code = code_of(shop, campaign, "ada")
    bring(shop, code)
    assert read(shop, campaign)["reserved_points"] is None
    assert change(shop, campaign, rules={"points_cap": 120})["reserved_points"] == 50
    bring(shop, code)
    assert read(shop, campaign)["reserved_points"] == 100
    awards = shop.sign_up("cleo", referral_code=code)["awards"]
    assert sorted((each["event"], each["status"], each["reason"]) for each in awards) == [
        ("registered", "paid", None), ("welcome", "rejected", "budget_exhausted"),
    ]  # fmt: skip
    assert change(shop, campaign, rules={"points_cap": None})["reserved_points"] is None
    bring(shop, code)
    assert change(shop, campaign, rules={"points_cap": 60})["reserved_points"] == 170
    assert shop.balance("ada") == 4 * 20
    assert read(shop, campaign)["total_referrals"] == 4


def test_a_cap_per_person_bounds_what_one_earns_and_nobody_else(shop: Company) -> None:
    campaign = launch(shop, rules={"awards": {"registered": {"points": 20}}, "per_user_cap": 50})
    ada, ben = code_of(shop, campaign, "ada"), code_of(shop, campaign, "ben")
    for code in (ada, ada, ada, ben):
        bring(shop, code)
    assert (shop.balance("ada"), shop.balance("ben")) == (40, 20)
    own = shop.ok("GET", "/v1/users/ada")["referral_code"]
    shop.sign_up("dan", referral_code=own)
    assert shop.balance("ada") == 45


def test_a_campaigns_ladder_goes_by_all_counted_referrals(shop: Company) -> None:
    campaign = launch(shop, rules={"tiers": LADDER})
    own = shop.sign_up("ada")["user"]["referral_code"]
    for _ in range(2):
        bring(shop, own, paid_at=NOON)
    code = code_of(shop, campaign, "ada")
    (award,) = [each for each in shop.sign_up("eve", referral_code=code)["awards"] if each["event"] == "registered"]
    assert (award["tier"], award["multiplier"], award["points"]) == ("old", 2, 10)
    explained = shop.ok("GET", f"/v1/awards/{award['id']}/explain")
    assert explained["trace"]["counted"] == 2
    assert explained["trace"]["campaign_id"] == campaign["id"]
    assert shop.ok("GET", "/v1/users/ada")["referral_tier"] == "bronze"


PRIZES = [{"rank_from": 1, "rank_to": 1, "points": 500}, {"rank_from": 3, "rank_to": 9, "points": 50}]


def test_the_end_ranks_those_who_count_and_pays_the_prizes_once(shop: Company, superuser: psycopg.Connection) -> None:
    """Most referrals first, then most points, then who had them first; whoever has none that counts is not there."""
    advance(shop)
    campaign = launch(shop, prizes=PRIZES, rules={"awards": {"qualified": {"points": 25}}})
    codes = {name: code_of(shop, campaign, name) for name in ("late", "ada", "ben", "none", "cleo")}
    bring(shop, codes["late"], paid_at=NOON + 2 * DAY)
    for name in ("ada", "ben", "cleo"):
        bring(shop, codes[name], paid_at=NOON + DAY)
    bring(shop, codes["cleo"], paid_at=NOON + DAY)
    person = bring(shop, codes["ben"])
    shop.ok("POST", "/v1/activations", {"user_id": person, "occurred_at": NOON.isoformat()})
    bring(shop, codes["none"])
    shop.set_clock(END - timedelta(microseconds=1))
    advance(shop)
    assert ranks(superuser, shop) == []
    shop.set_clock(END)
    assert advance(shop)["campaigns"] == 1
    assert ranks(superuser, shop) == [
        (1, "cleo", 2, 60, 500), (2, "ada", 1, 30, 0), (3, "ben", 1, 30, 50), (4, "late", 1, 30, 50),
    ]  # fmt: skip
    assert advance(shop)["campaigns"] == 0
    assert [shop.balance(name) for name in ("cleo", "ada", "ben", "late", "none")] == [560, 30, 45 + 50, 80, 5]
    shown = read(shop, campaign)
    assert (shown["status"], shown["total_referrals"]) == ("ended", 7)
    assert shown["ranked_at"] == "2027-01-25T12:00:00.000000Z"
    entries = shop.ok("GET", "/v1/users/cleo/transactions?type=CAMPAIGN_PRIZE")["data"]
    assert [(entry["delta"], entry["ref"]) for entry in entries] == [(500, campaign["id"])]
    (told,) = events(superuser, shop, "campaign.ended")
    assert told == {"id": campaign["id"], "ranked": 4, "prizes": 3}
    prizes = events(superuser, shop, "campaign.prize_paid")
    assert [(each["external_id"], each["rank"], each["points"]) for each in prizes] == [
        ("cleo", 1, 500), ("ben", 3, 50), ("late", 4, 50),
    ]  # fmt: skip
    assert prizes[0]["transaction_id"] == entries[0]["id"]
    (newest, *_) = shop.ok("GET", "/v1/users/cleo/activity")["data"]
    assert (newest["action"], newest["details"]) == (
        "campaign_prize_paid", {"campaign_id": campaign["id"], "rank": 1, "points": 500},
    )  # fmt: skip


def test_what_comes_after_the_end_changes_no_ranking(shop: Company, superuser: psycopg.Connection) -> None:
    """A payment dated before the end still counts while the days of verification run; one dated after it never does."""
    campaign = launch(shop, prizes=PRIZES, verification_days=3)
    ada, ben = code_of(shop, campaign, "ada"), code_of(shop, campaign, "ben")
    before, after, refunded = bring(shop, ada), bring(shop, ada), bring(shop, ben)
    sale = pay(shop, refunded, NOON)
    shop.set_clock(END + DAY)
    pay(shop, before, END - timedelta(seconds=1))
    pay(shop, after, END)
    shop.set_clock(END + 3 * DAY - timedelta(microseconds=1))
    advance(shop)
    assert ranks(superuser, shop) == []
    shop.set_clock(END + 3 * DAY)
    advance(shop)
    ranked = ranks(superuser, shop)
    assert [rank[1:3] for rank in ranked] == [("ben", 1), ("ada", 1)]
    give_back(shop, sale)
    bring(shop, ada, paid_at=NOON)
    advance(shop)
    assert ranks(superuser, shop) == ranked


def test_a_refund_in_time_takes_a_referral_out_of_the_ranking(shop: Company, superuser: psycopg.Connection) -> None:
    campaign = launch(shop, prizes=PRIZES, verification_days=3)
    person = bring(shop, code_of(shop, campaign, "ada"))
    sale = pay(shop, person, NOON)
    shop.set_clock(END + DAY)
    give_back(shop, sale)
    shop.set_clock(END + 3 * DAY)
    advance(shop)
    assert ranks(superuser, shop) == []
    assert events(superuser, shop, "campaign.ended") == [{"id": campaign["id"], "ranked": 0, "prizes": 0}]


def test_one_that_is_flagged_counts_for_nothing(shop: Company, superuser: psycopg.Connection) -> None:
    campaign = launch(shop, prizes=PRIZES)
    bring(shop, code_of(shop, campaign, "ada"), paid_at=NOON)
    bring(shop, code_of(shop, campaign, "ben"), paid_at=NOON)
    superuser.execute(
        "UPDATE referrals SET risk = 'review', counts = false WHERE company_id = %s AND referrer_id = ("
        " SELECT id FROM users WHERE users.company_id = referrals.company_id AND external_id = 'ada')",
        (shop.id,),
    )
    shop.set_clock(END)
    advance(shop)
    assert [rank[1] for rank in ranks(superuser, shop)] == ["ben"]


def test_an_archived_campaign_still_pays_its_prizes_and_a_draft_none(
    shop: Company, superuser: psycopg.Connection
) -> None:
    advance(shop)
    campaign = launch(shop, prizes=PRIZES)
    make(shop)
    bring(shop, code_of(shop, campaign, "ada"), paid_at=NOON)
    shop.set_clock(END)
    change(shop, campaign, status="archived")
    assert advance(shop)["campaigns"] == 1
    assert [rank[-1] for rank in ranks(superuser, shop)] == [500]


NO_PRIZE = "UPDATE campaigns SET prizes = '[{}]' WHERE company_id = %(company)s AND id = %(id)s"
RANKED_BEFORE = """
    INSERT INTO campaign_ranks (company_id, campaign_id, rank, user_id, qualified, points)
    SELECT company_id, %(id)s, 1, id, 1, 0 FROM users WHERE company_id = %(company)s LIMIT 1
"""


@pytest.mark.parametrize(("spoil", "error"), [(NO_PRIZE, "ValidationError"), (RANKED_BEFORE, "23505")])
def test_a_campaign_that_cannot_be_ended_is_set_aside_and_the_others_end(
    shop: Company, superuser: psycopg.Connection, spoil: LiteralString, error: str
) -> None:
    advance(shop)
    broken = launch(shop, ends_at=(END - DAY).isoformat(), prizes=PRIZES)
    bring(shop, code_of(shop, broken, "ada"), paid_at=NOON)
    superuser.execute(spoil, {"company": shop.id, "id": broken["id"][4:]})
    other = launch(shop)
    shop.set_clock(END)
    summary = advance(shop)
    assert (summary["campaigns"], summary["set_aside"]) == (1, [f"{broken['id']}: {error}"])
    assert events(superuser, shop, "campaign.prize_paid") == []
    assert read(shop, other)["ranked_at"] is not None
    assert shop.balance("ada") == 30
