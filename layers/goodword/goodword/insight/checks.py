"""What must hold of a company's books, and the rows where it does not.

Wallets, totals and lots are derived again from entries and allocations, and compared; awards and redemptions are held
against their entries; entries against the chain that sealed them. Each statement reads everything it compares at one
instant, so postings may go on meanwhile. It looks at one window of keys, and the windows of a space cover every key
there can be: a row is seen even where what it belongs to is missing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, LiteralString
from uuid import UUID

from psycopg import Connection

Space = Literal["company", "seals", "entries", "users"]
"""Whose keys the windows are made of: positions of seals, ids of entries, ids of users. The company itself has none."""

Key = int | UUID

MOST_NAMED = 5
"""So many faults of one statement are named: the first ones are what there is to look at."""


@dataclass(frozen=True, slots=True)
class Window:
    """The keys from `first` to `last` of a space."""

    space: Space
    first: Key
    last: Key


ENDS: Final[Mapping[Space, tuple[Key, Key]]] = {
    "company": (0, 0),
    "seals": (-(2**63), 2**63 - 1),
    "entries": (-(2**63), 2**63 - 1),
    "users": (UUID(int=0), UUID(int=2**128 - 1)),
}
WHOLE: Final[Sequence[Window]] = tuple(Window(space, *ends) for space, ends in ENDS.items())


@dataclass(frozen=True, slots=True)
class Check:
    """One statement of a check: a text for each row in the window that contradicts it, the first row first."""

    name: str
    space: Space
    faults: LiteralString


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

# A refund gives back the whole price, into the very lots it was taken from.
_REFUNDS_EQUAL_ENTRIES = """
    SELECT coalesce(public_id('red', r.id) || ': ' || r.status || ', ' || r.cost_points || ' points of '
            || public_id('usr', r.user_id), e.reference || ': no such redemption')
        || '; of a refund there is '
        || coalesce('txn_' || e.id || ' of ' || e.delta || ' for ' || public_id('usr', e.user_id), 'no entry')
    FROM (
        SELECT * FROM redemptions
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND status = 'refunded'
    ) AS r
    FULL JOIN (
        SELECT id, user_id, delta, reference, effective_at FROM entries
        WHERE company_id = %(company_id)s AND user_id BETWEEN %(first)s AND %(last)s AND type = 'REDEMPTION_REFUND'
    ) AS e ON e.reference = public_id('red', r.id)
    WHERE (r.user_id, r.cost_points, r.refunded_at) IS DISTINCT FROM (e.user_id, e.delta, e.effective_at)
        OR EXISTS (
            SELECT FROM allocations a
            WHERE a.company_id = %(company_id)s AND a.entry_id IN (r.entry_id, e.id)
            GROUP BY a.lot_id HAVING sum(a.amount) <> 0)
    ORDER BY r.id, e.id LIMIT %(most)s
"""

# Where an entry was changed, its seal alone does not hold; where a seal was, the next one does not either, which is why
# the neighbours of the window are looked at too.
_CHAIN = """
    WITH linked AS (
        SELECT s.position, s.entry_id, s.hash, e.id IS NULL AS missing, entry_digest(e) AS digest,
            lag(s.position, 1, 0::bigint) OVER chain AS last_position,
            lag(s.hash, 1, decode(repeat('00', 32), 'hex')) OVER chain AS last_hash
        FROM seals s LEFT JOIN entries e ON e.company_id = s.company_id AND e.id = s.entry_id
        WHERE s.company_id = %(company_id)s
            AND s.position >= coalesce((
                SELECT max(position) FROM seals WHERE company_id = %(company_id)s AND position < %(first)s), %(first)s)
            AND s.position <= coalesce((
                SELECT min(position) FROM seals WHERE company_id = %(company_id)s AND position > %(last)s), %(last)s)
        WINDOW chain AS (ORDER BY s.position)
    ), judged AS (
        SELECT *, last_position = position - 1 AS follows,
            CASE WHEN last_position = position - 1 AND NOT missing THEN hash = sha256(last_hash || digest) END AS holds
        FROM linked
    ), compared AS (
        SELECT *, lead(holds) OVER (ORDER BY position) AS next_holds FROM judged
    )
    SELECT CASE
        WHEN NOT follows THEN 'the seals from position ' || last_position + 1 || ' to ' || position - 1
            || ' are missing, before that of txn_' || entry_id
        WHEN missing THEN 'txn_' || entry_id || ' was sealed at position ' || position || ' and is missing'
        WHEN NOT next_holds THEN 'the seal of txn_' || entry_id || ' at position ' || position || ' was changed'
        ELSE 'txn_' || entry_id || ' is not what was sealed at position ' || position
    END
    FROM compared WHERE position BETWEEN %(first)s AND %(last)s AND holds IS NOT TRUE
    ORDER BY position LIMIT %(most)s
"""

# A cursor ahead of this cluster's own counter is another cluster's: the sealing will begin anew.
_NOTHING_INSERTED = """
    SELECT 'txn_' || e.id || ' has no seal, and what came after it has'
    FROM entries e CROSS JOIN sealing
    WHERE e.company_id = %(company_id)s AND e.id BETWEEN %(first)s AND %(last)s
        AND (e.xact, e.id) <= (sealing.xact, sealing.entry)
        AND sealing.xact < (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
        AND NOT EXISTS (SELECT FROM seals s WHERE s.company_id = e.company_id AND s.entry_id = e.id)
    ORDER BY e.id LIMIT %(most)s
"""

_CHAIN_HEAD = """
    SELECT CASE
        WHEN h.position IS NULL THEN 'there are seals up to position ' || s.position || ' and no head'
        WHEN s.position IS NULL THEN 'the head stands at position ' || h.position || ' and there are no seals'
        WHEN h.position <> s.position THEN 'the head stands at position ' || h.position || ', the last seal, of txn_'
            || s.entry_id || ', at ' || s.position
        ELSE 'the head is not the last seal, that of txn_' || s.entry_id || ' at position ' || s.position
    END
    FROM (SELECT company_id, position, hash FROM chain_heads WHERE company_id = %(company_id)s) AS h
    FULL JOIN (
        SELECT company_id, position, entry_id, hash FROM seals WHERE company_id = %(company_id)s
        ORDER BY position DESC LIMIT 1
    ) AS s USING (company_id)
    WHERE (h.position, h.hash) IS DISTINCT FROM (s.position, s.hash)
"""

CHECKS: Final[Sequence[Check]] = (
    Check("wallet_equals_entries", "users", _WALLET_EQUALS_ENTRIES),
    Check("wallet_equals_lots", "users", _WALLET_EQUALS_LOTS),
    Check("entries_continue", "users", _ENTRIES_CONTINUE),
    Check("lots_equal_allocations", "entries", _LOTS_EQUAL_ALLOCATIONS),
    Check("entries_equal_allocations", "entries", _ENTRIES_EQUAL_ALLOCATIONS),
    Check("expiry_is_expected", "users", _EXPIRY_IS_EXPECTED),
    Check("expiry_is_expected", "entries", _EXPIRED_IN_TIME),
    Check("awards_equal_entries", "users", _AWARDS_EQUAL_ENTRIES),
    Check("awards_equal_entries", "users", _REVERSALS_FIT_AWARDS),
    Check("redemptions_equal_entries", "users", _REDEMPTIONS_EQUAL_ENTRIES),
    Check("redemptions_equal_entries", "users", _REFUNDS_EQUAL_ENTRIES),
    Check("chain", "seals", _CHAIN),
    Check("chain", "entries", _NOTHING_INSERTED),
    Check("chain_head", "company", _CHAIN_HEAD),
)
NAMES: Final[Sequence[str]] = tuple(dict.fromkeys(check.name for check in CHECKS))


def faults(connection: Connection, company_id: UUID, windows: Iterable[Window]) -> dict[str, list[str]]:
    """What contradicts each check in these windows of a company's books; checks that hold are left out."""
    # all are sent before the first is read: inside a pipeline they travel together
    asked = [
        (
            check.name,
            connection.execute(
                check.faults,
                {"company_id": company_id, "first": window.first, "last": window.last, "most": MOST_NAMED},
            ),
        )
        for window in windows
        for check in CHECKS
        if check.space == window.space
    ]
    found: dict[str, list[str]] = {}
    for name, cursor in asked:
        if rows := [fault for (fault,) in cursor]:
            found.setdefault(name, []).extend(rows)
    return found
