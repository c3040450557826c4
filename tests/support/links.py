"""Referral links as visitors follow them, and what is stored of it."""

from typing import Any, LiteralString
from urllib.parse import parse_qsl, urlsplit

import psycopg

from local.client import Answer
from tests.support import rows
from tests.support.companies import Company

REFUSALS: dict[str, LiteralString] = {
    "inactive": "UPDATE codes SET active = false WHERE company_id = %(id)s",
    "expired": "UPDATE codes SET expires_at = company_now(company_id) WHERE company_id = %(id)s",
    "used_up": "UPDATE codes SET max_uses = 3, uses = 3 WHERE company_id = %(id)s",
}


def follow(company: Company, path: str, **headers: str) -> Answer:
    """A visitor's request; underscores in header names stand for hyphens."""
    return company.browser.send("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})


def location(answer: Answer) -> tuple[str, dict[str, str]]:
    """Where a redirect leads, and its parameters."""
    assert answer.status == 302, answer.raw
    parts = urlsplit(answer.headers["location"])
    return parts._replace(query="").geturl(), dict(parse_qsl(parts.query, keep_blank_values=True))


def clicks(superuser: psycopg.Connection, company: Company) -> list[dict[str, Any]]:
    return rows.find(
        superuser, "SELECT * FROM clicks WHERE company_id = %(company_id)s ORDER BY id", company_id=company.id
    )


def refuse(superuser: psycopg.Connection, company: Company, refusal: str) -> None:
    superuser.execute(REFUSALS[refusal], {"id": company.id})


def own_destination(superuser: psycopg.Connection, company: Company, url: str) -> None:
    superuser.execute(
        "UPDATE codes SET destination_url = %(url)s WHERE company_id = %(id)s", {"url": url, "id": company.id}
    )
