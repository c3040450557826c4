"""Checks of awards and redemptions: each is held against the entries that booked it."""

from collections.abc import Sequence
from typing import Final

from goodword.insight.windows import AuditCheck

# One that was paid and has to wait again was taken back.
_AWARDS_EQUAL_ENTRIES = """
    SELECT coalesce(public_id('awd', a.id) || ': ' || a.status || ', ' || a.points || ' points for '
            || public_id('usr', a.user_id), e.reference || ': no such award')
        || ', booked as ' || coalesce('txn_' || a.entry_id, 'nothing') || '; of it there is '
        || coalesce('txn_' || e.id || ' of ' || e.delta || ' for ' || public_id('usr', e.user_id), 'no entry')
    FROM (
        SELECT *, CASE WHEN entry_id IS NOT NULL THEN user_id END AS booked_user,
            CASE WHEN entry_id IS NOT NULL THEN points END AS booked_points
        FROM awards WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
    ) AS a
    FULL JOIN (
        SELECT id, user_id, delta, reference FROM entries
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND type LIKE 'REFERRAL%%'
    ) AS e ON e.reference = public_id('awd', a.id)
    WHERE (a.entry_id, booked_user, booked_points) IS DISTINCT FROM (e.id, e.user_id, e.delta)
        OR (a.status = 'paid' AND a.points > 0 AND a.entry_id IS NULL)
        OR (a.status = 'rejected' AND a.entry_id IS NOT NULL)
        OR (a.status IN ('pending', 'held') AND a.entry_id IS NOT NULL AND a.adjustments = 0)
    ORDER BY a.id, e.id LIMIT %(most)s
"""

# Less than nothing, or more than the award gave, is never taken back of it. How much of what is due back was: that is
# not known here, for points that expired are not taken.
_REVERSALS_FIT_AWARDS = """
    SELECT t.reference || ': ' || t.taken || ' were taken back of ' || coalesce(a.points || ' points', 'no such award')
    FROM (
        SELECT reference, sum(debt_delta - delta) AS taken FROM entries
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
            AND type IN ('REVERSAL', 'REINSTATEMENT') AND reference LIKE 'awd%%'
        GROUP BY reference
    ) AS t
    LEFT JOIN (
        SELECT id, points FROM awards
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND entry_id IS NOT NULL
    ) AS a ON public_id('awd', a.id) = t.reference
    WHERE t.taken NOT BETWEEN 0 AND coalesce(a.points, -1)
    ORDER BY t.reference LIMIT %(most)s
"""

_REDEMPTIONS_EQUAL_ENTRIES = """
    SELECT coalesce(public_id('red', r.id) || ': ' || r.cost_points || ' points of ' || public_id('usr', r.user_id),
            e.reference || ': no such redemption')
        || ', booked as ' || coalesce('txn_' || r.entry_id, 'nothing') || '; of it there is '
        || coalesce('txn_' || e.id || ' of ' || e.delta || ' for ' || public_id('usr', e.user_id), 'no entry')
    FROM (
        SELECT * FROM redemptions WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
    ) AS r
    FULL JOIN (
        SELECT id, user_id, type, delta, reference FROM entries
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
            AND type IN ('REDEMPTION_QUOTA', 'REDEMPTION_UNLOCK', 'REDEMPTION_REWARD')
    ) AS e ON e.reference = public_id('red', r.id)
    WHERE (r.entry_id, r.user_id, 'REDEMPTION_' || upper(r.kind), -r.cost_points)
        IS DISTINCT FROM (e.id, e.user_id, e.type::text, e.delta)
    ORDER BY r.id, e.id LIMIT %(most)s
"""

# A refund gives back the whole price, into the very lots it was taken from; so does a reward that failed.
_REFUNDS_EQUAL_ENTRIES = """
    SELECT coalesce(public_id('red', r.id) || ': ' || r.status || ', ' || r.cost_points || ' points of '
            || public_id('usr', r.user_id), e.reference || ': no such redemption')
        || '; of a refund there is '
        || coalesce('txn_' || e.id || ' of ' || e.delta || ' for ' || public_id('usr', e.user_id), 'no entry')
    FROM (
        SELECT * FROM redemptions
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
            AND status IN ('refunded', 'failed')
    ) AS r
    FULL JOIN (
        SELECT id, user_id, delta, reference, effective_at FROM entries
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND type = 'REDEMPTION_REFUND'
    ) AS e ON e.reference = public_id('red', r.id)
    WHERE (r.user_id, r.cost_points, coalesce(r.refunded_at, r.failed_at))
            IS DISTINCT FROM (e.user_id, e.delta, e.effective_at)
        OR EXISTS (
            SELECT FROM allocations a
            WHERE a.company_id = %(company_id)s AND a.entry_id IN (r.entry_id, e.id)
            GROUP BY a.lot_id HAVING sum(a.amount) <> 0)
    ORDER BY r.id, e.id LIMIT %(most)s
"""

# Quota is opened and ended with its redemption. How much a piece was, the option does not say: it may have changed.
_QUOTA_EQUALS_REDEMPTIONS = """
    SELECT coalesce(public_id('red', r.id) || ': quota of ' || public_id('usr', r.user_id),
            public_id('red', q.redemption_id) || ': no such redemption')
        || '; there is ' || coalesce(q.quantity || ' for ' || public_id('usr', q.user_id), 'no quota')
    FROM (
        SELECT * FROM redemptions
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND kind = 'quota'
    ) AS r
    FULL JOIN (
        SELECT * FROM quota_grants WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
    ) AS q ON q.redemption_id = r.id
    WHERE (r.user_id, r.created_at, r.refunded_at) IS DISTINCT FROM (q.user_id, q.created_at, q.ended_at)
        OR q.quantity %% r.quantity <> 0
    ORDER BY r.id, q.redemption_id LIMIT %(most)s
"""

# So is the grant of an unlock, which may have ended before it was refunded.
_GRANTS_EQUAL_REDEMPTIONS = """
    SELECT coalesce(public_id('red', r.id) || ': an unlock of ' || public_id('usr', r.user_id),
            public_id('red', g.redemption_id) || ': no such redemption')
        || '; there is ' || coalesce(public_id('grt', g.id) || ' for ' || public_id('usr', g.user_id), 'no grant')
    FROM (
        SELECT * FROM redemptions
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND kind = 'unlock'
    ) AS r
    FULL JOIN (
        SELECT * FROM access_grants WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
            AND redemption_id IS NOT NULL
    ) AS g ON g.redemption_id = r.id
    WHERE (r.user_id, r.created_at) IS DISTINCT FROM (g.user_id, g.created_at)
        OR g.granted_seconds %% (86400 * r.quantity) <> 0
        OR EXISTS (
            SELECT FROM grant_intervals AS i
            WHERE i.company_id = %(company_id)s AND i.grant_id = g.id AND i.ends_at > r.refunded_at)
    ORDER BY r.id, g.id LIMIT %(most)s
"""

CHECKS: Final[Sequence[AuditCheck]] = (
    AuditCheck("awards_equal_entries", "users", _AWARDS_EQUAL_ENTRIES),
    AuditCheck("awards_equal_entries", "users", _REVERSALS_FIT_AWARDS),
    AuditCheck("redemptions_equal_entries", "users", _REDEMPTIONS_EQUAL_ENTRIES),
    AuditCheck("redemptions_equal_entries", "users", _REFUNDS_EQUAL_ENTRIES),
    AuditCheck("redemptions_equal_entries", "users", _QUOTA_EQUALS_REDEMPTIONS),
    AuditCheck("redemptions_equal_entries", "users", _GRANTS_EQUAL_REDEMPTIONS),
)
