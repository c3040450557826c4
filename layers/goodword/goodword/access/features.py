"""Features: what can be limited, in words of the company's own. A new one is a row; none is deleted.

What a limit means hangs on how a feature is counted and when it is reset, so neither changes once it is in use.
"""

import re
from typing import Annotated, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import Field, StringConstraints

from goodword.access.entitlements import FEATURE_KEY
from goodword.core import clock, outbox, paging, query
from goodword.core.errors import Conflict, NotFound, Refused
from goodword.core.fields import (
    MOST_AT_ONCE,
    UNCHANGED,
    AnswerModel,
    Instant,
    LongText,
    RequestModel,
    Text,
    given_fields,
)
from goodword.core.paging import Page, PageQuery

FeatureId = Annotated[str, StringConstraints(pattern=FEATURE_KEY)]
LimitValue = Annotated[int, Field(ge=0, le=MOST_AT_ONCE)]
"""How much of a feature; null beside it is unlimited, 0 is off, any other number turns a boolean on."""

Category = Literal["data", "ai", "export", "integration"]
LimitType = Literal["count", "boolean", "quota"]
ResetPeriod = Literal["never", "daily", "monthly"]


class NewFeature(RequestModel):
    """The body of POST /v1/features. A quota is a count that apps show as a contingent."""

    id: FeatureId
    name: Text
    description: LongText | None = None
    category: Category = "data"
    limit_type: LimitType = "count"
    reset_period: ResetPeriod = "never"
    default_limit: LimitValue | None = None
    active: bool = True


class FeatureChange(RequestModel):
    """The body of PATCH /v1/features/{feature}: what is left out stays."""

    name: Text = UNCHANGED
    description: LongText | None = None
    category: Category = UNCHANGED
    limit_type: LimitType = UNCHANGED
    reset_period: ResetPeriod = UNCHANGED
    default_limit: LimitValue | None = None
    active: bool = UNCHANGED


class Feature(AnswerModel):
    """A feature, with the limit that it has where nothing else says one."""

    id: str
    name: str
    description: str | None
    category: Category
    limit_type: LimitType
    reset_period: ResetPeriod
    default_limit: int | None
    active: bool
    created_at: Instant
    updated_at: Instant


class FeatureList(Page[Feature]):
    """A page of features, in the order in which entitlements list them."""


class FeatureQuery(PageQuery):
    """How GET /v1/features is asked."""

    after: str | None = Field(default=None, pattern=FEATURE_KEY)


_READ = """
    SELECT key AS id, name, description, category, limit_type, reset AS reset_period, default_limit, active, created_at,
        updated_at
    FROM features
    WHERE company_id = %(company_id)s AND (%(id)s::text IS NULL OR key = %(id)s)
        AND (%(after)s::text IS NULL OR (sort_order, key) > (
            SELECT sort_order, key FROM features WHERE company_id = %(company_id)s AND key = %(after)s))
    ORDER BY sort_order, key LIMIT %(limit)s + 1
"""

_INSERT = """
    INSERT INTO features AS stored (company_id, key, name, description, category, limit_type, reset, default_limit,
        active, sort_order, creation, created_at, updated_at)
    SELECT %(company_id)s, %(id)s, %(name)s, %(description)s, %(category)s, %(limit_type)s, %(reset_period)s,
        %(default_limit)s, %(active)s, coalesce(max(sort_order), 0) + 1, %(creation)s, %(at)s, %(at)s
    FROM features WHERE company_id = %(company_id)s
    ON CONFLICT ON CONSTRAINT features_pk DO UPDATE SET creation = excluded.creation
        WHERE stored.creation = excluded.creation
    RETURNING key
"""

# Whoever uses a feature for the first time waits for this lock, by a foreign key, and uses what is written here.
_HOLD = """
    SELECT name, description, category, limit_type, reset AS reset_period, default_limit, active
    FROM features WHERE company_id = %(company_id)s AND key = %(id)s FOR UPDATE
"""

_IS_IN_USE = """
    SELECT EXISTS (SELECT FROM usage_counters
            WHERE company_id = %(company_id)s AND feature = %(id)s AND used_ever > 0)
        OR EXISTS (SELECT FROM quota_grants WHERE company_id = %(company_id)s AND feature = %(id)s)
"""

_CHANGE = """
    UPDATE features SET name = %(name)s, description = %(description)s, category = %(category)s,
        limit_type = %(limit_type)s, reset = %(reset_period)s, default_limit = %(default_limit)s, active = %(active)s,
        updated_at = %(at)s
    WHERE company_id = %(company_id)s AND key = %(id)s
"""

_EXISTS = "SELECT 1 FROM features WHERE company_id = %(company_id)s AND key = %(id)s"

_AFTER_EXISTS = "SELECT 1 FROM features WHERE company_id = %(company_id)s AND key = %(after)s"


def create(connection: Connection, company_id: UUID, event_id: UUID, new: NewFeature) -> Feature:
    """Write a new feature, listed after the others. Raises Conflict for an id that is taken."""
    at = clock.company_now(connection, company_id)
    values = {**new.model_dump(), "company_id": company_id, "creation": event_id, "at": at}
    if connection.execute(_INSERT, values).fetchone() is None:
        raise Conflict("feature_exists", "There is a feature with this id.")
    feature = find(connection, company_id, new.id)
    _announce(connection, company_id, event_id, "feature.created", feature)
    return feature


def change(connection: Connection, company_id: UUID, feature_id: str, event_id: UUID, wanted: FeatureChange) -> Feature:
    """Change a feature. Raises NotFound, and Refused for how one that is in use is counted or reset."""
    scope = {"company_id": company_id, "id": _possible(feature_id)}
    stored = connection.cursor(row_factory=dict_row).execute(_HOLD, scope).fetchone()
    if stored is None:
        raise _not_found()
    given = given_fields(wanted)
    if not given:
        return find(connection, company_id, feature_id)
    is_counted_otherwise = any(given.get(name, stored[name]) != stored[name] for name in ("limit_type", "reset_period"))
    if is_counted_otherwise and connection.execute(_IS_IN_USE, scope).fetchone() == (True,):
        raise Refused("feature_in_use", "limit_type and reset_period of a feature that was used stay as they are.")
    connection.execute(_CHANGE, {**stored, **given, **scope, "at": clock.company_now(connection, company_id)})
    feature = find(connection, company_id, feature_id)
    _announce(connection, company_id, event_id, "feature.updated", feature)
    return feature


def find(connection: Connection, company_id: UUID, feature_id: str) -> Feature:
    """One feature. Raises NotFound."""
    values = {"company_id": company_id, "id": _possible(feature_id), "after": None, "limit": 1}
    feature = query.one(connection, Feature, _READ, **values)
    if feature is None:
        raise _not_found()
    return feature


def listed(connection: Connection, company_id: UUID, page: FeatureQuery) -> FeatureList:
    """A page of the company's features. Raises Refused for an `after` that is none of them."""
    values = {"company_id": company_id, "after": page.after}
    features = query.every(connection, Feature, _READ, id=None, limit=page.limit, **values)
    if page.after and not features:
        paging.refuse_unknown(connection, _AFTER_EXISTS, "is no feature of this company", **values)
    return FeatureList.of(features, page.limit)


def known(connection: Connection, company_id: UUID, feature_id: str) -> str:
    """The id of a feature, as it stands in a path. Raises NotFound where there is none."""
    possible = _possible(feature_id)
    if connection.execute(_EXISTS, {"company_id": company_id, "id": possible}).fetchone() is None:
        raise _not_found()
    return possible


def _possible(feature_id: str) -> str:
    return feature_id if re.fullmatch(FEATURE_KEY, feature_id) else ""  # Postgres would refuse a NUL


def _not_found() -> NotFound:
    return NotFound("feature_unknown", "There is no such feature.")


def _announce(connection: Connection, company_id: UUID, event_id: UUID, kind: str, feature: Feature) -> None:
    data = feature.model_dump(mode="json", exclude={"name", "description"})  # the feed has no free text
    outbox.announce(connection, company_id, [outbox.Event(kind, data, event_id)], feature.updated_at)
