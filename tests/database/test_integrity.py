"""Each check names the very row that is wrong, whichever row of whichever table it is; right books pass all of them.

What no role can do is done here by a superuser who passes by triggers and foreign keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import pytest

from goodword.core import ids
from goodword.insight import audit, checks, integrity
from goodword.insight.integrity import CheckResult, Integrity
from tests.support import books
from tests.support.chain import seal_all, seals
from tests.support.everything import REFEREE, REFERRER, fill
from tests.support.tenants import Tenant

BEN, ADA, CLEO = REFEREE, REFERRER, "cleo"


def play_story(tenant: Tenant) -> Tenant:
    """A company whose ledger has something of everything.

    Ada and Ben have awards. Of Ben's welcome 3 points were reversed, and he bought something. Ada had two purchases
    refunded, quota and a plan, and points expire. Cleo's 5 points were taken back after she had spent them, and she has
    repaid 3.
    """
    fill(tenant)
    now = datetime.now(UTC)
    cleo = tenant.add_user(CLEO)
    (earned,) = tenant.post({"user_id": cleo, "points": 5})
    assert earned is not None
    assert tenant.redeem(CLEO, tenant.add_option(cost=5)).status == 201
    tenant.post({"user_id": cleo, "points": 5, "type": "REVERSAL", "reference": earned["reference"]})
    tenant.post({"user_id": cleo, "points": 3})
    (welcome,) = tenant.rows("SELECT * FROM awards WHERE company_id = %(company_id)s AND event = 'welcome'")
    reference = ids.public("awd", welcome["id"])
    tenant.post({"user_id": welcome["user_id"], "points": 3, "type": "REVERSAL", "reference": reference})
    tenant.rows(
        "UPDATE awards SET reversed_points = 3 WHERE company_id = %(company_id)s AND id = %(id)s RETURNING id",
        id=welcome["id"],
    )
    tenant.rows(
        "UPDATE scores SET reserved = reserved - 3 WHERE company_id = %(company_id)s AND user_id = %(user_id)s"
        " AND reserved >= 3 RETURNING board",
        user_id=welcome["user_id"],
    )
    assert tenant.adjust(ADA, 20, expires_at=now + timedelta(days=10)).status == 201
    for hours, option in enumerate((tenant.add_option(cost=25), tenant.add_unlock(cost=25)), start=1):
        redemption_id = ids.parse("red", tenant.redeem(ADA, option).json["id"])
        assert redemption_id is not None
        tenant.set_clock(now + timedelta(hours=hours))
        assert tenant.refund(redemption_id).status == 200
    tenant.set_clock(now + timedelta(days=11))
    assert tenant.adjust(ADA, 1).status == 201
    return tenant


@pytest.fixture(scope="module")
def played(kept_tenant: Tenant) -> Tenant:
    """The story, which takes longer to play than to tamper with."""
    return play_story(kept_tenant)


@pytest.fixture
def story(played: Tenant) -> Iterator[Tenant]:
    """The story inside of one transaction, the superuser's, which is rolled back: tampering leaves no trace."""
    superuser = played.superuser
    with superuser.transaction(force_rollback=True):
        yield Tenant(played.line, lambda _role: superuser, superuser)


def report(tenant: Tenant) -> Integrity:
    with tenant.transaction("admin") as connection:
        return integrity.report(connection, tenant.id)


def audited(tenant: Tenant) -> list[CheckResult]:
    """What the nightly audit finds, and GET /v1/integrity then tells of a company too large to be checked."""
    with tenant.transaction("jobs") as connection:
        audit.ask_for(connection, tenant.id)
    while True:
        with tenant.transaction("jobs") as connection:
            if not audit.batch(connection).more:
                break
    return [
        CheckResult(**row)
        for row in tenant.rows(
            "SELECT name, ok, detail, checked_at FROM integrity_checks WHERE company_id = %(company_id)s"
        )
    ]


def tamper(tenant: Tenant, statement: LiteralString, **parameters: object) -> list[str]:
    """Change what cannot be changed; what the statement returns."""
    tenant.superuser.execute("SET LOCAL session_replication_role = replica")
    tampered = tenant.superuser.execute(statement, {"company_id": tenant.id, **parameters}).fetchall()
    tenant.superuser.execute("SET LOCAL session_replication_role = origin")
    return [text for (text,) in tampered]


def user_id(tenant: Tenant, external_id: str) -> UUID:
    (row,) = tenant.rows(
        "SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = %(external_id)s",
        external_id=external_id,
    )
    return row["id"]


@dataclass(frozen=True)
class Tampering:
    """What is done, as a statement that returns the public ids which the check has to name.

    `others` are the further checks that it cannot escape either.
    """

    check: str
    what: str
    statement: LiteralString
    others: frozenset[str] = frozenset()


def also(*names: str) -> frozenset[str]:
    return frozenset(names)


UNSEALED = [
    Tampering("wallet_equals_entries", "totals that cancel out", """
        UPDATE wallets SET total_earned = total_earned + 1, total_spent = total_spent - 1
        WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('usr', user_id)
    """),
    Tampering("wallet_equals_entries", "totals of all four", """
        UPDATE wallets SET total_expired = total_expired - 1, total_reversed = total_reversed - 1,
            total_earned = total_earned + 2
        WHERE company_id = %(company_id)s AND user_id = %(ada)s RETURNING public_id('usr', user_id)
    """),
    Tampering("wallet_equals_entries", "a debt", """
        UPDATE wallets SET debt = debt - 1
        WHERE company_id = %(company_id)s AND user_id = %(cleo)s RETURNING public_id('usr', user_id)
    """),
    Tampering("wallet_equals_entries", "a version", """
        UPDATE wallets SET version = version + 1
        WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('usr', user_id)
    """),
    Tampering("wallet_equals_entries", "no wallet", """
        DELETE FROM wallets WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('usr', user_id)
    """, also("wallet_equals_lots")),
    Tampering("wallet_equals_entries", "entries of nobody, first of all keys", """
        INSERT INTO entries (company_id, user_id, type, delta, balance_after, debt_after, version, reference,
            effective_at, created_at)
        VALUES (%(company_id)s, '00000000-0000-0000-0000-000000000000', 'IMPORT', 1, 1, 0, 1, 'x', now(), now())
        RETURNING public_id('usr', user_id)
    """, also("entries_equal_allocations")),
    Tampering("wallet_equals_entries", "entries of nobody, last of all keys", """
        INSERT INTO entries (company_id, user_id, type, delta, balance_after, debt_after, version, reference,
            effective_at, created_at)
        VALUES (%(company_id)s, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'IMPORT', 1, 1, 0, 1, 'x', now(), now())
        RETURNING public_id('usr', user_id)
    """, also("entries_equal_allocations")),
    Tampering("wallet_equals_lots", "a balance", """
        UPDATE wallets SET balance = balance + 1, total_earned = total_earned + 1
        WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('usr', user_id)
    """, also("wallet_equals_entries")),
    Tampering("wallet_equals_lots", "a lot of somebody else", """
        UPDATE lots SET user_id = %(ada)s
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND remaining = amount
        RETURNING public_id('usr', %(ben)s)
    """, also("entries_equal_allocations")),
    Tampering("wallet_equals_lots", "a lot of nobody", """
        UPDATE lots SET user_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND remaining = amount
        RETURNING public_id('usr', user_id)
    """, also("entries_equal_allocations")),
    Tampering("entries_continue", "a balance after", """
        UPDATE entries SET balance_after = balance_after + 1
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND type = 'REVERSAL' RETURNING 'txn_' || id
    """),
    Tampering("entries_continue", "a debt after", """
        UPDATE entries SET debt_after = debt_after + 1
        WHERE company_id = %(company_id)s AND user_id = %(cleo)s AND type = 'REVERSAL' RETURNING 'txn_' || id
    """),
    Tampering("entries_continue", "a version left out", """
        UPDATE entries SET version = version + 1
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND type = 'REVERSAL' RETURNING 'txn_' || id
    """, also("wallet_equals_entries")),
    Tampering("entries_continue", "a first entry that is none", """
        UPDATE entries SET version = version + 10
        WHERE company_id = %(company_id)s AND user_id = %(cleo)s RETURNING CASE WHEN version = 11 THEN 'txn_' || id
            ELSE '' END
    """, also("wallet_equals_entries")),
    Tampering("lots_equal_allocations", "points moved between lots", """
        UPDATE lots SET remaining = remaining + CASE WHEN amount = 100 THEN -1 ELSE 1 END
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND remaining > 0
            AND (amount = 100 OR remaining < amount)
        RETURNING 'txn_' || id
    """),
    Tampering("lots_equal_allocations", "a lot that is gone", """
        DELETE FROM lots WHERE company_id = %(company_id)s AND user_id = %(cleo)s AND amount = 5 RETURNING 'txn_' || id
    """, also("entries_equal_allocations")),
    Tampering("entries_equal_allocations", "points of one entry taken by another", """
        UPDATE allocations a SET amount = a.amount + CASE WHEN e.type = 'REVERSAL' THEN 1 ELSE -1 END
        FROM entries e, lots l
        WHERE a.company_id = %(company_id)s AND e.company_id = a.company_id AND e.id = a.entry_id
            AND l.company_id = a.company_id AND l.id = a.lot_id AND e.user_id = %(ben)s
        RETURNING 'txn_' || e.id
    """),
    Tampering("entries_equal_allocations", "a lot larger than its earning", """
        UPDATE lots SET amount = amount + 1, remaining = remaining + 1
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND amount = 100 RETURNING 'txn_' || id
    """, also("wallet_equals_lots")),
    Tampering("entries_equal_allocations", "an earning without a lot", """
        DELETE FROM lots WHERE company_id = %(company_id)s AND user_id = %(ben)s AND amount = 100
        RETURNING 'txn_' || id
    """, also("wallet_equals_lots")),
    Tampering("entries_equal_allocations", "a lot of an expense", """
        INSERT INTO lots (company_id, id, user_id, amount, remaining)
        SELECT company_id, id, user_id, 1, 0 FROM entries
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND type = 'REDEMPTION_QUOTA' RETURNING 'txn_' || id
    """, also("lots_equal_allocations")),
    Tampering("entries_equal_allocations", "a lot of no entry, last of all keys", """
        INSERT INTO lots (company_id, id, user_id, amount, remaining)
        VALUES (%(company_id)s, 9223372036854775807, %(ben)s, 1, 0) RETURNING 'txn_' || id
    """, also("lots_equal_allocations")),
    Tampering("entries_equal_allocations", "allocations of no entry, first of all keys", """
        INSERT INTO allocations (company_id, entry_id, lot_id, amount)
        SELECT %(company_id)s, -9223372036854775808, id, 1 FROM lots
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND amount = 100 RETURNING 'txn_' || entry_id
    """, also("lots_equal_allocations")),
    Tampering("entries_equal_allocations", "points out of somebody else's lot", """
        UPDATE allocations SET lot_id = (
            SELECT id FROM lots WHERE company_id = %(company_id)s AND user_id = %(cleo)s AND amount = 3)
        WHERE company_id = %(company_id)s AND entry_id = (
            SELECT id FROM entries
            WHERE company_id = %(company_id)s AND user_id = %(ben)s AND type = 'REDEMPTION_QUOTA')
        RETURNING 'txn_' || entry_id
    """, also("lots_equal_allocations")),
    Tampering("entries_equal_allocations", "an earning that is gone", """
        DELETE FROM entries WHERE company_id = %(company_id)s AND user_id = %(cleo)s AND version = 1
        RETURNING 'txn_' || id
    """, also("wallet_equals_entries", "entries_continue")),
    Tampering("expiry_is_expected", "an expiry that nobody expects", """
        UPDATE wallets SET next_expiry_at = NULL
        WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('usr', user_id)
    """),
    Tampering("expiry_is_expected", "an expiry expected a microsecond late", """
        UPDATE wallets SET next_expiry_at = next_expiry_at + interval '1 microsecond'
        WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('usr', user_id)
    """),
    Tampering("expiry_is_expected", "points expired before their time", """
        UPDATE lots SET expires_at = 'infinity'
        WHERE company_id = %(company_id)s AND user_id = %(ada)s AND amount = 20 RETURNING 'txn_' || (
            SELECT id FROM entries WHERE company_id = %(company_id)s AND type = 'EXPIRY')
    """),
    Tampering("expiry_is_expected", "points spent after their time", """
        UPDATE lots SET expires_at = '2000-01-01'
        WHERE company_id = %(company_id)s AND user_id = %(cleo)s AND amount = 5 RETURNING 'txn_' || (
            SELECT id FROM entries WHERE company_id = %(company_id)s AND user_id = %(cleo)s AND type LIKE 'REDEM%%')
    """),
    Tampering("awards_equal_entries", "an award's points", """
        UPDATE awards SET points = points + 1
        WHERE company_id = %(company_id)s AND event = 'welcome' RETURNING public_id('awd', id)
    """, also("scores_equal_recount")),
    Tampering("awards_equal_entries", "an award's booking", """
        UPDATE awards SET entry_id = entry_id + 1000000
        WHERE company_id = %(company_id)s AND event = 'welcome' RETURNING public_id('awd', id)
    """),
    Tampering("awards_equal_entries", "a paid award that waits", """
        UPDATE awards SET status = 'held', hold_reason = 'review'
        WHERE company_id = %(company_id)s AND event = 'welcome' RETURNING public_id('awd', id)
    """),
    Tampering("awards_equal_entries", "an award paid without a booking", """
        DELETE FROM entries WHERE company_id = %(company_id)s AND reference = (
            SELECT public_id('awd', id) FROM awards WHERE company_id = %(company_id)s AND event = 'registered')
        RETURNING reference
    """, also("wallet_equals_entries", "entries_continue", "entries_equal_allocations")),
    Tampering("awards_equal_entries", "an award of somebody else", """
        UPDATE awards SET user_id = %(cleo)s
        WHERE company_id = %(company_id)s AND event = 'welcome' RETURNING public_id('awd', id)
    """, also("scores_equal_recount")),
    Tampering("awards_equal_entries", "an award that is gone", """
        DELETE FROM awards WHERE company_id = %(company_id)s AND event = 'welcome' RETURNING public_id('awd', id)
    """, also("scores_equal_recount")),
    Tampering("awards_equal_entries", "more taken back than was given", """
        UPDATE awards SET points = 2, reversed_points = 0
        WHERE company_id = %(company_id)s AND event = 'welcome' RETURNING public_id('awd', id) || ': 3 were taken back'
    """, also("scores_equal_recount")),
    Tampering("awards_equal_entries", "points of no award taken back", """
        UPDATE entries SET reference = 'awd_00000000000000000000000000000000'
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND type = 'REVERSAL' RETURNING reference
    """),
    Tampering("scores_equal_recount", "a referral too many", """
        UPDATE scores SET qualified = qualified + 1 WHERE company_id = %(company_id)s AND qualified > 0
        RETURNING public_id('usr', user_id) || ' on ' || board
    """),
    Tampering("scores_equal_recount", "points that nobody reserved", """
        UPDATE scores SET reserved = reserved + 1 WHERE company_id = %(company_id)s AND board = 'all'
        RETURNING public_id('usr', user_id) || ' on all'
    """),
    Tampering("scores_equal_recount", "a month that is gone", """
        DELETE FROM scores WHERE company_id = %(company_id)s AND board LIKE '2%%' AND length(board) = 7
        RETURNING public_id('usr', user_id) || ' on ' || board
    """),
    Tampering("rewards_equal_entries", "a milestone that was not booked", """
        UPDATE reached_milestones SET entry_id = NULL WHERE company_id = %(company_id)s AND entry_id IS NOT NULL
        RETURNING public_id('mil', milestone_id)
    """),
    Tampering("rewards_equal_entries", "a milestone of somebody else", """
        UPDATE reached_milestones SET user_id = %(cleo)s WHERE company_id = %(company_id)s AND entry_id IS NOT NULL
        RETURNING public_id('mil', milestone_id)
    """),
    Tampering("rewards_equal_entries", "a prize of more", """
        UPDATE campaign_ranks SET prize_points = prize_points + 1
        WHERE company_id = %(company_id)s AND entry_id IS NOT NULL RETURNING public_id('cam', campaign_id)
    """),
    Tampering("redemptions_equal_entries", "a price", """
        UPDATE redemptions SET cost_points = cost_points + 1
        WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('red', id)
    """),
    Tampering("redemptions_equal_entries", "a kind", """
        UPDATE redemptions SET kind = 'reward'
        WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('red', id)
    """),
    Tampering("redemptions_equal_entries", "a redemption of somebody else", """
        UPDATE redemptions SET user_id = %(cleo)s
        WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('red', id)
    """),
    Tampering("redemptions_equal_entries", "a redemption that is gone", """
        DELETE FROM redemptions WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('red', id)
    """),
    Tampering("redemptions_equal_entries", "a redemption without a booking", """
        UPDATE entries SET type = 'ADMIN_GRANT', reference = 'x'
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND type = 'REDEMPTION_QUOTA'
        RETURNING (SELECT public_id('red', id) FROM redemptions WHERE company_id = %(company_id)s AND user_id = %(ben)s)
    """),
    Tampering("redemptions_equal_entries", "a refund that was none", """
        UPDATE redemptions SET status = 'refunded', refunded_at = now()
        WHERE company_id = %(company_id)s AND user_id = %(ben)s RETURNING public_id('red', id)
    """),
    Tampering("redemptions_equal_entries", "a refund undone", """
        UPDATE redemptions SET status = 'fulfilled', refunded_at = NULL
        WHERE company_id = %(company_id)s AND user_id = %(ada)s RETURNING public_id('red', id)
    """),
    Tampering("redemptions_equal_entries", "a refund at another time", """
        UPDATE redemptions SET refunded_at = refunded_at + interval '1 second'
        WHERE company_id = %(company_id)s AND user_id = %(ada)s RETURNING public_id('red', id)
    """),
    Tampering("redemptions_equal_entries", "quota that is gone", """
        DELETE FROM quota_grants WHERE company_id = %(company_id)s AND user_id = %(ben)s
        RETURNING public_id('red', redemption_id)
    """),
    Tampering("redemptions_equal_entries", "quota of somebody else", """
        UPDATE quota_grants SET user_id = %(cleo)s WHERE company_id = %(company_id)s AND user_id = %(ben)s
        RETURNING public_id('red', redemption_id)
    """),
    Tampering("redemptions_equal_entries", "quota that was not ended", """
        UPDATE quota_grants SET ended_at = NULL WHERE company_id = %(company_id)s AND user_id = %(ada)s
        RETURNING public_id('red', redemption_id)
    """),
    Tampering("redemptions_equal_entries", "a grant that is gone", """
        DELETE FROM access_grants
        WHERE company_id = %(company_id)s AND user_id = %(ada)s AND redemption_id IS NOT NULL
        RETURNING public_id('red', redemption_id)
    """),
    Tampering("redemptions_equal_entries", "a grant of no redemption", """
        UPDATE access_grants SET redemption_id = gen_random_uuid()
        WHERE company_id = %(company_id)s AND user_id = %(ada)s AND redemption_id IS NOT NULL
        RETURNING public_id('red', redemption_id)
    """),
    Tampering("redemptions_equal_entries", "a grant that goes on after its refund", """
        UPDATE grant_intervals AS i SET ends_at = 'infinity' FROM access_grants AS g
        WHERE i.company_id = %(company_id)s AND g.company_id = i.company_id AND g.id = i.grant_id
            AND g.user_id = %(ada)s AND g.redemption_id IS NOT NULL
        RETURNING public_id('red', g.redemption_id)
    """),
    Tampering("redemptions_equal_entries", "a refund into other lots", """
        WITH refund AS (
            SELECT a.entry_id, e.reference, min(a.lot_id) AS lot_id FROM allocations a
            JOIN entries e ON e.company_id = a.company_id AND e.id = a.entry_id
            WHERE a.company_id = %(company_id)s AND e.type = 'REDEMPTION_REFUND' GROUP BY a.entry_id, e.reference
        )
        UPDATE allocations a SET amount = a.amount + CASE WHEN a.lot_id = refund.lot_id THEN 1 ELSE -1 END FROM refund
        WHERE a.company_id = %(company_id)s AND a.entry_id = refund.entry_id
        RETURNING refund.reference
    """, also("lots_equal_allocations")),
]  # fmt: skip

SEALED = [
    Tampering("chain", "an entry's time", """
        UPDATE entries SET created_at = created_at + interval '1 microsecond'
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND type = 'REVERSAL' RETURNING 'txn_' || id
            || ' is not what was sealed'
    """),
    Tampering("chain", "an entry's occasion", """
        UPDATE entries SET occasion = 'another'
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND type = 'REVERSAL' RETURNING 'txn_' || id
            || ' is not what was sealed'
    """),
    Tampering("chain", "the hash of a note", """
        UPDATE entries SET note_hash = sha256('')
        WHERE company_id = %(company_id)s AND user_id = %(ben)s AND note_hash IS NOT NULL RETURNING 'txn_' || id
            || ' is not what was sealed'
    """),
    Tampering("chain", "the last entry", """
        UPDATE entries SET program_version = 17
        WHERE company_id = %(company_id)s AND id = (SELECT max(id) FROM entries WHERE company_id = %(company_id)s)
        RETURNING 'txn_' || id || ' is not what was sealed'
    """),
    Tampering("chain", "an entry that is gone", """
        DELETE FROM entries WHERE company_id = %(company_id)s AND user_id = %(cleo)s AND version = 1
        RETURNING 'txn_' || id || ' was sealed'
    """, also("wallet_equals_entries", "entries_continue", "entries_equal_allocations")),
    Tampering("chain", "an entry put in between", """
        INSERT INTO entries (company_id, user_id, type, delta, balance_after, debt_after, version, reference,
            effective_at, created_at, xact)
        VALUES (%(company_id)s, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'IMPORT', 1, 1, 0, 1, 'x', now(), now(), 1)
        RETURNING 'txn_' || id || ' has no seal'
    """, also("wallet_equals_entries", "entries_equal_allocations")),
    Tampering("chain", "a gap", """
        DELETE FROM seals WHERE company_id = %(company_id)s AND position IN (2, 3)
        RETURNING CASE position WHEN 2 THEN 'from position 2 to 3' ELSE 'txn_' || entry_id || ' has no seal' END
    """),
    Tampering("chain", "no beginning", """
        DELETE FROM seals WHERE company_id = %(company_id)s AND position <= 4
        RETURNING CASE position WHEN 1 THEN 'from position 1 to 4' ELSE 'txn_' || entry_id || ' has no seal' END
    """),
    Tampering("chain", "a seal", """
        UPDATE seals SET hash = sha256('') WHERE company_id = %(company_id)s AND position = 3
        RETURNING 'the seal of txn_' || entry_id || ' at position 3 was changed'
    """),
    Tampering("chain", "the first seal", """
        UPDATE seals SET hash = sha256('') WHERE company_id = %(company_id)s AND position = 1
        RETURNING 'the seal of txn_' || entry_id || ' at position 1 was changed'
    """),
    Tampering("chain", "an end cut off together with its head", """
        WITH gone AS (
            DELETE FROM seals s USING chain_heads h
            WHERE s.company_id = %(company_id)s AND h.company_id = s.company_id AND s.position = h.position
            RETURNING s.position, s.entry_id
        )
        UPDATE chain_heads SET position = s.position, hash = s.hash FROM seals s, gone
        WHERE chain_heads.company_id = %(company_id)s AND s.company_id = %(company_id)s
            AND s.position = gone.position - 1
        RETURNING 'txn_' || gone.entry_id || ' has no seal'
    """),
    Tampering("chain_head", "a head that stands elsewhere", """
        UPDATE chain_heads SET position = position - 1
        WHERE company_id = %(company_id)s RETURNING 'the head stands at position ' || position
    """),
    Tampering("chain_head", "a head that says something else", """
        UPDATE chain_heads SET hash = sha256('')
        WHERE company_id = %(company_id)s RETURNING 'position ' || position
    """),
    Tampering("chain_head", "no head", """
        DELETE FROM chain_heads WHERE company_id = %(company_id)s RETURNING 'seals up to position ' || position
    """),
    Tampering("chain_head", "no seals", """
        DELETE FROM seals WHERE company_id = %(company_id)s RETURNING 'there are no seals'
    """, also("chain")),
    Tampering("chain_head", "a seal too many", """
        INSERT INTO seals SELECT company_id, position + 1, 9223372036854775807, sha256('') FROM chain_heads
        WHERE company_id = %(company_id)s RETURNING 'txn_9223372036854775807'
    """, also("chain")),
]  # fmt: skip


def named(cases: list[Tampering]) -> list[Any]:
    return [pytest.param(case, id=f"{case.check}: {case.what}") for case in cases]


def test_every_check_is_broken_by_some_case() -> None:
    assert {case.check for case in UNSEALED + SEALED} == set(checks.NAMES)


def test_right_books_pass_every_check(tenant: Tenant) -> None:
    story = play_story(tenant)
    assert books.faults(story.superuser, story.id) == []
    types = {row["type"] for row in story.rows("SELECT type FROM entries WHERE company_id = %(company_id)s")}
    assert types >= {"REVERSAL", "REDEMPTION_REFUND", "EXPIRY", "DEBT_REPAYMENT", "REFERRAL_WELCOME"}
    for _ in ("not sealed", "sealed"):
        answer = report(story)
        assert [(each.name, each.ok, each.detail) for each in answer.checks] == [
            (name, True, None) for name in checks.NAMES
        ]
        assert answer.ok is True
        seal_all(story)
    head = report(story).head
    assert head is not None
    last = seals(story)[-1]
    assert (head.position, bytes.fromhex(head.hash)) == (last["position"], last["seal_hash"])


@pytest.mark.newest
@pytest.mark.parametrize("case", named(UNSEALED + SEALED))
def test_a_check_names_the_row(story: Tenant, monkeypatch: pytest.MonkeyPatch, case: Tampering) -> None:
    """On the spot, in one window; and in the audit, where windows of a single key each look at what was changed."""
    if case in SEALED:
        seal_all(story)
    users = {external_id: user_id(story, external_id) for external_id in (ADA, BEN, CLEO)}
    rows = tamper(story, case.statement, **users)
    assert rows
    answer = report(story)
    spaces = {each.space for each in checks.CHECKS if each.name in {case.check, *case.others}}
    monkeypatch.setattr(audit, "KEYS_PER_WINDOW", {**audit.KEYS_PER_WINDOW, **dict.fromkeys(spaces, 1)})
    expect(case, rows, answer.checks)
    assert answer.ok is False
    expect(case, rows, audited(story))


def expect(case: Tampering, rows: list[str], results: list[CheckResult]) -> None:
    found: Mapping[str, str] = {each.name: each.detail or "" for each in results if not each.ok}
    assert found.keys() == {case.check, *case.others}, found
    for row in rows:
        assert row in found[case.check]
