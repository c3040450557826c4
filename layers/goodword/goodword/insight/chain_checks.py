"""Checks of the chain of seals: entries are held against the chain that sealed them."""

from collections.abc import Sequence
from typing import Final

from goodword.insight.windows import AuditCheck

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

CHECKS: Final[Sequence[AuditCheck]] = (
    AuditCheck("chain", "seals", _CHAIN),
    AuditCheck("chain", "entries", _NOTHING_INSERTED),
    AuditCheck("chain_head", "company", _CHAIN_HEAD),
)
