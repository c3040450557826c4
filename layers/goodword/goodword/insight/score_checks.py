"""Checks of what growth counts: scores are recounted, milestones and prizes held against the entries that paid them."""

from collections.abc import Sequence
from typing import Final

from goodword.insight.windows import AuditCheck

_RECOUNTED = """
    SELECT public_id('usr', coalesce(known.user_id, again.user_id)) || ' on ' || coalesce(known.board, again.board)
        || ': ' || coalesce(known.qualified, 0) || ' qualified, ' || coalesce(known.points, 0) || ' points, '
        || coalesce(known.reserved, 0) || ' reserved; recounted ' || coalesce(again.qualified, 0) || ', '
        || coalesce(again.points, 0) || ', ' || coalesce(again.reserved, 0)
    FROM (
        SELECT * FROM scores WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
    ) AS known
    FULL JOIN (
        SELECT user_id, board, sum(qualified) AS qualified, sum(points) AS points, sum(reserved) AS reserved,
            max(qualified_at) AS last_qualified_at
        FROM (
            SELECT r.referrer_id AS user_id, of.board, 1 AS qualified, 0 AS points, 0 AS reserved, r.qualified_at
            FROM referrals AS r
            JOIN program_versions AS own ON own.company_id = r.company_id AND own.version = r.program_version
            CROSS JOIN LATERAL (VALUES ('all'), (r.campaign_id::text),
                (to_char(r.qualified_at AT TIME ZONE own.timezone, 'YYYY-MM'))) AS of (board)
            WHERE r.company_id = %(company_id)s AND r.referrer_id BETWEEN %(first)s AND %(last)s AND r.counts
            UNION ALL
            SELECT a.user_id, of.board, 0,
                CASE WHEN a.status = 'paid' AND a.event NOT IN ('welcome', 'l2') THEN a.points - a.reversed_points
                    ELSE 0 END,
                CASE WHEN of.reserves AND a.status <> 'rejected' THEN a.points - a.reversed_points ELSE 0 END, NULL
            FROM awards AS a
            JOIN referrals AS r ON r.company_id = a.company_id AND r.id = a.referral_id
            JOIN program_versions AS own ON own.company_id = r.company_id AND own.version = r.program_version
            CROSS JOIN LATERAL (VALUES ('all', true), (r.campaign_id::text, true),
                (to_char(a.created_at AT TIME ZONE own.timezone, 'YYYY-MM'), false)
            ) AS of (board, reserves)
            WHERE a.company_id = %(company_id)s AND a.user_id BETWEEN %(first)s AND %(last)s
        ) AS counted
        WHERE board IS NOT NULL GROUP BY user_id, board
    ) AS again USING (user_id, board)
    WHERE (coalesce(known.qualified, 0), coalesce(known.points, 0), coalesce(known.reserved, 0),
            known.last_qualified_at)
        IS DISTINCT FROM
        (coalesce(again.qualified, 0), coalesce(again.points, 0), coalesce(again.reserved, 0),
            again.last_qualified_at)
    ORDER BY user_id, board LIMIT %(most)s
"""

_MILESTONES_EQUAL_ENTRIES = """
    SELECT coalesce(public_id('mil', m.milestone_id), e.reference) || ' of '
        || public_id('usr', coalesce(m.user_id, e.user_id)) || ', booked as '
        || coalesce('txn_' || m.entry_id, 'nothing') || '; of it there is ' || coalesce('txn_' || e.id, 'no entry')
    FROM (
        SELECT * FROM reached_milestones
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND entry_id IS NOT NULL
    ) AS m
    FULL JOIN (
        SELECT * FROM entries
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND type = 'MILESTONE'
    ) AS e ON e.id = m.entry_id
    WHERE (m.user_id, public_id('mil', m.milestone_id)) IS DISTINCT FROM (e.user_id, e.reference)
    ORDER BY m.milestone_id, e.id LIMIT %(most)s
"""

_PRIZES_EQUAL_ENTRIES = """
    SELECT coalesce(public_id('cam', r.campaign_id), e.reference) || ': a prize of '
        || coalesce(r.prize_points, e.delta) || ' for ' || public_id('usr', coalesce(r.user_id, e.user_id))
        || ', booked as ' || coalesce('txn_' || r.entry_id, 'nothing') || '; of it there is '
        || coalesce('txn_' || e.id, 'no entry')
    FROM (
        SELECT * FROM campaign_ranks
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND prize_points > 0
    ) AS r
    FULL JOIN (
        SELECT * FROM entries
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND type = 'CAMPAIGN_PRIZE'
    ) AS e ON e.id = r.entry_id
    WHERE (r.user_id, r.prize_points, public_id('cam', r.campaign_id)) IS DISTINCT FROM
        (e.user_id, e.delta, e.reference)
    ORDER BY r.campaign_id, e.id LIMIT %(most)s
"""

CHECKS: Final[Sequence[AuditCheck]] = (
    AuditCheck("scores_equal_recount", "users", _RECOUNTED),
    AuditCheck("rewards_equal_entries", "users", _MILESTONES_EQUAL_ENTRIES),
    AuditCheck("rewards_equal_entries", "users", _PRIZES_EQUAL_ENTRIES),
)
