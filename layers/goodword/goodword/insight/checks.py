"""What must hold of a company's books, and the rows where it does not.

Wallets, totals and lots are derived again from entries and allocations, and compared; awards, redemptions, milestones
and prizes are held against their entries, scores against a recount of referrals and awards, entries against the chain
that sealed them. Each statement reads everything it compares at one instant, so postings may go on meanwhile. It looks
at one window of keys (`insight.windows`).
"""

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from psycopg import Connection

from goodword.insight import booking_checks, chain_checks, score_checks, wallet_checks
from goodword.insight.windows import AuditCheck, Window

MOST_NAMED = 5
"""So many faults of one statement are named: the first ones are what there is to look at."""

CHECKS: Final[Sequence[AuditCheck]] = (
    *wallet_checks.CHECKS, *booking_checks.CHECKS, *score_checks.CHECKS, *chain_checks.CHECKS,
)  # fmt: skip
NAMES: Final[Sequence[str]] = tuple(dict.fromkeys(check.name for check in CHECKS))


def faults(connection: Connection, company_id: UUID, windows: Iterable[Window]) -> dict[str, list[str]]:
    """What contradicts each check in these windows of a company's books; checks that hold are left out."""
    # all are sent before the first is read: inside a pipeline they travel together
    sent = [
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
    by_name: dict[str, list[str]] = {}
    for name, cursor in sent:
        if rows := [fault for (fault,) in cursor]:
            by_name.setdefault(name, []).extend(rows)
    return by_name
