"""Leaderboards: who stands where by what, page by page, and that every board is what a recount says."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest

from goodword.campaigns import leaderboard
from goodword.core import ids
from tests.support import books
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.counted import T0, bring, pay, refund

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def shop(company: Company) -> Company:
    """Ada, Bob and Cid may bring people; there are no limits in the way."""
    company.set_clock(T0)
    for referrer in ("ada", "bob", "cid"):
        company.sign_up(referrer)
    return company


@pytest.fixture(autouse=True)
def the_books_are_right(company: Company, superuser: psycopg.Connection) -> Iterator[None]:
    """Whatever a test did, scores agree with referrals and awards afterwards."""
    yield
    assert books.faults(superuser, company.id) == []


def code(shop: Company, referrer: str) -> str:
    return shop.ok("GET", f"/v1/users/{referrer}")["referral_code"]


def bring_paying(shop: Company, referrer: str, *referees: str, at: datetime = T0) -> None:
    bring(shop, code(shop, referrer), *referees)
    pay(shop, *referees, paid_at=at)


def board(shop: Company, query: str = "") -> list[tuple[int, str, int, int]]:
    listed = shop.ok("GET", f"/v1/leaderboard?{query}")["data"]
    return [(each["rank"], each["user_id"], each["qualified"], each["points"]) for each in listed]


class Campaign(NamedTuple):
    """The id of a campaign, and its code."""

    id: str
    code: str


def campaign(superuser: psycopg.Connection, shop: Company) -> Campaign:
    """A campaign in force from T0 for thirty days, with a code that Ada shares."""
    campaign_id = ids.new_id()
    code = f"SPRING-{campaign_id.hex[-12:].upper()}"
    values = {"company": shop.id, "id": campaign_id, "from": T0, "to": T0 + 30 * DAY, "name": code}
    superuser.execute(
        """INSERT INTO campaigns (company_id, id, name, starts_at, ends_at, activated_at, created_at, updated_at)
        VALUES (%(company)s, %(id)s, 'Spring', %(from)s, %(to)s, %(from)s, %(from)s, %(from)s)""",
        values,
    )
    superuser.execute(
        """INSERT INTO codes (company_id, id, code, type, user_id, campaign_id, created_at, updated_at)
        SELECT %(company)s, %(code)s, %(name)s, 'campaign', id, %(id)s, %(from)s, %(from)s
        FROM users WHERE company_id = %(company)s AND external_id = 'ada'""",
        values | {"code": ids.new_id()},
    )
    return Campaign(ids.public("cam", campaign_id), code)


def test_a_row_shows_who_it_is_and_nobody_stands_there_for_nothing(shop: Company) -> None:
    shop.ok("PATCH", "/v1/users/ada", {"username": "Ada"})
    bring(shop, code(shop, "bob"), "unpaid")
    bring_paying(shop, "ada", "ben")
    assert shop.ok("GET", "/v1/leaderboard") == {
        "data": [{"rank": 1, "user_id": "ada", "username": "Ada", "qualified": 1, "points": 5 + 25}],
        "has_more": False,
    }


def test_more_referrals_stand_before_more_points_and_those_before_who_was_first(shop: Company) -> None:
    bring_paying(shop, "cid", "c1", "c2")
    bring(shop, code(shop, "bob"), "b0")  # has registered, which is worth 5 points
    bring_paying(shop, "ada", "a1", at=T0 + 2 * HOUR)
    bring_paying(shop, "bob", "b1", at=T0 + 3 * HOUR)
    shop.sign_up("dora")
    bring_paying(shop, "dora", "d1", at=T0 + HOUR)
    assert board(shop) == [(1, "cid", 2, 60), (2, "bob", 1, 35), (3, "dora", 1, 30), (4, "ada", 1, 30)]


def test_at_last_who_signed_up_first(shop: Company) -> None:
    for referrer in ("bob", "ada", "cid"):
        bring_paying(shop, referrer, f"friend_of_{referrer}")
    assert board(shop) == [(1, "ada", 1, 30), (2, "bob", 1, 30), (3, "cid", 1, 30)]


def test_ranks_go_on_from_page_to_page(shop: Company) -> None:
    for referrer in ("ada", "bob", "cid"):
        bring_paying(shop, referrer, f"friend_of_{referrer}")
    whole = board(shop)
    first = shop.ok("GET", "/v1/leaderboard?limit=1")
    assert first["has_more"]
    assert board(shop, "limit=1") + board(shop, "limit=1&after=ada") + board(shop, "after=bob") == whole
    assert board(shop, "after=cid") == []


def test_a_query_that_cannot_be_is_refused(shop: Company, superuser: psycopg.Connection) -> None:
    bring_paying(shop, "ada", "ben")
    campaign_id = campaign(superuser, shop).id
    for query, wrong in (
        ("after=bob", {"after"}), ("after=nobody", {"after"}), ("period=2027-13", {"period"}),
        ("period=2027", {"period"}), ("campaign_id=x", {"campaign_id"}), ("limit=0", {"limit"}),
        ("board=all", {"board"}), (f"campaign_id={campaign_id}&after=ada", {"after"}),
        ("period=2027-02&after=ada", {"after"}),
    ):  # fmt: skip
        assert fields(shop.api.send("GET", f"/v1/leaderboard?{query}")) == wrong, query
    problem(shop.api.send("GET", f"/v1/leaderboard?period=2027-03&campaign_id={campaign_id}"), 422, "invalid_request")


def test_another_companys_campaign_is_unknown_and_its_people_stand_on_no_board(
    shop: Company, other: Company, superuser: psycopg.Connection
) -> None:
    other.set_clock(T0)
    other.sign_up("ada")
    bring_paying(other, "ada", "ben")
    theirs = campaign(superuser, other).id
    for unknown in (theirs, f"cam_{'0' * 32}"):
        problem(shop.api.send("GET", f"/v1/leaderboard?campaign_id={unknown}"), 404, "campaign_not_found")
    assert board(shop) == []


def test_whoever_is_refunded_counts_no_more_in_past_months_too(shop: Company) -> None:
    bring_paying(shop, "ada", "ben", "cleo")
    shop.set_clock(T0 + 60 * DAY)
    refund(shop, "ben", T0 + 60 * DAY)
    # what was taken back was awarded in March; the welcome of the other side is nobody's score
    assert board(shop) == board(shop, "period=2027-03") == [(1, "ada", 1, 5 + 25 + 5)]
    assert board(shop, "period=2027-04") == []
    refund(shop, "cleo", T0 + 60 * DAY)
    assert board(shop) == board(shop, "period=2027-03") == []


def test_points_are_of_the_month_of_their_award_and_referrals_of_the_month_in_which_they_qualified(
    shop: Company,
) -> None:
    bring(shop, code(shop, "ada"), "ben")
    shop.set_clock(T0 + 40 * DAY)
    pay(shop, "ben", paid_at=T0 + 40 * DAY)
    assert board(shop, "period=2027-03") == []  # 5 points, and nobody who counts
    assert board(shop, "period=2027-04") == [(1, "ada", 1, 25)]
    assert board(shop) == [(1, "ada", 1, 30)]


def test_a_month_that_is_to_come_is_empty(shop: Company) -> None:
    bring_paying(shop, "ada", "ben")
    assert board(shop, "period=2031-01") == []


def test_a_month_is_one_in_the_zone_of_the_referrals_own_program(shop: Company) -> None:
    program = shop.ok("GET", "/v1/program")["program"]
    shop.ok("PUT", "/v1/program", program | {"timezone": "Pacific/Auckland"})
    bring(shop, code(shop, "ada"), "ben")
    shop.ok("PUT", "/v1/program", program | {"timezone": "America/Los_Angeles"})
    bring(shop, code(shop, "bob"), "cleo")
    late_in_march = datetime(2027, 3, 31, 20, tzinfo=ZoneInfo("UTC"))  # April in Auckland, March in Los Angeles
    shop.set_clock(late_in_march)
    pay(shop, "ben", "cleo", paid_at=late_in_march)
    assert board(shop, "period=2027-04") == [(1, "ada", 1, 25)]
    assert board(shop, "period=2027-03") == [(1, "bob", 1, 30)]


def test_a_campaign_has_a_board_of_its_own(shop: Company, superuser: psycopg.Connection) -> None:
    spring = campaign(superuser, shop)
    bring(shop, spring.code, "joined")
    pay(shop, "joined")
    bring_paying(shop, "ada", "ben")
    bring_paying(shop, "bob", "cleo")
    assert board(shop, f"campaign_id={spring.id}") == [(1, "ada", 1, 30)]
    assert board(shop) == [(1, "ada", 2, 60), (2, "bob", 1, 30)]


def test_a_campaign_that_was_ranked_shows_its_ranking_whatever_comes_later(
    shop: Company, superuser: psycopg.Connection
) -> None:
    spring = campaign(superuser, shop)
    bring(shop, spring.code, "joined")
    pay(shop, "joined")
    superuser.execute(
        """INSERT INTO campaign_ranks (company_id, campaign_id, rank, user_id, qualified, points)
        SELECT company_id, %(campaign)s, CASE external_id WHEN 'bob' THEN 1 ELSE 2 END, id, 3, 90
        FROM users WHERE company_id = %(company)s AND external_id IN ('ada', 'bob')""",
        {"company": shop.id, "campaign": ids.parse("cam", spring.id)},
    )
    query = f"campaign_id={spring.id}"
    assert board(shop, query) == [(1, "ada", 1, 30)]
    superuser.execute("UPDATE campaigns SET ranked_at = ends_at WHERE company_id = %(id)s", {"id": shop.id})
    assert board(shop, query) == [(1, "bob", 3, 90), (2, "ada", 3, 90)]
    assert board(shop, f"{query}&limit=1") == [(1, "bob", 3, 90)]
    assert board(shop, f"{query}&after=bob") == [(2, "ada", 3, 90)]
    assert board(shop, f"{query}&after=ada") == []
    assert fields(shop.api.send("GET", f"/v1/leaderboard?{query}&after=cid")) == {"after"}


class Brought(NamedTuple):
    """What a random history did of one referee."""

    referrer: str
    brought_at: datetime
    paid_at: datetime | None
    is_refunded: bool


Board = list[tuple[int, str, int, int]]


def recounted(history: Mapping[str, Brought], zone: ZoneInfo) -> dict[str, Board]:
    """Every board by the history alone: 5 points for a signup, 25 for a payment that was not refunded."""
    qualified: dict[str, dict[str, list[datetime]]] = defaultdict(lambda: defaultdict(list))
    points: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in history.values():
        earned = [(each.brought_at, 5)]
        if each.paid_at and not each.is_refunded:
            earned.append((each.paid_at, 25))
            for name in ("", f"{each.paid_at.astimezone(zone):%Y-%m}"):
                qualified[name][each.referrer].append(each.paid_at)
        for at, worth in earned:
            for name in ("", f"{at.astimezone(zone):%Y-%m}"):
                points[name][each.referrer] += worth
    boards: dict[str, Board] = {}
    for name, people in qualified.items():
        order = sorted(people, key=lambda who: (-len(people[who]), -points[name][who], max(people[who]), who))
        boards[name] = [(rank, who, len(people[who]), points[name][who]) for rank, who in enumerate(order, 1)]
    return boards


@pytest.mark.parametrize("seed", range(3))
def test_every_board_is_what_a_recount_of_a_random_history_says(shop: Company, seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - no secret
    program: dict[str, Any] = shop.ok("GET", "/v1/program")["program"]
    zone = ("Pacific/Kiritimati", "America/Los_Angeles", "Europe/Berlin")[seed]
    shop.ok("PUT", "/v1/program", program | {"timezone": zone})
    history: dict[str, Brought] = {}
    now = T0
    for number in range(16):
        now += timedelta(hours=dice.randrange(1, 240))
        shop.set_clock(now)
        referee, referrer = f"referee_{number}", dice.choice(("ada", "bob", "cid"))
        bring(shop, code(shop, referrer), referee)
        history[referee] = Brought(referrer, now, now if dice.random() < 0.8 else None, is_refunded=False)
        if history[referee].paid_at:
            pay(shop, referee, paid_at=now)
        standing = [name for name, each in history.items() if each.paid_at and not each.is_refunded]
        if standing and dice.random() < 0.3:
            gone = dice.choice(standing)
            refund(shop, gone, now)
            history[gone] = history[gone]._replace(is_refunded=True)
    boards = recounted(history, ZoneInfo(zone))
    assert board(shop) == boards.get("", [])
    for month in ("2027-02", "2027-03", "2027-04", "2027-05", "2027-06"):
        assert board(shop, f"period={month}") == boards.get(month, []), month


def test_a_board_is_read_from_its_index_alone(shop: Company, superuser: psycopg.Connection) -> None:
    """Neither sorted nor scanned, at the first page and at a later one, by a plan that is kept for any value."""
    superuser.execute(
        """WITH people AS (
            INSERT INTO users (company_id, id, external_id, created_at)
            SELECT %(id)s, gen_random_uuid(), 'person_' || n, %(at)s FROM generate_series(1, 5000) AS n RETURNING id)
        INSERT INTO scores (company_id, board, user_id, qualified, points, last_qualified_at)
        SELECT %(id)s, board, people.id, 1 + (random() * 9)::integer, (random() * 20)::integer, %(at)s
        FROM people CROSS JOIN (VALUES ('all'), ('2027-03')) AS of (board)""",
        {"id": shop.id, "at": T0},
    )
    superuser.execute("VACUUM ANALYZE scores, users")
    first = kept_plan(superuser, leaderboard.FIRST_PAGE, shop)
    later = kept_plan(superuser, leaderboard.LATER_PAGE, shop)
    superuser.execute("DELETE FROM scores WHERE company_id = %(id)s", {"id": shop.id})
    for plan, scans in ((first, 1), (later, 2)):
        by_rank = [line for line in plan if "scores_rank_ix" in line]
        assert len([line for line in by_rank if "Index Only Scan" in line]) == len(by_rank) == scans, plan
        assert not [line for line in plan for node in ("Sort", "Seq Scan", "Hash", "Bitmap") if node in line], plan


def kept_plan(superuser: psycopg.Connection, statement: str, shop: Company) -> list[str]:
    """The lines of the plan of a page that is prepared for any value."""
    values = {"company_id": f"'{shop.id}'", "board": "'all'", "after": "'person_7'", "limit": "20"}
    for number, name in enumerate(values, 1):
        statement = statement.replace(f"%({name})s", f"${number}")
    with superuser.transaction(force_rollback=True):
        superuser.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        superuser.execute(f"PREPARE board (uuid, text, text, integer) AS {statement}".encode())
        lines = superuser.execute(f"EXPLAIN (COSTS OFF) EXECUTE board ({', '.join(values.values())})".encode())
        plan = [line for (line,) in lines]
        superuser.execute("DEALLOCATE board")
    return plan
