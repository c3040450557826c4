"""Statements: what came into a wallet and went out of it over a period, by the instants at which it took effect.

opening + earned - spent - expired - reversed = closing: outflows are positive here. `spent` is negative where more was
refunded than spent, `reversed` where more was reinstated than taken back.

A period holds `from` and not `to`, so adjoining statements add up, and a statement closes with the balance of the
instant before its `to`. What has expired counts at its instant, whether or not it has been booked.
"""

from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import Field

from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import AnswerModel, GivenMoment, Instant, RequestModel, moment


class StatementQuery(RequestModel):
    """How GET …/statement is asked: days and instants, where a day stands for its start in the company's time zone.

    Without `to`, or with one in the future, the period ends just after now: what takes effect now is in it.
    """

    from_: GivenMoment = Field(alias="from")
    to: GivenMoment | None = None


class Statement(AnswerModel):
    """One user's period. `by_type` sums the changes of the balance by their entries' type; `entries` counts them."""

    user_id: str
    from_: Instant = Field(serialization_alias="from", validation_alias="from")
    to: Instant
    opening: int
    earned: int
    spent: int
    expired: int
    reversed: int
    closing: int
    opening_debt: int
    closing_debt: int
    by_type: dict[str, int]
    entries: int


# Every operation books due expiry first, so what is left in a lot past its expiry is what was left when it expired, and
# it will be booked as one entry per instant.
_STATEMENT = """
    WITH period AS (
        SELECT users.id,
            coalesce(%(from)s::timestamptz, first_instant(%(from_day)s::date, time_zone)) AS since,
            least(coalesce(%(to)s::timestamptz, first_instant(%(to_day)s::date, time_zone), 'infinity'),
                clock.now + interval '1 microsecond') AS until
        FROM users JOIN companies ON companies.id = users.company_id
        CROSS JOIN LATERAL (SELECT company_now(companies.id) AS now OFFSET 0) AS clock
        WHERE users.company_id = %(company_id)s AND external_id = %(external_id)s
    ), changes AS (
        SELECT type::text, entry_total(type, delta) AS total, delta, debt_delta, effective_at >= since AS within
        FROM entries, period
        WHERE company_id = %(company_id)s AND user_id = period.id AND effective_at < until
        UNION ALL
        SELECT 'EXPIRY', 'expired', -sum(remaining), 0, expires_at >= since
        FROM lots, period
        WHERE company_id = %(company_id)s AND user_id = period.id AND open AND expires_at < until
        GROUP BY expires_at, since
    )
    SELECT since AS "from", until AS "to", since > until AS backwards,
        coalesce(sum(delta) FILTER (WHERE NOT within), 0)::bigint AS opening,
        coalesce(sum(delta) FILTER (WHERE within AND total = 'earned'), 0)::bigint AS earned,
        coalesce(-sum(delta) FILTER (WHERE within AND total = 'spent'), 0)::bigint AS spent,
        coalesce(-sum(delta) FILTER (WHERE within AND total = 'expired'), 0)::bigint AS expired,
        coalesce(-sum(delta) FILTER (WHERE within AND total = 'reversed'), 0)::bigint AS reversed,
        coalesce(sum(delta), 0)::bigint AS closing,
        coalesce(sum(debt_delta) FILTER (WHERE NOT within), 0)::bigint AS opening_debt,
        coalesce(sum(debt_delta), 0)::bigint AS closing_debt,
        coalesce((
            SELECT jsonb_object_agg(type, points)
            FROM (SELECT type, sum(delta) AS points FROM changes WHERE within GROUP BY type) AS of_types
        ), '{}') AS by_type,
        count(*) FILTER (WHERE within) AS entries
    FROM period LEFT JOIN changes ON true
    GROUP BY since, until
"""


def of_user(connection: Connection, company_id: UUID, external_id: str, period: StatementQuery) -> Statement:
    """The statement of a period, in one statement of SQL. Raises NotFound, and Refused for one that ends first."""
    values = {
        "company_id": company_id,
        "external_id": external_id,
        **moment("from", period.from_),
        **moment("to", period.to),
    }
    row = connection.cursor(row_factory=dict_row).execute(_STATEMENT, values).fetchone()
    if row is None:
        raise NotFound("user_not_found", "There is no such user.")
    if row.pop("backwards"):
        raise invalid_fields(("from", "must lie neither after to nor in the future"))
    return Statement(user_id=external_id, **row)
