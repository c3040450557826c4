"""A user in numbers: how often they come, how much they use, and what those whom they referred have earned them."""

from uuid import UUID

from psycopg import Connection

from goodword.core import query
from goodword.core.errors import NotFound
from goodword.core.fields import AnswerModel, Instant


class UserStats(AnswerModel):
    """`counts` says of every feature that was used how much, less what was returned.

    `total_data_points` is the sum of it over the features of category `data`; `total_earned_from_referrals` is what
    awards have paid to the user as a referrer, less what was taken back: no welcome, and no level 2.
    """

    last_login: Instant | None
    login_count: int
    counts: dict[str, int]
    total_data_points: int
    total_earned_from_referrals: int


# A counter of nothing may be of a use that was refused, or that was returned: only the latter was a use.
_STATS = """
    SELECT logins.last_login, coalesce(logins.login_count, 0) AS login_count, used.counts, used.total_data_points,
        (SELECT coalesce(sum(points - reversed_points), 0)::bigint FROM awards
            WHERE awards.company_id = users.company_id AND awards.user_id = users.id
                AND status = 'paid' AND event NOT IN ('welcome', 'l2')) AS total_earned_from_referrals
    FROM users
    LEFT JOIN logins ON logins.company_id = users.company_id AND logins.user_id = users.id
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_object_agg(counter.feature, counter.used_ever), '{}') AS counts,
            coalesce(sum(counter.used_ever) FILTER (WHERE features.category = 'data'), 0)::bigint AS total_data_points
        FROM usage_counters AS counter
        JOIN features ON features.company_id = counter.company_id AND features.key = counter.feature
        WHERE counter.company_id = users.company_id AND counter.user_id = users.id
            AND (counter.used_ever > 0 OR EXISTS (SELECT FROM usages
                WHERE usages.company_id = counter.company_id AND usages.user_id = counter.user_id
                    AND usages.feature = counter.feature))
    ) AS used
    WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s
"""


def of_user(connection: Connection, company_id: UUID, external_id: str) -> UserStats:
    """What a user comes to, in one statement. Raises NotFound."""
    stats = query.one(connection, UserStats, _STATS, company_id=company_id, external_id=external_id)
    if stats is None:
        raise NotFound("user_not_found", "There is no such user.")
    return stats
