"""What must hold of a company's books at any instant, whoever was killed in the middle of what.

`faults` names every contradiction between wallets, entries, lots, allocations and what they were booked for; right
books have none. It reads rows and shares no code with the postings it judges.
"""

from uuid import UUID

from psycopg import Connection

EARNED_BY_AWARDS = (
    "REFERRAL_REGISTERED", "REFERRAL_ACTIVATED", "REFERRAL_FIRST_PAYMENT", "REFERRAL_RECURRING", "REFERRAL_L2",
    "REFERRAL_RETAINED", "REFERRAL_CROSS_APP", "REFERRAL_WELCOME",
)  # fmt: skip

_WALLETS = """
    SELECT 'wallet ' || w.user_id || ' is not the sum of its entries'
    FROM wallets w
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(delta), 0) AS balance, coalesce(sum(debt_delta), 0) AS debt, count(*) AS entries,
            coalesce(sum(delta) FILTER (WHERE type LIKE 'REFERRAL%%' OR type = 'ADMIN_GRANT' AND delta > 0
                OR type IN ('MILESTONE', 'CAMPAIGN_PRIZE', 'IMPORT')), 0) AS earned,
            coalesce(sum(delta) FILTER (
                WHERE type LIKE 'REDEMPTION%%' OR type = 'ADMIN_GRANT' AND delta < 0), 0) AS spent,
            coalesce(sum(delta) FILTER (WHERE type = 'EXPIRY'), 0) AS expired,
            coalesce(sum(delta) FILTER (
                WHERE type IN ('REVERSAL', 'REINSTATEMENT', 'DEBT_REPAYMENT')), 0) AS reversed
        FROM entries e WHERE e.company_id = w.company_id AND e.user_id = w.user_id
    ) e ON true
    WHERE w.company_id = %(company_id)s
        AND (w.balance, w.debt, w.version, w.total_earned, w.total_spent, w.total_expired, w.total_reversed)
            IS DISTINCT FROM (e.balance, e.debt, e.entries, e.earned, e.spent, e.expired, e.reversed)
"""

_LOTS_OF_WALLETS = """
    SELECT 'wallet ' || w.user_id || ' is not the sum of its lots'
    FROM wallets w
    WHERE w.company_id = %(company_id)s AND w.balance <> (
        SELECT coalesce(sum(remaining), 0) FROM lots l WHERE l.company_id = w.company_id AND l.user_id = w.user_id)
"""

_NEXT_EXPIRY = """
    SELECT 'wallet ' || w.user_id || ' expects its next expiry too late'
    FROM wallets w
    WHERE w.company_id = %(company_id)s AND coalesce(w.next_expiry_at, 'infinity') > (
        SELECT min(expires_at) FROM lots l
        WHERE l.company_id = w.company_id AND l.user_id = w.user_id AND l.remaining > 0)
"""

_RUNNING = """
    SELECT 'entry ' || id || ' does not follow the one before it'
    FROM (
        SELECT id, version, balance_after, debt_after, row_number() OVER versions AS position,
            sum(delta) OVER versions AS balance, sum(debt_delta) OVER versions AS debt
        FROM entries WHERE company_id = %(company_id)s
        WINDOW versions AS (PARTITION BY user_id ORDER BY version)
    ) AS running
    WHERE (version, balance_after, debt_after) IS DISTINCT FROM (position, balance, debt)
"""

_EARNINGS = """
    SELECT 'entry ' || e.id || ' has not its one lot'
    FROM entries e LEFT JOIN lots l ON l.company_id = e.company_id AND l.id = e.id
    WHERE e.company_id = %(company_id)s AND CASE
        WHEN e.delta > 0 AND e.type <> 'REDEMPTION_REFUND'
            THEN (l.amount, l.user_id) IS DISTINCT FROM (e.delta, e.user_id)
        ELSE l.id IS NOT NULL
    END
"""

_OUTFLOWS = """
    SELECT 'entry ' || e.id || ' is not what was taken from lots, or given back'
    FROM entries e LEFT JOIN lots l ON l.company_id = e.company_id AND l.id = e.id
    WHERE e.company_id = %(company_id)s AND l.id IS NULL AND -e.delta <> (
        SELECT coalesce(sum(amount), 0) FROM allocations a WHERE a.company_id = e.company_id AND a.entry_id = e.id)
"""

_REMAINING = """
    SELECT 'lot ' || l.id || ' has not what its allocations left'
    FROM lots l
    WHERE l.company_id = %(company_id)s AND l.amount - l.remaining <> (
        SELECT coalesce(sum(amount), 0) FROM allocations a WHERE a.company_id = l.company_id AND a.lot_id = l.id)
"""

_TERMS = """
    SELECT 'entry ' || e.id
        || CASE e.type WHEN 'EXPIRY' THEN ' let expire what had not expired' ELSE ' took what had expired' END
    FROM allocations a
    JOIN entries e ON e.company_id = a.company_id AND e.id = a.entry_id
    JOIN lots l ON l.company_id = a.company_id AND l.id = a.lot_id
    WHERE a.company_id = %(company_id)s AND a.amount > 0 AND (e.type = 'EXPIRY') <> (l.expires_at <= e.effective_at)
"""

_TAKEN_BACK = """
    SELECT 'user ' || user_id || ' has more of ' || reference || ' taken back than given, or given back than taken'
    FROM (
        SELECT user_id, reference,
            coalesce(sum(debt_delta - delta) FILTER (WHERE type = 'REVERSAL'), 0) AS taken,
            coalesce(sum(delta) FILTER (WHERE type = 'REINSTATEMENT'), 0) AS given_back,
            coalesce(sum(delta) FILTER (WHERE delta > 0 AND type <> 'REDEMPTION_REFUND'), 0) AS given
        FROM entries WHERE company_id = %(company_id)s GROUP BY user_id, reference
    ) AS sums
    WHERE taken > given OR given_back > taken
"""

_REPAYMENTS = """
    SELECT 'entry ' || repaid.id || ' repays no debt out of the points that came in before it'
    FROM entries repaid
    LEFT JOIN entries e ON e.company_id = repaid.company_id AND 'txn_' || e.id = repaid.reference
    WHERE repaid.company_id = %(company_id)s AND repaid.type = 'DEBT_REPAYMENT'
        AND (repaid.delta = repaid.debt_delta AND repaid.delta < 0 AND e.user_id = repaid.user_id AND e.delta > 0
            AND e.version < repaid.version AND e.effective_at = repaid.effective_at) IS NOT TRUE
"""

_AWARDS = """
    SELECT coalesce('award ' || a.id, 'entry ' || e.id) || ': a booked award and its one entry do not agree'
    FROM (SELECT * FROM awards WHERE company_id = %(company_id)s AND entry_id IS NOT NULL) a
    FULL JOIN (
        SELECT * FROM entries WHERE company_id = %(company_id)s AND type = ANY (%(award_types)s)
    ) e ON e.id = a.entry_id
    WHERE (a.user_id, a.points, public_id('awd', a.id)) IS DISTINCT FROM (e.user_id, e.delta, e.reference)
"""

_STATUSES = """
    SELECT 'award ' || id || ' is ' || status || ', which is not what its points say'
    FROM awards
    WHERE company_id = %(company_id)s AND NOT CASE status
        WHEN 'paid' THEN entry_id IS NOT NULL AND reversed_points < points
        WHEN 'reversed' THEN reversed_points = points
        WHEN 'rejected' THEN entry_id IS NULL
        ELSE entry_id IS NULL OR adjustments > 0 -- was paid, and waits again (decision 15)
    END
"""

# What a paid award still gives is what was booked for it; one that waits again gives nothing. Points that had expired
# could be neither taken nor owed.
_AWARDS_TAKEN_BACK = """
    SELECT coalesce('award ' || a.id, booked.reference) || ': what is left of an award is not what its entries come to'
    FROM (SELECT * FROM awards WHERE company_id = %(company_id)s AND entry_id IS NOT NULL) a
    FULL JOIN (
        SELECT reference, user_id, sum(delta - debt_delta) AS points, sum((
            SELECT coalesce(sum(amount), 0) FROM allocations x JOIN entries xe
                ON xe.company_id = x.company_id AND xe.id = x.entry_id AND xe.type = 'EXPIRY'
            WHERE x.company_id = e.company_id AND x.lot_id = e.id)) AS expired
        FROM entries e
        WHERE company_id = %(company_id)s AND reference ~ '^awd_[0-9a-f]{32}$'
        GROUP BY reference, user_id
    ) booked ON booked.reference = public_id('awd', a.id) AND booked.user_id = a.user_id
    WHERE a.id IS NULL OR booked.points IS NULL
        OR NOT booked.points - CASE WHEN a.status IN ('pending', 'held') THEN 0 ELSE a.points - a.reversed_points END
            BETWEEN 0 AND booked.expired
"""

_REDEMPTIONS = """
    SELECT coalesce('redemption ' || r.id, 'entry ' || e.id) || ': a redemption and its one entry do not agree'
    FROM (SELECT * FROM redemptions WHERE company_id = %(company_id)s) r
    FULL JOIN (
        SELECT * FROM entries
        WHERE company_id = %(company_id)s AND type IN ('REDEMPTION_QUOTA', 'REDEMPTION_UNLOCK', 'REDEMPTION_REWARD')
    ) e ON e.id = r.entry_id
    WHERE (r.user_id, -r.cost_points, public_id('red', r.id)) IS DISTINCT FROM (e.user_id, e.delta, e.reference)
"""

_REFUNDS = """
    SELECT coalesce('redemption ' || r.id, 'entry ' || e.id) || ': a refund and its one entry do not agree'
    FROM (SELECT * FROM redemptions WHERE company_id = %(company_id)s AND status IN ('refunded', 'failed')) r
    FULL JOIN (SELECT * FROM entries WHERE company_id = %(company_id)s AND type = 'REDEMPTION_REFUND') e
        ON e.reference = public_id('red', r.id)
    WHERE (r.user_id, r.cost_points, coalesce(r.refunded_at, r.failed_at))
        IS DISTINCT FROM (e.user_id, e.delta, e.effective_at)
"""

_REFILLED = """
    SELECT 'redemption ' || id || ' did not give back into the lots it took from'
    FROM (
        SELECT r.id, a.lot_id, sum(a.amount) AS kept FROM redemptions r
        JOIN entries e ON e.company_id = r.company_id AND e.reference = public_id('red', r.id)
        JOIN allocations a ON a.company_id = e.company_id AND a.entry_id = e.id
        WHERE r.company_id = %(company_id)s AND r.status IN ('refunded', 'failed') GROUP BY r.id, a.lot_id
    ) AS by_lot
    WHERE kept <> 0
"""

_QUOTA = """
    SELECT coalesce('redemption ' || r.id, 'quota ' || q.redemption_id) || ': a redemption and its quota do not agree'
    FROM (
        SELECT r.*, o.quantity * r.quantity AS bought FROM redemptions r
        JOIN redemption_options o ON o.company_id = r.company_id AND o.id = r.option_id
        WHERE r.company_id = %(company_id)s AND r.kind = 'quota'
    ) r
    FULL JOIN (SELECT * FROM quota_grants WHERE company_id = %(company_id)s) q ON q.redemption_id = r.id
    WHERE (r.user_id, r.bought, r.refunded_at) IS DISTINCT FROM (q.user_id, q.quantity, q.ended_at)
"""

_UNLOCKS = """
    SELECT coalesce('redemption ' || r.id, 'grant ' || g.id) || ': a redemption and its grant do not agree'
    FROM (
        SELECT r.*, o.plan, o.days * r.quantity * 86400 AS bought FROM redemptions r
        JOIN redemption_options o ON o.company_id = r.company_id AND o.id = r.option_id
        WHERE r.company_id = %(company_id)s AND r.kind = 'unlock'
    ) r
    FULL JOIN (
        SELECT * FROM access_grants WHERE company_id = %(company_id)s AND source = 'redemption'
    ) g ON g.redemption_id = r.id
    WHERE (r.user_id, r.plan, r.bought) IS DISTINCT FROM (g.user_id, g.plan_id, g.granted_seconds)
        OR (r.status = 'refunded' AND EXISTS (
            SELECT FROM grant_intervals i WHERE i.company_id = g.company_id AND i.grant_id = g.id
                AND i.ends_at > r.refunded_at))
"""

_USAGES = """
    SELECT 'user ' || coalesce(c.user_id, u.user_id) || ' has not used what the counter says'
    FROM (SELECT * FROM usage_counters WHERE company_id = %(company_id)s) c
    FULL JOIN (
        SELECT user_id, feature, sum(quantity - returned) AS used_ever FROM usages
        WHERE company_id = %(company_id)s GROUP BY 1, 2
    ) u USING (user_id, feature)
    WHERE coalesce(c.used_ever, 0) <> coalesce(u.used_ever, 0)
    UNION ALL
    SELECT 'quota ' || q.redemption_id || ' is not used as its uses say'
    FROM quota_grants q
    WHERE q.company_id = %(company_id)s AND q.used <> (
        SELECT coalesce(sum(u.quantity - u.returned), 0) FROM quota_uses u
        WHERE u.company_id = q.company_id AND u.redemption_id = q.redemption_id)
    UNION ALL
    SELECT 'use ' || u.id || ' is not what it took and what was returned of it'
    FROM usages u
    WHERE u.company_id = %(company_id)s AND (
        u.quantity - u.from_allowance <> (SELECT coalesce(sum(q.quantity), 0) FROM quota_uses q
            WHERE q.company_id = u.company_id AND q.usage_id = u.id)
        OR u.returned <> (SELECT coalesce(sum(r.quantity), 0) FROM usage_returns r
            WHERE r.company_id = u.company_id AND r.usage_id = u.id))
"""

# What a board says is what a recount of referrals and awards says, and the same is reserved under a campaign's cap.
_SCORES = """
    (WITH counted AS (
        SELECT r.referrer_id AS user_id, of.board, count(*) AS qualified, 0 AS points, 0 AS reserved,
            max(r.qualified_at) AS last_qualified_at
        FROM referrals r
        JOIN program_versions v ON v.company_id = r.company_id AND v.version = r.program_version
        CROSS JOIN LATERAL (VALUES ('all'), (r.campaign_id::text),
            (to_char(r.qualified_at AT TIME ZONE (v.program ->> 'timezone'), 'YYYY-MM'))) AS of (board)
        WHERE r.company_id = %(company_id)s AND r.stage IN ('qualified', 'retained') AND NOT is_flagged(r.risk)
            AND of.board IS NOT NULL
        GROUP BY 1, 2
        UNION ALL
        SELECT a.user_id, of.board, 0, sum(CASE WHEN a.status = 'paid' AND a.event NOT IN ('welcome', 'l2')
                THEN a.points - a.reversed_points ELSE 0 END),
            sum(CASE WHEN a.status <> 'rejected' AND of.reserves THEN a.points - a.reversed_points ELSE 0 END), NULL
        FROM awards a
        JOIN referrals r ON r.company_id = a.company_id AND r.id = a.referral_id
        JOIN program_versions v ON v.company_id = r.company_id AND v.version = r.program_version
        CROSS JOIN LATERAL (VALUES ('all', true), (r.campaign_id::text, true),
            (to_char(a.created_at AT TIME ZONE (v.program ->> 'timezone'), 'YYYY-MM'), false)) AS of (board, reserves)
        WHERE a.company_id = %(company_id)s AND of.board IS NOT NULL
        GROUP BY 1, 2
    ), recounted AS (
        SELECT user_id, board, sum(qualified) AS qualified, sum(points) AS points, sum(reserved) AS reserved,
            max(last_qualified_at) AS last_qualified_at
        FROM counted GROUP BY 1, 2
    )
    SELECT 'score of ' || coalesce(s.user_id, r.user_id) || ' on ' || coalesce(s.board, r.board) || ' is no recount'
    FROM (SELECT * FROM scores WHERE company_id = %(company_id)s) s FULL JOIN recounted r USING (user_id, board)
    WHERE (coalesce(s.qualified, 0), coalesce(s.points, 0), coalesce(s.reserved, 0), s.last_qualified_at)
        IS DISTINCT FROM
        (coalesce(r.qualified, 0), coalesce(r.points, 0), coalesce(r.reserved, 0), r.last_qualified_at)
    UNION ALL
    SELECT 'campaign ' || c.id || ' does not reserve what its awards do'
    FROM campaigns c
    WHERE c.company_id = %(company_id)s AND c.points_cap IS NOT NULL AND c.reserved_points <> (
        SELECT coalesce(sum(reserved), 0) FROM scores s WHERE s.company_id = c.company_id AND s.board = c.id::text))
"""

_MILESTONES = """
    SELECT coalesce('milestone ' || m.milestone_id, 'entry ' || e.id) || ': a milestone and its entry do not agree'
    FROM (SELECT * FROM reached_milestones WHERE company_id = %(company_id)s AND entry_id IS NOT NULL) m
    FULL JOIN (
        SELECT * FROM entries
        WHERE company_id = %(company_id)s AND type = 'MILESTONE' AND reference ~ '^mil_[0-9a-f]{32}$'
    ) e ON e.id = m.entry_id
    WHERE (m.user_id, public_id('mil', m.milestone_id), public_id('usr', m.user_id))
        IS DISTINCT FROM (e.user_id, e.reference, e.occasion)
    UNION ALL
    SELECT coalesce('milestone ' || m.milestone_id, 'grant ' || g.id) || ': a milestone and its grant do not agree'
    FROM (SELECT * FROM reached_milestones WHERE company_id = %(company_id)s AND grant_id IS NOT NULL) m
    FULL JOIN (SELECT * FROM access_grants WHERE company_id = %(company_id)s AND source = 'milestone') g
        ON g.id = m.grant_id
    WHERE (m.user_id, m.milestone_id) IS DISTINCT FROM (g.user_id, g.milestone_id)
"""

_PRIZES = """
    SELECT coalesce('prize of ' || r.user_id, 'entry ' || e.id) || ': a prize and its entry do not agree'
    FROM (SELECT * FROM campaign_ranks WHERE company_id = %(company_id)s AND prize_points > 0) r
    FULL JOIN (
        SELECT * FROM entries
        WHERE company_id = %(company_id)s AND type = 'CAMPAIGN_PRIZE' AND reference ~ '^cam_[0-9a-f]{32}$'
    ) e ON e.id = r.entry_id
    WHERE (r.user_id, r.prize_points, public_id('cam', r.campaign_id)) IS DISTINCT FROM
        (e.user_id, e.delta, e.reference)
"""

_CHECKS = (
    _WALLETS, _LOTS_OF_WALLETS, _NEXT_EXPIRY, _RUNNING, _EARNINGS, _OUTFLOWS, _REMAINING, _TERMS, _TAKEN_BACK,
    _REPAYMENTS, _AWARDS, _STATUSES, _AWARDS_TAKEN_BACK, _REDEMPTIONS, _REFUNDS, _REFILLED, _QUOTA, _UNLOCKS,
    _USAGES, _SCORES, _MILESTONES, _PRIZES,
)  # fmt: skip
_FAULTS = " UNION ALL ".join(_CHECKS)


def faults(superuser: Connection, company_id: UUID) -> list[str]:
    """Every contradiction in a company's books; none in right ones."""
    scope = {"company_id": company_id, "award_types": list(EARNED_BY_AWARDS)}
    return [fault for (fault,) in superuser.execute(_FAULTS, scope)]
