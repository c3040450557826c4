"""Checks of wallets and lots: each is derived again from entries and allocations, and compared."""

from collections.abc import Sequence
from typing import Final

from goodword.insight.windows import AuditCheck

_WALLET_EQUALS_ENTRIES = """
    SELECT public_id('usr', user_id) || ': ' || what || ' is ' || coalesce(stored::text, 'missing')
        || ', by its entries ' || derived
    FROM (SELECT * FROM wallets WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s) AS w
    FULL JOIN (
        SELECT user_id, sum(delta) AS balance, sum(debt_delta) AS debt, max(version) AS version,
            sum(delta) FILTER (WHERE entry_total(type, delta) = 'earned') AS earned,
            sum(delta) FILTER (WHERE entry_total(type, delta) = 'spent') AS spent,
            sum(delta) FILTER (WHERE entry_total(type, delta) = 'expired') AS expired,
            sum(delta) FILTER (WHERE entry_total(type, delta) = 'reversed') AS reversed
        FROM entries WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s GROUP BY user_id
    ) AS e USING (user_id)
    CROSS JOIN LATERAL (VALUES
        ('balance', w.balance::numeric, coalesce(e.balance, 0)), ('debt', w.debt, coalesce(e.debt, 0)),
        ('total_earned', w.total_earned, coalesce(e.earned, 0)), ('total_spent', w.total_spent, coalesce(e.spent, 0)),
        ('total_expired', w.total_expired, coalesce(e.expired, 0)),
        ('total_reversed', w.total_reversed, coalesce(e.reversed, 0)), ('version', w.version, coalesce(e.version, 0))
    ) AS each (what, stored, derived)
    WHERE stored IS DISTINCT FROM derived
    ORDER BY user_id LIMIT %(most)s
"""

_WALLET_EQUALS_LOTS = """
    SELECT public_id('usr', user_id) || ': balance is ' || coalesce(w.balance::text, 'missing') || ', its lots hold '
        || coalesce(l.remaining, 0)
    FROM (
        SELECT user_id, balance FROM wallets
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
    ) AS w
    FULL JOIN (
        SELECT user_id, sum(remaining) AS remaining FROM lots
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND open GROUP BY user_id
    ) AS l USING (user_id)
    WHERE w.balance IS DISTINCT FROM coalesce(l.remaining, 0)
    ORDER BY user_id LIMIT %(most)s
"""

_ENTRIES_CONTINUE = """
    SELECT 'txn_' || id || ' of ' || public_id('usr', user_id) || ': version ' || version || ', balance '
        || balance_after || ' and debt ' || debt_after || ' do not follow version ' || last_version || ', balance '
        || last_balance || ' and debt ' || last_debt
    FROM (
        SELECT id, user_id, version, delta, debt_delta, balance_after, debt_after,
            lag(version, 1, 0::bigint) OVER versions AS last_version,
            lag(balance_after::bigint, 1, 0::bigint) OVER versions AS last_balance,
            lag(debt_after::bigint, 1, 0::bigint) OVER versions AS last_debt
        FROM entries WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s
        WINDOW versions AS (PARTITION BY user_id ORDER BY version)
    ) AS each
    WHERE (version, balance_after, debt_after)
        IS DISTINCT FROM (last_version + 1, last_balance + delta, last_debt + debt_delta)
    ORDER BY id LIMIT %(most)s
"""

# A lot is known by the entry that earned it.
_LOTS_EQUAL_ALLOCATIONS = """
    SELECT 'txn_' || id || CASE
        WHEN l.id IS NULL THEN ': points were taken from its lot, which is missing'
        ELSE ': its lot holds ' || remaining || ' of ' || amount || ', and ' || coalesce(taken, 0) || ' were taken'
    END
    FROM (
        SELECT id, amount, remaining FROM lots
        WHERE company_id = %(company_id)s AND id BETWEEN %(first)s AND %(last)s
    ) AS l
    FULL JOIN (
        SELECT lot_id AS id, sum(amount) AS taken FROM allocations
        WHERE company_id = %(company_id)s AND lot_id BETWEEN %(first)s AND %(last)s GROUP BY lot_id
    ) AS a USING (id)
    WHERE amount - remaining IS DISTINCT FROM coalesce(taken, 0)
    ORDER BY id LIMIT %(most)s
"""

# An earning has a lot and takes nothing; everything else takes from lots, or gives back to them, what it says, and only
# from lots of its own user.
_ENTRIES_EQUAL_ALLOCATIONS = """
    SELECT 'txn_' || id || CASE
        WHEN e.id IS NULL THEN ': there is no such entry, but a lot or allocations of it'
        WHEN strange THEN ': it took points from a lot of somebody else'
        WHEN l.id IS NULL AND earns THEN ': it earned ' || delta || ' and has no lot'
        WHEN earns THEN ': it earned ' || delta || ', and its lot was made of ' || amount || ' for '
            || public_id('usr', l.user_id)
        ELSE ': its delta is ' || delta || ', and its lots say ' || coalesce(amount, 0) - coalesce(taken, 0)
    END
    FROM (
        SELECT id, user_id, delta, delta > 0 AND type <> 'REDEMPTION_REFUND' AS earns FROM entries
        WHERE company_id = %(company_id)s AND id BETWEEN %(first)s AND %(last)s
    ) AS e
    FULL JOIN (
        SELECT id, user_id, amount FROM lots
        WHERE company_id = %(company_id)s AND id BETWEEN %(first)s AND %(last)s
    ) AS l USING (id)
    FULL JOIN (
        SELECT a.entry_id AS id, sum(a.amount) AS taken, bool_or(l.user_id <> e.user_id) AS strange
        FROM allocations a
        LEFT JOIN lots l ON l.company_id = a.company_id AND l.id = a.lot_id
        LEFT JOIN entries e ON e.company_id = a.company_id AND e.id = a.entry_id
        WHERE a.company_id = %(company_id)s AND a.entry_id BETWEEN %(first)s AND %(last)s
        GROUP BY a.entry_id
    ) AS a USING (id)
    WHERE e.id IS NULL OR strange OR CASE WHEN earns
        THEN (l.user_id, amount) IS DISTINCT FROM (e.user_id, delta) OR taken IS NOT NULL
        ELSE l.id IS NOT NULL OR -delta <> coalesce(taken, 0)
    END
    ORDER BY id LIMIT %(most)s
"""

_EXPIRY_IS_EXPECTED = """
    SELECT public_id('usr', l.user_id) || ': its first open lot expires at ' || rfc3339(l.first) || ', its wallet '
        || coalesce('looks at ' || rfc3339(w.next_expiry_at), 'never looks')
    FROM (
        SELECT user_id, min(expires_at) AS first FROM lots
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND open
            AND expires_at < 'infinity'
        GROUP BY user_id
    ) AS l
    JOIN wallets w ON w.company_id = %(company_id)s AND w.user_id = l.user_id
    WHERE coalesce(w.next_expiry_at, 'infinity') > l.first
    ORDER BY l.user_id LIMIT %(most)s
"""

# Whatever takes points books what is due first, so nothing else takes from an expired lot.
_EXPIRED_IN_TIME = """
    SELECT 'txn_' || e.id || CASE WHEN e.type = 'EXPIRY' THEN ': it expires, as of ' ELSE ': it takes, as of ' END
        || rfc3339(e.effective_at) || ', points that '
        || coalesce('expire at ' || rfc3339(nullif(l.expires_at, 'infinity')), 'never expire')
        || ' (txn_' || l.id || ')'
    FROM allocations a
    JOIN entries e ON e.company_id = a.company_id AND e.id = a.entry_id
    JOIN lots l ON l.company_id = a.company_id AND l.id = a.lot_id
    WHERE a.company_id = %(company_id)s AND a.entry_id BETWEEN %(first)s AND %(last)s AND a.amount > 0
        AND (e.type = 'EXPIRY') <> (l.expires_at <= e.effective_at)
    ORDER BY e.id LIMIT %(most)s
"""

CHECKS: Final[Sequence[AuditCheck]] = (
    AuditCheck("wallet_equals_entries", "users", _WALLET_EQUALS_ENTRIES),
    AuditCheck("wallet_equals_lots", "users", _WALLET_EQUALS_LOTS),
    AuditCheck("entries_continue", "users", _ENTRIES_CONTINUE),
    AuditCheck("lots_equal_allocations", "entries", _LOTS_EQUAL_ALLOCATIONS),
    AuditCheck("entries_equal_allocations", "entries", _ENTRIES_EQUAL_ALLOCATIONS),
    AuditCheck("expiry_is_expected", "users", _EXPIRY_IS_EXPECTED),
    AuditCheck("expiry_is_expected", "entries", _EXPIRED_IN_TIME),
)
