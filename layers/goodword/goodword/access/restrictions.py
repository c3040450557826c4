"""Restrictions: what one user may use of a feature, whatever their plans say, upwards too."""

from typing import Annotated
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.access import features
from goodword.access.entitlements import FEATURE_KEY
from goodword.access.features import LimitValue
from goodword.accounts import users
from goodword.core import clock, ids, outbox, paging, query
from goodword.core.fields import AnswerModel, Instant, LongText, RequestModel
from goodword.core.ids import KeyId
from goodword.core.paging import Page, PageQuery


class NewRestriction(RequestModel):
    """The body of PUT /v1/users/{user_id}/restrictions/{feature}: null is unlimited, 0 is off."""

    limit: LimitValue | None
    reason: Annotated[LongText, Field(min_length=1)] | None = None


class Restriction(AnswerModel):
    """A restriction; `created_by` is the API key that made it first."""

    feature: str
    limit: int | None
    reason: str | None
    created_by: KeyId
    created_at: Instant
    updated_at: Instant


class RestrictionList(Page[Restriction]):
    """A page of a user's restrictions, newest first."""


class RestrictionQuery(PageQuery):
    """How GET /v1/users/{user_id}/restrictions is asked; `after` is a feature."""

    after: str | None = Field(default=None, pattern=FEATURE_KEY)


_READ = """
    SELECT feature, limit_value AS limit, reason, created_by, created_at, updated_at FROM restrictions
    WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND (%(feature)s::text IS NULL OR feature = %(feature)s)
        AND (%(after)s::text IS NULL OR (created_at, feature) < (
            SELECT created_at, feature FROM restrictions
            WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND feature = %(after)s))
    ORDER BY created_at DESC, feature DESC LIMIT %(limit)s + 1
"""

_PUT = """
    INSERT INTO restrictions (company_id, user_id, feature, limit_value, reason, created_by, created_at, updated_at)
    VALUES (%(company_id)s, %(user_id)s, %(feature)s, %(limit)s, %(reason)s, %(key_id)s, %(at)s, %(at)s)
    ON CONFLICT ON CONSTRAINT restrictions_pk DO UPDATE
        SET limit_value = excluded.limit_value, reason = excluded.reason, updated_at = excluded.updated_at
"""

_REMOVE = """
    DELETE FROM restrictions
    WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND feature = %(feature)s RETURNING feature
"""

_AFTER_EXISTS = """
    SELECT 1 FROM restrictions
    WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND feature = %(after)s
"""


def put(
    connection: Connection, company_id: UUID, external_id: str, feature: str, key_id: UUID, event_id: UUID,
    wanted: NewRestriction,
) -> Restriction:  # fmt: skip
    """Restrict a user, by an API key. Raises NotFound for a user or a feature that is not there."""
    scope = _scope(connection, company_id, external_id, feature)
    at = clock.company_now(connection, company_id)
    connection.execute(_PUT, {**scope, **wanted.model_dump(), "key_id": key_id, "at": at})
    restriction = query.one(connection, Restriction, _READ, after=None, limit=1, **scope)
    if restriction is None:
        raise LookupError(f"no restriction of {feature}")
    data = {"user_id": external_id, "feature": feature, "limit": wanted.limit, "by": ids.public("key", key_id)}
    outbox.announce(connection, company_id, [outbox.Event("restriction.updated", data, event_id)], at)
    return restriction


def remove(connection: Connection, company_id: UUID, external_id: str, feature: str, event_id: UUID) -> None:
    """Let a user's plans decide again; where there is no restriction, nothing changes. Raises NotFound, as `put`."""
    scope = _scope(connection, company_id, external_id, feature)
    if connection.execute(_REMOVE, scope).fetchone() is not None:
        removed = outbox.Event("restriction.removed", {"user_id": external_id, "feature": feature}, event_id)
        outbox.announce(connection, company_id, [removed], clock.company_now(connection, company_id))


def of_user(connection: Connection, company_id: UUID, external_id: str, page: RestrictionQuery) -> RestrictionList:
    """A page of a user's restrictions. Raises NotFound, and Refused for an `after` that is none of them."""
    user = users.find(connection, company_id, external_id)
    values = {"company_id": company_id, "user_id": user.id, "after": page.after}
    restrictions = query.every(connection, Restriction, _READ, feature=None, limit=page.limit, **values)
    if page.after and not restrictions:
        paging.refuse_unknown(connection, _AFTER_EXISTS, "is no restriction of this user", **values)
    return RestrictionList.of(restrictions, page.limit)


def _scope(connection: Connection, company_id: UUID, external_id: str, feature: str) -> dict[str, UUID | str]:
    return {
        "company_id": company_id,
        "user_id": users.find(connection, company_id, external_id).id,
        "feature": features.known(connection, company_id, feature),
    }
