"""Settings by the admin API: what a company decides once for all its users."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support import rows
from tests.support.answers import fields, problem
from tests.support.companies import DESTINATION, Company

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)


def test_a_company_begins_with_these_settings(company: Company) -> None:
    settings = company.ok("GET", "/v1/settings")
    assert settings == {
        "trial_duration_days": 14, "trial_plan": "premium", "post_trial_plan": "free",
        "require_email_verification": True, "self_registration_enabled": True, "require_invite": False,
        "invite_email_must_match": False, "destination_url": DESTINATION, "whop_company_id": None,
        "not_disposable_domains": [],
        "created_at": settings["created_at"], "updated_at": settings["updated_at"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"trial_duration_days": 0},
        {"trial_plan": "selfhosted"},
        {"post_trial_plan": "disabled"},
        {"require_email_verification": False, "self_registration_enabled": False},
        {"require_invite": True, "invite_email_must_match": True},
        {"whop_company_id": "biz_settings_1"},
        {"not_disposable_domains": ["mail.example", "xn--bcher-kva.example"]},
    ],
)
def test_settings_are_changed_where_something_is_said(
    company: Company, other: Company, change: dict[str, object]
) -> None:
    before, beside = company.ok("GET", "/v1/settings"), other.ok("GET", "/v1/settings")
    company.set_clock(NOON)
    changed = company.ok("PATCH", "/v1/settings", change)
    assert changed == before | change | {"updated_at": "2031-01-15T12:00:00.000000Z"}
    assert company.ok("GET", "/v1/settings") == changed
    assert company.ok("PATCH", "/v1/settings", {}) == changed
    assert other.ok("GET", "/v1/settings") == beside
    back = {name: before[name] for name in change}
    assert company.ok("PATCH", "/v1/settings", back) == changed | back


def test_the_links_lead_where_the_settings_say(company: Company) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    changed = company.ok("PATCH", "/v1/settings", {"destination_url": "https://mü.example/willkommen?lang=dé"})
    assert changed["destination_url"] == "https://xn--m-eha.example/willkommen?lang=d%C3%A9"
    landed = company.browser.send("GET", f"/r/{code}", headers={"user-agent": "Firefox/140"}).headers["location"]
    assert urlsplit(landed).hostname == "xn--m-eha.example"
    assert landed.startswith(f"{changed['destination_url']}&gw_click=clk_")


def test_domains_are_kept_in_their_one_spelling_each_once(company: Company) -> None:
    said = ["Mail.EXAMPLE.", "bücher.example", "mail.example"]
    changed = company.ok("PATCH", "/v1/settings", {"not_disposable_domains": said})
    assert changed["not_disposable_domains"] == ["mail.example", "xn--bcher-kva.example"]
    many = [f"mail{number}.example" for number in range(1000)]
    assert company.ok("PATCH", "/v1/settings", {"not_disposable_domains": many})["not_disposable_domains"] == many


def test_whoever_has_no_plan_has_the_one_of_the_settings(company: Company) -> None:
    company.sign_up("ada")
    for plan in ("basic", "selfhosted", "disabled"):
        company.ok("PATCH", "/v1/settings", {"post_trial_plan": plan})
        assert company.ok("GET", "/v1/users/ada")["plan"] == plan


def test_a_whop_company_is_one_companys(company: Company, other: Company) -> None:
    company.ok("PATCH", "/v1/settings", {"whop_company_id": f"biz_{company.id.hex}"})
    taken = other.api.send("PATCH", "/v1/settings", {"whop_company_id": f"biz_{company.id.hex}"})
    problem(taken, 409, "whop_company_taken")
    company.ok("PATCH", "/v1/settings", {"whop_company_id": None})
    other.ok("PATCH", "/v1/settings", {"whop_company_id": f"biz_{company.id.hex}"})


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"trial_plan": "nobodys"}, "trial_plan"),
        ({"trial_plan": "disabled"}, "trial_plan"),
        ({"trial_plan": None}, "trial_plan"),
        ({"trial_plan": "a\u0000"}, "trial_plan"),
        ({"post_trial_plan": "nobodys"}, "post_trial_plan"),
        ({"post_trial_plan": "Disabled"}, "post_trial_plan"),
        ({"trial_duration_days": -1}, "trial_duration_days"),
        ({"trial_duration_days": 3651}, "trial_duration_days"),
        ({"trial_duration_days": "5"}, "trial_duration_days"),
        ({"trial_duration_days": 1.5}, "trial_duration_days"),
        ({"trial_duration_days": True}, "trial_duration_days"),
        ({"trial_duration_days": 10**30}, "trial_duration_days"),
        ({"require_invite": "yes"}, "require_invite"),
        ({"require_invite": 1}, "require_invite"),
        ({"require_invite": None}, "require_invite"),
        ({"destination_url": None}, "destination_url"),
        ({"destination_url": "shop.example"}, "destination_url"),
        ({"destination_url": "https://user@shop.example/"}, "destination_url"),
        ({"whop_company_id": ""}, "whop_company_id"),
        ({"not_disposable_domains": None}, "not_disposable_domains"),
        ({"not_disposable_domains": "mail.example"}, "not_disposable_domains"),
        ({"not_disposable_domains": ["mail.example", "mail"]}, "not_disposable_domains.1"),
        ({"not_disposable_domains": ["a@mail.example"]}, "not_disposable_domains.0"),
        ({"not_disposable_domains": ["mail.example\u0000"]}, "not_disposable_domains.0"),
        ({"not_disposable_domains": [f"{number}.example" for number in range(1001)]}, "not_disposable_domains"),
        ({"updated_at": "2031-01-15T12:00:00Z"}, "updated_at"),
        ({"timezone": "UTC"}, "timezone"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_field(
    shared: Company, superuser: psycopg.Connection, change: dict[str, object], wrong: str
) -> None:
    before, settings = rows.count(superuser, shared.id), shared.ok("GET", "/v1/settings")
    assert fields(shared.api.send("PATCH", "/v1/settings", {"require_invite": True} | change)) == {wrong}
    assert rows.count(superuser, shared.id) == before
    assert shared.ok("GET", "/v1/settings") == settings
