"""Suspects: people who come with their referrer's phone, or from his address, to a company that looks at both."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg

from goodword.program.document import Program
from tests.support import rows
from tests.support.companies import Company
from tests.support.growth import FLAT, Referrer
from tests.support.trust import suspecting

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
PHONE, HOME, ELSEWHERE = "adas-phone", "8.8.8.8", "9.9.9.9"

WARY = suspecting(signals={"same_device": 60, "same_ip": 15, "instant_qualification": 35}, tiers=FLAT)
"""The phone is reviewed at 60, the phone and the address at 75; who pays at once besides is refused at 95."""

OpenShop = Callable[[Program], Company]


def ada_of(company: Company) -> Referrer:
    """Ada, who signs up with her phone at home; whoever comes by her code pays at NOON."""
    user = company.sign_up("ada", device_fingerprint=PHONE, ip=HOME)["user"]
    return Referrer(company, "ada", NOON, user["referral_code"])


def suspect(ada: Referrer, person: str, **fields: object) -> str:
    """Somebody who comes with Ada's phone; the id of the review."""
    ada.bring(person, device_fingerprint=PHONE, **fields)
    return review_of(ada.company, person)["id"]


def queue(company: Company, **filters: object) -> list[dict[str, Any]]:
    """The reviews, in their order."""
    asked = "&".join(f"{name}={value}" for name, value in {"limit": 100, **filters}.items())
    return company.ok("GET", f"/v1/reviews?{asked}")["data"]


def review_of(company: Company, referee: str) -> dict[str, Any]:
    """The latest review of somebody's referral."""
    return max((each for each in queue(company) if each["referee"] == referee), key=lambda each: each["created_at"])


def decide(company: Company, review_id: str, decision: str, **fields: object) -> Any:  # noqa: ANN401 - JSON
    """A decision that is taken; the review after it."""
    note = {"note": "Looked into."} if decision == "reject" else {}
    return company.ok("POST", f"/v1/reviews/{review_id}/decision", {"decision": decision, **note, **fields})


def referral_of(company: Company, referee: str) -> dict[str, Any]:
    """The referral by which somebody came."""
    (found,) = [each for each in company.ok("GET", "/v1/referrals?limit=100")["data"] if each["referee"] == referee]
    return found


def awards_for(company: Company, referee: str) -> dict[str, tuple[str, str | None]]:
    """Of the awards of somebody's referral: event, and status with why it is held or rejected."""
    referral_id, found = referral_of(company, referee)["id"], dict[str, tuple[str, str | None]]()
    for user in ("ada", referee):
        page = company.ok("GET", f"/v1/users/{user}/awards?limit=100")
        assert not page["has_more"]
        for award in page["data"]:
            if award["referral_id"] == referral_id:
                found[award["event"]] = (award["status"], award["reason"] or award["hold_reason"])
    return found


def announced(superuser: psycopg.Connection, company: Company, kind: str) -> list[dict[str, Any]]:
    """The data of all events of a kind."""
    statement = """SELECT data FROM outbox_events
        WHERE company_id = %(id)s AND type = %(kind)s ORDER BY created_at, id"""
    return [row["data"] for row in rows.find(superuser, statement, id=company.id, kind=kind)]
