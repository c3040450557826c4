"""Restrictions by the admin API: what one user may, whatever their plans say."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support import rows
from tests.support.answers import fields, problem
from tests.support.companies import Company

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
AT_NOON, LATER = "2031-01-15T12:00:00.000000Z", "2031-01-15T13:00:00.000000Z"
PHOTOS = "/v1/users/ada/restrictions/photos"


@pytest.fixture
def ada(company: Company) -> Company:
    company.set_clock(NOON)
    company.sign_up("ada")
    return company


def test_a_restriction_is_put_shown_and_replaced_whole(ada: Company) -> None:
    key = next(each["id"] for each in ada.ok("GET", "/v1/api-keys")["data"] if each["scope"] == "admin")
    put = ada.ok("PUT", PHOTOS, {"limit": 2, "reason": "reported"}, status=200)
    shown = {"feature": "photos", "limit": 2, "reason": "reported", "created_by": key}
    assert put == shown | {"created_at": AT_NOON, "updated_at": AT_NOON}
    assert ada.ok("GET", "/v1/users/ada/restrictions") == {"data": [put], "has_more": False}
    ada.set_clock(NOON + timedelta(hours=1))
    replaced = ada.ok("PUT", PHOTOS, {"limit": None})
    assert replaced == put | {"limit": None, "reason": None, "updated_at": LATER}
    assert ada.ok("GET", "/v1/users/ada/restrictions")["data"] == [replaced]


def test_a_restriction_is_taken_away_and_away(ada: Company) -> None:
    ada.ok("PUT", PHOTOS, {"limit": 0})
    for _ in range(2):
        ada.ok("DELETE", PHOTOS, status=204)
        assert ada.ok("GET", "/v1/users/ada/restrictions")["data"] == []


def test_a_restriction_is_one_users_alone(ada: Company, other: Company) -> None:
    ada.sign_up("ben")
    other.sign_up("ada")
    ada.ok("PUT", PHOTOS, {"limit": 0})
    assert ada.ok("GET", "/v1/users/ben/restrictions")["data"] == []
    assert other.ok("GET", "/v1/users/ada/restrictions")["data"] == []


def test_restrictions_are_paged_newest_first(ada: Company) -> None:
    for hours, feature in enumerate(("photos", "ai_calls", "export_csv")):
        ada.set_clock(NOON + timedelta(hours=hours))
        ada.ok("PUT", f"/v1/users/ada/restrictions/{feature}", {"limit": 1})
    first = ada.ok("GET", "/v1/users/ada/restrictions?limit=2")
    assert ([each["feature"] for each in first["data"]], first["has_more"]) == (["export_csv", "ai_calls"], True)
    rest = ada.ok("GET", "/v1/users/ada/restrictions?after=ai_calls")
    assert ([each["feature"] for each in rest["data"]], rest["has_more"]) == (["photos"], False)
    assert ada.ok("GET", "/v1/users/ada/restrictions?after=photos")["data"] == []
    assert fields(ada.api.send("GET", "/v1/users/ada/restrictions?after=export_zip")) == {"after"}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 10**30}, "limit"),
        ({"limit": 1, "reason": ""}, "reason"),
        ({"limit": 1, "reason": "x" * 2001}, "reason"),
        ({"limit": 1, "created_by": None}, "created_by"),
    ],
)
def test_a_restriction_that_cannot_be_is_refused_by_field(
    ada: Company, superuser: psycopg.Connection, body: dict[str, object], wrong: str
) -> None:
    before = rows.count(superuser, ada.id)
    assert fields(ada.api.send("PUT", PHOTOS, body)) == {wrong}
    assert rows.count(superuser, ada.id) == before


@pytest.mark.parametrize(("method", "body"), [("PUT", {"limit": 1}), ("DELETE", None)])
def test_neither_an_unknown_user_nor_an_unknown_feature_is_restricted(
    ada: Company, method: str, body: dict[str, object] | None
) -> None:
    problem(ada.api.send(method, "/v1/users/eve/restrictions/photos", body), 404, "user_not_found")
    for feature in ("flying", "%00"):
        problem(ada.api.send(method, f"/v1/users/ada/restrictions/{feature}", body), 404, "feature_unknown")
