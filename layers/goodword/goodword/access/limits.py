"""Limits of plans: how much of a feature whoever has a plan may use. Of a feature without one a plan says nothing."""

from uuid import UUID

from psycopg import Connection

from goodword.access import features, plans
from goodword.access.features import LimitValue
from goodword.access.plans import Plan
from goodword.core.fields import RequestModel


class Limit(RequestModel):
    """The body of PUT /v1/plans/{plan_id}/limits/{feature}: null is unlimited, 0 is off, any other a boolean's on."""

    limit: LimitValue | None


_PUT = """
    INSERT INTO plan_limits (company_id, plan_id, feature, limit_value)
    VALUES (%(company_id)s, %(plan_id)s, %(feature)s, %(limit)s)
    ON CONFLICT ON CONSTRAINT plan_limits_pk DO UPDATE SET limit_value = excluded.limit_value
"""

_REMOVE = """
    DELETE FROM plan_limits
    WHERE company_id = %(company_id)s AND plan_id = %(plan_id)s AND feature = %(feature)s RETURNING feature
"""


def put(connection: Connection, company_id: UUID, plan_id: str, feature: str, event_id: UUID, wanted: Limit) -> Plan:
    """Put a plan's own limit of a feature. Raises NotFound for either that is not there."""
    values = _held(connection, company_id, plan_id, feature)
    connection.execute(_PUT, {**values, "limit": wanted.limit})
    plans.touch(connection, company_id, plan_id)
    return plans.announced(connection, company_id, plan_id, event_id, "plan.updated")


def remove(connection: Connection, company_id: UUID, plan_id: str, feature: str, event_id: UUID) -> None:
    """Let a plan say nothing of a feature any more; else nothing changes. Raises NotFound, as `put`."""
    values = _held(connection, company_id, plan_id, feature)
    if connection.execute(_REMOVE, values).fetchone() is not None:
        plans.touch(connection, company_id, plan_id)
        plans.announced(connection, company_id, plan_id, event_id, "plan.updated")


def _held(connection: Connection, company_id: UUID, plan_id: str, feature: str) -> dict[str, object]:
    plans.hold(connection, company_id, plan_id)
    return {
        "company_id": company_id,
        "plan_id": plan_id,
        "feature": features.known(connection, company_id, feature),
    }
