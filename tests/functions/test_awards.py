"""The awards that a user receives, listed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

START = datetime(2031, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def busy(company: Company) -> Company:
    """Zoe brought Ada at START, Ada brought Ben a day later, and Ben paid in two months and used an app."""
    company.set_clock(START)
    company.refer("zoe", "ada")
    company.set_clock(START + DAY)
    company.refer("ada", "ben")
    company.set_clock(START + 40 * DAY)
    for number, days in enumerate((1, 32)):
        paid_at = START + days * DAY
        company.deliver(invoice_paid(f"evt_{number}", f"in_{number}", user="ben", paid_at=paid_at))
    company.set_clock(START + 41 * DAY)
    company.ok("POST", "/v1/activations", {"user_id": "ben", "app_id": "chat"})
    return company


def awards(company: Company, user: str, query: str = "") -> list[dict[str, Any]]:
    answer = company.ok("GET", f"/v1/users/{user}/awards?{query}")
    assert answer.keys() == {"data", "has_more"}
    return answer["data"]


def test_a_user_is_shown_what_they_receive_from_every_referral_newest_first(busy: Company) -> None:
    assert [(award["event"], award["period"]) for award in awards(busy, "ada")] == [
        ("activated", None), ("recurring", 2), ("qualified", 1), ("registered", None), ("welcome", None),
    ]  # fmt: skip
    assert sorted((award["event"], award["period"]) for award in awards(busy, "zoe")) == [
        ("l2", 1), ("l2", 2), ("registered", None),
    ]  # fmt: skip
    assert [award["event"] for award in awards(busy, "ben")] == ["welcome"]
    for user in ("zoe", "ada", "ben"):
        given = awards(busy, user)
        assert {award["user_id"] for award in given} == {user}
        assert sum(award["points"] - award["reversed_points"] for award in given) == busy.balance(user)
        assert [award["created_at"] for award in given] == sorted((a["created_at"] for a in given), reverse=True)


def test_an_award_is_shown_as_the_signup_showed_it(busy: Company) -> None:
    shown = {award["id"]: award for award in busy.sign_up("ben")["awards"]}
    assert shown.keys() & {award["id"] for award in awards(busy, "ada")}
    for award in (*awards(busy, "ada"), *awards(busy, "zoe"), *awards(busy, "ben")):
        assert award == shown.get(award["id"], award)


def test_an_award_names_the_payment_it_is_for_and_none_where_it_is_for_none(busy: Company) -> None:
    (referral,) = busy.ok("GET", "/v1/users/ada/referrals")["data"]
    explained = busy.ok("GET", f"/v1/referrals/{referral['id']}/explain")
    first, second = (payment["id"] for payment in explained["payments"])
    assert first.startswith("pay_")
    expected = [
        ("activated", None), ("l2", first), ("l2", second), ("qualified", first), ("recurring", second),
        ("registered", None), ("welcome", None),
    ]  # fmt: skip
    received = [award for user in ("zoe", "ada", "ben") for award in awards(busy, user)]
    of_ben = [award for award in received if award["referral_id"] == referral["id"]]
    for shown in (of_ben, busy.sign_up("ben")["awards"], explained["awards"]):
        pairs = [(award["event"], award["payment_id"]) for award in shown]
        assert sorted(pairs, key=lambda pair: (pair[0], pair[1] == second)) == expected


def test_a_list_can_be_narrowed_to_an_event_and_a_status(busy: Company) -> None:
    assert [award["event"] for award in awards(busy, "ada", "event=recurring")] == ["recurring"]
    assert awards(busy, "ada", "event=l2") == []
    assert len(awards(busy, "ada", "status=paid")) == 5
    assert awards(busy, "ada", "status=held") == []
    assert [award["event"] for award in awards(busy, "zoe", "event=l2&status=paid")] == ["l2", "l2"]


def test_a_list_comes_page_by_page(busy: Company) -> None:
    whole = awards(busy, "ada")
    seen: list[dict[str, Any]] = []
    query = "limit=2"
    while True:
        page = busy.ok("GET", f"/v1/users/ada/awards?{query}")
        seen += page["data"]
        assert len(page["data"]) == 2 or not page["has_more"]
        if not page["has_more"]:
            break
        query = f"limit=2&after={seen[-1]['id']}"
    assert seen == whole


def test_only_an_award_of_the_user_can_be_followed(busy: Company, other: Company) -> None:
    (*_, last) = awards(busy, "ada")
    assert busy.ok("GET", f"/v1/users/ada/awards?after={last['id']}") == {"data": [], "has_more": False}
    strangers = ["awd_" + "0" * 32, awards(busy, "zoe")[0]["id"], other.refer("ada", "ben")["awards"][0]["id"]]
    for stranger in strangers:
        assert fields(busy.api.send("GET", f"/v1/users/ada/awards?after={stranger}")) == {"after"}


@pytest.mark.usefixtures("busy")
def test_another_companys_awards_are_not_shown(other: Company) -> None:
    other.sign_up("ada")
    assert awards(other, "ada") == []
    problem(other.api.send("GET", "/v1/users/zoe/awards"), 404, "user_not_found")
