"""Entitlements: what a user may use, and how much of it.

The precedence of limits is the SQL function `entitlements` alone; reading and using (`access.usage`) both ask it.
"""

import re
from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from psycopg import Connection

from goodword.core.errors import NotFound
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import GrantId

FEATURE_KEY = r"^[a-z0-9_]{1,64}$"


class Entitlement(AnswerModel):
    """One feature for one user. `limit` null is unlimited, 0 is off; `remaining` counts bought quota (`extra`) in.

    `plan` is whose limit it is, and `grant_id` the grant that gives the plan; null where there is none.
    """

    feature: str
    allowed: bool
    reason: Literal["ok", "unlimited", "limit_reached", "disabled", "feature_inactive", "feature_unknown"]
    source: Literal["restriction", "grant", "subscription", "plan", "default"] | None
    plan: str | None
    grant_id: GrantId | None
    limit: int | None
    used: int
    remaining: int | None
    extra: int
    resets_at: Instant | None


class EntitlementList(AnswerModel):
    """All features of the company for one user."""

    data: list[Entitlement]
    has_more: bool = False


_READ = """
    SELECT users.id,
        (SELECT coalesce(jsonb_agg(entitlement_json(e)), '[]')
            FROM entitlements(users.company_id, users.id, %(feature)s::text, company_now(users.company_id)) AS e)
    FROM users WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s
"""


def of_user(connection: Connection, company_id: UUID, external_id: str) -> EntitlementList:
    """Every feature for a user. Raises NotFound."""
    return EntitlementList.model_validate({"data": _read(connection, company_id, external_id, None)})


def of_feature(connection: Connection, company_id: UUID, external_id: str, feature: str) -> Entitlement:
    """One feature for a user; an unknown one is not allowed, but no error. Raises NotFound for an unknown user."""
    key = feature if re.fullmatch(FEATURE_KEY, feature) else ""  # Postgres would refuse a NUL
    entitlements = _read(connection, company_id, external_id, key)
    if entitlements:
        return Entitlement.model_validate(entitlements[0])
    return Entitlement(
        feature=feature, allowed=False, reason="feature_unknown", source=None, plan=None, grant_id=None, limit=0,
        used=0, remaining=0, extra=0, resets_at=None,
    )  # fmt: skip


def _read(
    connection: Connection, company_id: UUID, external_id: str, feature: str | None
) -> list[Mapping[str, object]]:
    row = connection.execute(
        _READ, {"company_id": company_id, "external_id": external_id, "feature": feature}
    ).fetchone()
    if row is None:
        raise NotFound("user_not_found", "There is no such user.")
    return row[1]
