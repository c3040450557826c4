"""Patterns: what a company holds against signups by itself, each with a score of its own.

A pattern stays what it is, so that a check that it raised goes on saying why; only how much it weighs may change, and
whether it counts. It is not versioned: those that are active at a signup count for it (docs/rules.md, Patterns).
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from goodword.accounts import companies
from goodword.core import domains, ids, outbox, paging, query
from goodword.core.errors import NotFound, Refused
from goodword.core.fields import (
    UNCHANGED,
    AnswerModel,
    Instant,
    LongText,
    RequestModel,
    as_address,
    as_cidr,
    given_fields,
)
from goodword.core.ids import KeyId, PatternId
from goodword.core.paging import Page, PageQuery
from goodword.fraud import expressions

PatternType = Literal["email_domain", "ip_range", "device_pattern"]
PatternMatch = Literal["exact", "cidr", "regex"]
PatternSeverity = Literal["low", "medium", "high", "critical"]

MOST_ACTIVE = 500
"""Of a company: each of them is held against every signup."""

MATCHES: Mapping[PatternType, tuple[PatternMatch, ...]] = {
    "email_domain": ("exact", "regex"),
    "ip_range": ("cidr", "exact"),
    "device_pattern": ("regex", "exact"),
}
"""How a pattern of each type may match, and first how it does where nothing is said."""

NOT_TOLD = {"value", "description"}
"""What the feed does not say: it has no free text."""

PatternValue = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]
ScoreImpact = Annotated[int, Field(ge=0, le=100)]


def _expression(text: str) -> str:
    if len(text) > expressions.LONGEST:
        raise ValueError(f"must have at most {expressions.LONGEST} characters")
    expressions.compiled(text)
    return text


_STORED: Mapping[tuple[PatternType, PatternMatch], Callable[[str], str]] = {
    ("email_domain", "exact"): domains.canonical,
    ("email_domain", "regex"): _expression,
    ("ip_range", "exact"): as_address,
    ("ip_range", "cidr"): as_cidr,
    ("device_pattern", "exact"): str,
    ("device_pattern", "regex"): _expression,
}
"""What makes a value the one that is stored. Raises ValueError for what it cannot be."""


class PatternRule(RequestModel):
    """What a pattern looks for. Each field is read by those before it."""

    type: PatternType
    match: PatternMatch | None = Field(default=None, validate_default=True)
    value: PatternValue

    @field_validator("match")
    @classmethod
    def _of_its_type(cls, match: PatternMatch | None, info: ValidationInfo) -> PatternMatch | None:
        type_: PatternType | None = info.data.get("type")
        if type_ is None:
            return match
        if match is not None and match not in MATCHES[type_]:
            raise ValueError(f"must be {' or '.join(MATCHES[type_])} for {type_}")
        return match or MATCHES[type_][0]

    @field_validator("value")
    @classmethod
    def _as_stored(cls, value: str, info: ValidationInfo) -> str:
        stored = _STORED.get((info.data.get("type"), info.data.get("match")))  # pyright: ignore[reportArgumentType] - None where these are wrong
        return stored(value) if stored else value


class NewFraudPattern(PatternRule):
    """The body of POST /v1/fraud-patterns. `severity` is a label: what counts is `score_impact`."""

    severity: PatternSeverity = "medium"
    score_impact: ScoreImpact
    description: LongText | None = None
    active: bool = True


class FraudPatternChange(RequestModel):
    """The body of PATCH /v1/fraud-patterns/{id}: what is left out stays, and so does what the pattern looks for."""

    severity: PatternSeverity = UNCHANGED
    score_impact: ScoreImpact = UNCHANGED
    description: LongText | None = None
    active: bool = UNCHANGED


class FraudPattern(AnswerModel):
    """A pattern. `value` is as it is compared: a domain in small letters, an address in its one spelling."""

    id: PatternId
    type: PatternType
    match: PatternMatch
    value: str
    severity: PatternSeverity
    score_impact: int
    description: str | None
    active: bool
    created_by: KeyId | None
    created_at: Instant
    updated_at: Instant


class FraudPatternList(Page[FraudPattern]):
    """A page of patterns, newest first."""


class FraudPatternQuery(PageQuery):
    """How GET /v1/fraud-patterns is asked."""

    after: str | None = Field(default=None, pattern=r"^pat_[0-9a-f]{32}$")


# The id was made before the first attempt: an attempt repeated after a lost connection finds its own row.
_INSERT = """
    INSERT INTO fraud_patterns (company_id, id, type, match, value, severity, score_impact, description, active,
        created_by, created_at, updated_at)
    SELECT %(company_id)s, %(id)s, %(type)s, %(match)s, %(value)s, %(severity)s, %(score_impact)s, %(description)s,
        %(active)s, %(created_by)s, clock.now, clock.now
    FROM company_now(%(company_id)s) AS clock (now)
    ON CONFLICT ON CONSTRAINT fraud_patterns_pk DO NOTHING
"""

_READ_TO_CHANGE = """
    SELECT severity, score_impact, description, active FROM fraud_patterns
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

_CHANGE = """
    UPDATE fraud_patterns SET severity = %(severity)s, score_impact = %(score_impact)s,
        description = %(description)s, active = %(active)s, updated_at = company_now(company_id)
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

_COUNT_ACTIVE = "SELECT count(*) FROM fraud_patterns WHERE company_id = %(company_id)s AND active"

_PATTERNS: LiteralString = """
    SELECT id, type, match, value, severity, score_impact, description, active, created_by, created_at, updated_at
    FROM fraud_patterns
    WHERE company_id = %(company_id)s
"""

_BY_ID: LiteralString = f"{_PATTERNS} AND id = %(id)s"

_PAGE: LiteralString = f"""{_PATTERNS}
        AND (%(after)s::uuid IS NULL OR (created_at, id) < (
            SELECT created_at, id FROM fraud_patterns WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
"""  # noqa: S608 - one head for both

_IS_PATTERN = "SELECT 1 FROM fraud_patterns WHERE company_id = %(company_id)s AND id = %(after)s"


def create(
    connection: Connection, company_id: UUID, pattern_id: UUID, key_id: UUID, new: NewFraudPattern
) -> FraudPattern:
    """Write a pattern, which counts from the next signup on.

    One that there is already is a violated constraint, by name. Raises Refused for one active pattern too many.
    Locks: the company.
    """
    companies.raise_patterns_version(connection, company_id)
    row = {**new.model_dump(), "company_id": company_id, "id": pattern_id, "created_by": key_id}
    connection.execute(_INSERT, row)
    if new.active:
        _refuse_too_many(connection, company_id)
    return _announced(connection, company_id, pattern_id, pattern_id, "fraud_pattern.created")


def change(
    connection: Connection, company_id: UUID, pattern_id: UUID, event_id: UUID, wanted: FraudPatternChange
) -> FraudPattern:
    """Change how much a pattern weighs, or whether it counts. Raises NotFound, and Refused as `create`.

    Locks: the company.
    """
    given = given_fields(wanted)
    if not given:
        return find(connection, company_id, pattern_id)
    companies.raise_patterns_version(connection, company_id)
    scope = {"company_id": company_id, "id": pattern_id}
    stored = connection.cursor(row_factory=dict_row).execute(_READ_TO_CHANGE, scope).fetchone()
    if stored is None:
        raise _unknown()
    connection.execute(_CHANGE, {**stored, **given, **scope})
    if given.get("active") and not stored["active"]:
        _refuse_too_many(connection, company_id)
    return _announced(connection, company_id, pattern_id, event_id, "fraud_pattern.updated")


def find(connection: Connection, company_id: UUID, pattern_id: UUID) -> FraudPattern:
    """One pattern. Raises NotFound."""
    pattern = query.one(connection, FraudPattern, _BY_ID, company_id=company_id, id=pattern_id)
    if pattern is None:
        raise _unknown()
    return pattern


def listed(connection: Connection, company_id: UUID, page: FraudPatternQuery) -> FraudPatternList:
    """A page of the company's patterns. Raises Refused for an `after` that is none of them."""
    scope = {"company_id": company_id, "after": ids.parse("pat", page.after) if page.after else None}
    patterns = query.every(connection, FraudPattern, _PAGE, **scope, limit=page.limit)
    if page.after and not patterns:
        paging.refuse_unknown(connection, _IS_PATTERN, "is no pattern of this company", **scope)
    return FraudPatternList.of(patterns, page.limit)


def _unknown() -> NotFound:
    return NotFound("fraud_pattern_not_found", "There is no such pattern.")


def _refuse_too_many(connection: Connection, company_id: UUID) -> None:
    """Needs: the company held since before the pattern was written, so that nobody else counts meanwhile."""
    counted = connection.execute(_COUNT_ACTIVE, {"company_id": company_id}).fetchone()
    if counted and counted[0] > MOST_ACTIVE:
        raise Refused("too_many_patterns", f"A company has at most {MOST_ACTIVE} active patterns.", most=MOST_ACTIVE)


def _announced(connection: Connection, company_id: UUID, pattern_id: UUID, event_id: UUID, kind: str) -> FraudPattern:
    pattern = find(connection, company_id, pattern_id)
    event = outbox.Event(kind, pattern.model_dump(mode="json", exclude=NOT_TOLD), event_id)
    outbox.announce(connection, company_id, [event], pattern.updated_at)
    return pattern
