"""Users: who they are and whom they brought."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import psycopg

from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)


def test_a_user_is_read_as_a_signup_showed_it(company: Company) -> None:
    signed_up = company.sign_up("ada")["user"]
    assert company.ok("GET", "/v1/users/ada") == signed_up


def test_an_external_id_is_the_apps_own_whatever_it_looks_like(company: Company) -> None:
    for external_id in ("a", "google-oauth2|1234", "a.b_c:d@e~f-g", "x" * 128, "ADA", "ada"):
        company.sign_up(external_id)
        assert company.ok("GET", f"/v1/users/{quote(external_id, safe='')}")["external_id"] == external_id


def test_a_user_whom_nobody_knows_is_not_found(company: Company, other: Company) -> None:
    other.sign_up("ada")
    for path in ("/v1/users/ada", "/v1/users/ada/referrals", "/v1/users/ada/awards"):
        problem(company.api.send("GET", path), 404, "user_not_found")


def test_a_profile_counts_points_and_qualified_referrals(company: Company) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    for number in range(5):
        company.sign_up(f"referee-{number}", referral_code=code)
        company.deliver(invoice_paid(f"evt_{number}", f"in_{number}", user=f"referee-{number}", customer=f"c{number}"))
    ada = company.ok("GET", "/v1/users/ada")
    assert (ada["qualified_count"], ada["referral_tier"]) == (5, "silver")
    assert ada["balance"] == company.balance("ada")


def test_the_circle_is_whom_a_user_brought(company: Company, other: Company) -> None:
    company.refer("ada", "ben")
    company.refer("ben", "cleo")
    other.refer("ada", "eve")
    for referrer, referees in (("ada", ["ben"]), ("ben", ["cleo"]), ("cleo", [])):
        circle = company.ok("GET", f"/v1/users/{referrer}/referrals?level=1")
        assert [each["referee"] for each in circle["data"]] == referees
        assert {each["referrer"] for each in circle["data"]} <= {referrer}
        assert circle["has_more"] is False


def test_the_circle_shows_the_referral_of_the_signup(company: Company) -> None:
    referral = company.refer("ada", "ben")["referral"]
    assert company.ok("GET", "/v1/users/ada/referrals") == {"data": [referral], "has_more": False}


def test_the_circle_comes_newest_first_and_page_by_page(company: Company) -> None:
    company.set_clock(NOON)
    code = company.sign_up("ada")["user"]["referral_code"]
    for number in range(5):
        company.set_clock(NOON + timedelta(hours=number // 2))  # two at the same instant
        company.sign_up(f"referee-{number}", referral_code=code)
    first = company.ok("GET", "/v1/users/ada/referrals?limit=2")
    company.sign_up("meanwhile", referral_code=code)
    pages = [first]
    while pages[-1]["has_more"]:
        pages.append(company.ok("GET", f"/v1/users/ada/referrals?limit=2&after={pages[-1]['data'][-1]['id']}"))
    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    seen = [each["referee"] for page in pages for each in page["data"]]
    assert set(seen) == {f"referee-{number}" for number in range(5)}
    times = [each["registered_at"] for page in pages for each in page["data"]]
    assert times == sorted(times, reverse=True)


def test_the_circle_is_asked_for_in_one_way(company: Company) -> None:
    company.sign_up("ada")
    for query, wrong in (
        ("level=0", "level"),
        ("level=3", "level"),
        ("level=one", "level"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("after=nonsense", "after"),
        ("stage=qualified", "stage"),
    ):
        assert fields(company.api.send("GET", f"/v1/users/ada/referrals?{query}")) == {wrong}


def test_only_a_referral_of_the_user_can_be_followed(company: Company, other: Company) -> None:
    mine = company.refer("ada", "ben")["referral"]["id"]
    assert company.ok("GET", f"/v1/users/ada/referrals?after={mine}") == {"data": [], "has_more": False}
    strangers = [
        "ref_" + "0" * 32,
        company.refer("ben", "cleo")["referral"]["id"],
        other.refer("ada", "x")["referral"]["id"],
    ]
    for stranger in strangers:
        assert fields(company.api.send("GET", f"/v1/users/ada/referrals?after={stranger}")) == {"after"}


def test_the_second_level_is_whom_those_brought(company: Company, other: Company) -> None:
    for referrer, referee in (("ada", "ben"), ("ada", "bob"), ("ben", "cleo"), ("bob", "cyd"), ("cleo", "dan")):
        company.refer(referrer, referee)
    other.refer("ben", "eve")
    for user, referees in (("ada", ["cyd", "cleo"]), ("ben", ["dan"]), ("cleo", []), ("dan", [])):
        second = company.ok("GET", f"/v1/users/{user}/referrals?level=2")["data"]
        assert [each["referee"] for each in second] == referees
    assert [each["referrer"] for each in company.ok("GET", "/v1/users/ada/referrals?level=2")["data"]] == ["bob", "ben"]
    first, second = (
        company.ok("GET", f"/v1/users/ada/referrals?level=2&limit=1{after}")
        for after in ("", f"&after={company.sign_up('cyd')['referral']['id']}")
    )
    assert ([each["referee"] for each in first["data"]], first["has_more"]) == (["cyd"], True)
    assert ([each["referee"] for each in second["data"]], second["has_more"]) == (["cleo"], False)
    of_another_level = company.sign_up("ben")["referral"]["id"]
    assert fields(company.api.send("GET", f"/v1/users/ada/referrals?level=2&after={of_another_level}")) == {"after"}


def test_an_administrator_sees_all_referrals_newest_first(company: Company, other: Company) -> None:
    bound = [company.refer("ada", "ben"), company.refer("ben", "cleo"), company.refer("cyd", "dan")]
    other.refer("eve", "fay")
    everything = [answer["referral"] for answer in reversed(bound)]
    assert company.ok("GET", "/v1/referrals") == {"data": everything, "has_more": False}
    first = company.ok("GET", "/v1/referrals?limit=2")
    assert first == {"data": everything[:2], "has_more": True}
    second = company.ok("GET", f"/v1/referrals?limit=2&after={everything[1]['id']}")
    assert second == {"data": everything[2:], "has_more": False}
    stranger = other.ok("GET", "/v1/referrals")["data"][0]["id"]
    assert fields(company.api.send("GET", f"/v1/referrals?after={stranger}")) == {"after"}


def test_referrals_are_listed_by_their_stage_and_flag(company: Company, superuser: psycopg.Connection) -> None:
    company.set_clock(NOON)
    code = company.sign_up("ada")["user"]["referral_code"]
    for referee in ("paying", "using", "idle"):
        company.sign_up(referee, referral_code=code)
    company.deliver(invoice_paid("evt_1", "in_1", user="paying", paid_at=NOON))
    company.set_clock(NOON + timedelta(days=89))
    company.ok("POST", "/v1/activations", {"user_id": "using"})

    def referees(query: str) -> list[str]:
        return [each["referee"] for each in company.ok("GET", f"/v1/referrals?{query}")["data"]]

    stages = ("registered", "activated", "qualified", "expired", "retained", "cancelled")
    assert [referees(f"stage={each}") for each in stages] == [["idle"], ["using"], ["paying"], [], [], []]
    company.set_clock(NOON + timedelta(days=90))  # it has expired, whether or not a job has booked that
    assert [referees(f"stage={each}") for each in stages] == [[], ["using"], ["paying"], ["idle"], [], []]
    assert sorted(referees("flagged=false")) == ["idle", "paying", "using"]
    assert referees("flagged=true") == []
    superuser.execute(
        "UPDATE referrals SET risk = 'review' WHERE company_id = %s AND stage = 'activated'",
        (company.id,),
    )
    assert (referees("flagged=true"), referees("flagged=true&stage=qualified")) == (["using"], [])
    assert sorted(referees("flagged=false")) == ["idle", "paying"]


def test_a_list_by_stage_can_be_followed_from_a_referral_that_has_left_the_stage(company: Company) -> None:
    company.set_clock(NOON)
    code = company.sign_up("ada")["user"]["referral_code"]
    for referee in ("older", "newer"):
        company.sign_up(referee, referral_code=code)
    (first,) = company.ok("GET", "/v1/referrals?stage=registered&limit=1")["data"]
    for referee in ("older", "newer"):
        company.deliver(invoice_paid(f"evt_{referee}", f"in_{referee}", user=referee, customer=referee, paid_at=NOON))
    rest = company.ok("GET", f"/v1/referrals?stage=registered&after={first['id']}")
    assert rest == {"data": [], "has_more": False}
