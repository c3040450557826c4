"""Earned points taken back, and given back again: from where, how many at most, and once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import pytest

from tests.support import books
from tests.support.tenants import Tenant
from tests.support.waiting import LONGEST_SECONDS

NOW = datetime.fromisoformat("2030-01-31T12:00:00Z")
A_MONTH_LATER = datetime.fromisoformat("2030-02-28T12:00:00Z")
ALL = 10**9


@pytest.fixture
def ada(tenant: Tenant) -> UUID:
    """A user without points, on 31 January 2030."""
    tenant.set_clock(NOW)
    return tenant.add_user("ada")


def earn(tenant: Tenant, user_id: UUID, points: int, reference: str, **more: object) -> None:
    (entry,) = tenant.post({"user_id": user_id, "points": points, "reference": reference, **more})
    assert entry is not None


def reverse(tenant: Tenant, user_id: UUID, points: int, reference: str, **more: object) -> tuple[int, int] | None:
    """What a reversal took from the balance and what it left owing, both below or at 0; None where it took nothing."""
    (entry,) = tenant.post({
        "user_id": user_id, "type": "REVERSAL", "points": points, "reference": reference, **more,
    })  # fmt: skip
    return None if entry is None else (entry["delta"], -entry["debt_delta"])


def reinstate(tenant: Tenant, user_id: UUID, points: int, reference: str, **more: object) -> int | None:
    """What a reinstatement gave back; None where it gave nothing."""
    (entry,) = tenant.post({
        "user_id": user_id, "type": "REINSTATEMENT", "points": points, "reference": reference, **more,
    })  # fmt: skip
    return None if entry is None else entry["delta"]


def test_a_reversal_is_an_entry_and_takes_the_earnings_own_points(tenant: Tenant, ada: UUID) -> None:
    """However late in the burn order they stand."""
    earn(tenant, ada, 20, "awd_1", priority=1, expiry_months=1)
    earn(tenant, ada, 30, "awd_2", priority=900)
    (entry,) = tenant.post({
        "user_id": ada, "type": "REVERSAL", "points": 12, "reference": "awd_2", "occasion": "rfd_1",
        "program_version": 1, "note": "refunded",
    })  # fmt: skip
    assert entry == {
        "user_id": ada, "type": "REVERSAL", "delta": -12, "debt_delta": 0, "balance_after": 38, "debt_after": 0,
        "version": 3, "reference": "awd_2", "occasion": "rfd_1", "effective_at": NOW,
    }  # fmt: skip
    assert tenant.wallet(ada) == {
        "company_id": tenant.id, "user_id": ada, "balance": 38, "debt": 0, "total_earned": 50, "total_spent": 0,
        "total_expired": 0, "total_reversed": -12, "version": 3, "next_expiry_at": A_MONTH_LATER,
    }  # fmt: skip
    assert tenant.lots(ada) == [(20, 20, A_MONTH_LATER), (30, 18, None)]
    assert tenant.burned(ada) == [(3, 30, 12)]
    stored = tenant.entries(ada)[-1]
    assert (stored["program_version"], stored["created_at"]) == (1, NOW)
    (note,) = tenant.rows("SELECT * FROM entry_notes WHERE company_id = %(company_id)s")
    assert (note["entry_id"], note["note"]) == (stored["id"], "refunded")
    assert stored["note_hash"] == sha256(note["salt"].bytes + b"refunded").digest()
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_the_earnings_own_points_do_not_cover_comes_from_the_others_in_burn_order(
    tenant: Tenant, ada: UUID
) -> None:
    earn(tenant, ada, 40, "awd_1", priority=1)
    tenant.redeem("ada", tenant.add_option(cost=33))
    for points, priority, months in [(11, 100, None), (12, 100, 3), (13, 50, None), (14, 100, 2), (15, 100, 2)]:
        earn(tenant, ada, points, f"other {points}", priority=priority, expiry_months=months)
    assert reverse(tenant, ada, 36, "awd_1") == (-36, 0)
    assert tenant.burned(ada)[1:] == [(8, 40, 7), (8, 13, 13), (8, 14, 14), (8, 15, 2)]
    assert tenant.wallet(ada)["debt"] == 0
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_the_whole_wallet_cannot_cover_is_owed(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 40, "awd_1")
    tenant.redeem("ada", tenant.add_option(cost=40))
    earn(tenant, ada, 10, "awd_2")
    assert reverse(tenant, ada, 25, "awd_1", occasion="rfd_1") == (-10, -15)
    assert reverse(tenant, ada, 15, "awd_1", occasion="rfd_2") == (0, -15)
    assert tenant.changes(ada)[3:] == [("REVERSAL", -10, 15, 0, 15), ("REVERSAL", 0, 15, 0, 30)]
    assert tenant.burned(ada) == [(2, 40, 40), (4, 10, 10)]
    wallet = tenant.wallet(ada)
    assert (wallet["balance"], wallet["debt"], wallet["total_reversed"]) == (0, 30, -10)
    earn(tenant, ada, 50, "awd_3")
    assert tenant.changes(ada)[5:] == [("IMPORT", 50, 0, 50, 30), ("DEBT_REPAYMENT", -30, -30, 20, 0)]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_no_more_is_taken_than_was_given(tenant: Tenant, ada: UUID) -> None:
    """In one reversal or in many; where nothing is left to take, there is no entry."""
    earn(tenant, ada, 40, "awd_1")
    earn(tenant, ada, 100, "awd_2")
    taken = [reverse(tenant, ada, 15, "awd_1", occasion=occasion) for occasion in "abcde"]
    assert taken == [(-15, 0), (-15, 0), (-10, 0), None, None]
    assert reverse(tenant, ada, ALL, "awd_2") == (-100, 0)
    assert reverse(tenant, ada, ALL, "awd_3") is None
    assert len(tenant.entries(ada)) == 6
    assert (tenant.wallet(ada)["balance"], tenant.wallet(ada)["total_reversed"]) == (0, -140)
    assert books.faults(tenant.superuser, tenant.id) == []


@pytest.mark.parametrize("points", [0, -5])
def test_less_than_a_point_is_nothing_to_take_or_to_give_back(tenant: Tenant, ada: UUID, points: int) -> None:
    earn(tenant, ada, 40, "awd_1")
    reverse(tenant, ada, 10, "awd_1", occasion="rfd_1")
    assert reverse(tenant, ada, points, "awd_1", occasion="rfd_2") is None
    assert reinstate(tenant, ada, points, "awd_1") is None
    assert len(tenant.entries(ada)) == 2


def test_a_reversal_is_booked_once_for_ever(tenant: Tenant, ada: UUID) -> None:
    """By reference and occasion; a repetition answers the entry that stands, whatever it asks for."""
    earn(tenant, ada, 40, "awd_1")
    reversal = {"user_id": ada, "type": "REVERSAL", "points": 10, "reference": "awd_1", "occasion": "rfd_1"}
    first = tenant.post(reversal)
    assert tenant.post(reversal) == first
    assert tenant.post({**reversal, "points": 30}, reversal) == [*first, *first]
    assert tenant.wallet(ada)["balance"] == 30
    assert tenant.post({**reversal, "occasion": "rfd_2"}, {**reversal, "occasion": "rfd_2"})[0] != first[0]
    assert tenant.wallet(ada)["balance"] == 20


def test_a_reversal_that_took_nothing_left_no_mark(tenant: Tenant, ada: UUID) -> None:
    """Its key is free: it takes once there is something to take."""
    assert reverse(tenant, ada, 10, "awd_1") is None
    earn(tenant, ada, 40, "awd_1")
    assert reverse(tenant, ada, 10, "awd_1") == (-10, 0)


def test_all_that_was_booked_under_one_reference_is_one_earning(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 10, "awd_1", occasion="1", priority=200)
    earn(tenant, ada, 20, "awd_1", occasion="2", priority=200)
    earn(tenant, ada, 30, "awd_1", type="MILESTONE", priority=300)
    earn(tenant, ada, 40, "awd_2", priority=1)
    assert reverse(tenant, ada, 35, "awd_1", occasion="rfd_1") == (-35, 0)
    assert reverse(tenant, ada, 35, "awd_1", occasion="rfd_2") == (-25, 0)
    assert tenant.burned(ada) == [(5, 10, 10), (5, 20, 20), (5, 30, 5), (6, 30, 25)]


def test_nobody_elses_points_are_taken(tenant: Tenant, other_tenant: Tenant, ada: UUID) -> None:
    """Of one reference, by whom it was earned; of one company."""
    ben, stranger = tenant.add_user("ben"), other_tenant.add_user("ada")
    earn(tenant, ada, 40, "awd_1", occasion="ada")
    earn(tenant, ben, 50, "awd_1", occasion="ben")
    earn(other_tenant, stranger, 60, "awd_2")
    assert reverse(tenant, ada, ALL, "awd_1", occasion="ada") == (-40, 0)
    assert reverse(tenant, ada, ALL, "awd_1", occasion="ada again") is None
    assert reverse(tenant, ada, ALL, "awd_2") is None
    assert reverse(tenant, ben, ALL, "awd_1", occasion="ben") == (-50, 0)
    assert reinstate(tenant, ben, ALL, "awd_1", occasion="ben") == 50
    assert reinstate(tenant, ada, ALL, "awd_1", occasion="ada") == 40
    assert other_tenant.wallet(stranger)["balance"] == 60
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_expired_is_neither_taken_nor_owed(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 40, "awd_1", expiry_months=1)
    earn(tenant, ada, 100, "awd_2")
    tenant.redeem("ada", tenant.add_option(cost=15))
    tenant.set_clock(A_MONTH_LATER)
    assert reverse(tenant, ada, ALL, "awd_1", occasion="rfd_1") == (-15, 0), "what was spent in time"
    assert tenant.changes(ada)[2:] == [
        ("REDEMPTION_QUOTA", -15, 0, 125, 0), ("EXPIRY", -25, 0, 100, 0), ("REVERSAL", -15, 0, 85, 0),
    ]  # fmt: skip
    assert tenant.burned(ada)[2:] == [(5, 100, 15)]
    assert reverse(tenant, ada, ALL, "awd_1", occasion="rfd_2") is None
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_expired_whole_cannot_be_taken_at_all(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 40, "awd_1", expiry_months=1)
    earn(tenant, ada, 100, "awd_2")
    tenant.set_clock(A_MONTH_LATER)
    assert reverse(tenant, ada, 40, "awd_1") is None
    assert tenant.changes(ada)[2:] == [("EXPIRY", -40, 0, 100, 0)]


def test_what_was_reversed_in_time_does_not_expire(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 40, "awd_1", expiry_months=1)
    reverse(tenant, ada, 30, "awd_1")
    tenant.set_clock(A_MONTH_LATER)
    assert reverse(tenant, ada, ALL, "awd_1", occasion="rfd_2") is None
    assert tenant.changes(ada)[1:] == [("REVERSAL", -30, 0, 10, 0), ("EXPIRY", -10, 0, 0, 0)]


def test_a_reinstatement_gives_back_what_reversals_took_as_fresh_points(tenant: Tenant, ada: UUID) -> None:
    """With a term of their own, which begins when they are booked."""
    earn(tenant, ada, 40, "awd_1", expiry_months=1)
    reverse(tenant, ada, 30, "awd_1")
    tenant.set_clock(A_MONTH_LATER)
    (entry,) = tenant.post({
        "user_id": ada, "type": "REINSTATEMENT", "points": 25, "reference": "awd_1", "occasion": "won",
        "expiry_months": 1, "priority": 7, "note": "won",
    })  # fmt: skip
    assert entry == {
        "user_id": ada, "type": "REINSTATEMENT", "delta": 25, "debt_delta": 0, "balance_after": 25, "debt_after": 0,
        "version": 4, "reference": "awd_1", "occasion": "won", "effective_at": A_MONTH_LATER,
    }  # fmt: skip
    term = datetime.fromisoformat("2030-03-28T12:00:00Z")
    assert tenant.lots(ada) == [(40, 0, A_MONTH_LATER), (25, 25, term)]
    assert tenant.rows("SELECT priority FROM lots WHERE company_id = %(company_id)s AND open") == [{"priority": 7}]
    assert tenant.wallet(ada) == {
        "company_id": tenant.id, "user_id": ada, "balance": 25, "debt": 0, "total_earned": 40, "total_spent": 0,
        "total_expired": -10, "total_reversed": -5, "version": 4, "next_expiry_at": term,
    }  # fmt: skip
    (note,) = tenant.rows("SELECT note FROM entry_notes WHERE company_id = %(company_id)s")
    assert note == {"note": "won"}
    assert books.faults(tenant.superuser, tenant.id) == []


def test_no_more_is_given_back_than_was_taken(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 40, "awd_1")
    earn(tenant, ada, 40, "awd_2")
    assert reinstate(tenant, ada, 10, "awd_1", occasion="early") is None
    reverse(tenant, ada, 20, "awd_1", occasion="rfd_1")
    reverse(tenant, ada, 5, "awd_1", occasion="rfd_2")
    given_back = [reinstate(tenant, ada, 10, "awd_1", occasion=occasion) for occasion in "abcd"]
    assert given_back == [10, 10, 5, None]
    assert reinstate(tenant, ada, 10, "awd_2") is None
    assert reinstate(tenant, ada, 10, "awd_3") is None
    assert (tenant.wallet(ada)["balance"], tenant.wallet(ada)["total_reversed"]) == (80, 0)
    assert books.faults(tenant.superuser, tenant.id) == []


def test_a_reinstatement_is_booked_once_for_ever(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 40, "awd_1")
    reverse(tenant, ada, 40, "awd_1")
    reinstatement = {"user_id": ada, "type": "REINSTATEMENT", "points": 10, "reference": "awd_1", "occasion": "won"}
    first = tenant.post(reinstatement)
    assert tenant.post(reinstatement) == first
    assert tenant.post({**reinstatement, "points": 30}, reinstatement) == [*first, *first]
    assert tenant.wallet(ada)["balance"] == 10


def test_a_reinstatement_repays_the_debt_that_its_reversal_left(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 40, "awd_1")
    tenant.redeem("ada", tenant.add_option(cost=40))
    assert reverse(tenant, ada, ALL, "awd_1") == (0, -40)
    assert reinstate(tenant, ada, 30, "awd_1", occasion="won in part") == 30
    assert reinstate(tenant, ada, 30, "awd_1", occasion="won") == 10
    assert tenant.changes(ada)[2:] == [
        ("REVERSAL", 0, 40, 0, 40),
        ("REINSTATEMENT", 30, 0, 30, 40),
        ("DEBT_REPAYMENT", -30, -30, 0, 10),
        ("REINSTATEMENT", 10, 0, 10, 10),
        ("DEBT_REPAYMENT", -10, -10, 0, 0),
    ]
    wallet = tenant.wallet(ada)
    assert (wallet["balance"], wallet["debt"], wallet["total_reversed"]) == (0, 0, 0)
    assert tenant.lots(ada) == [(40, 0, None), (30, 0, None), (10, 0, None)]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_is_reinstated_beyond_a_debt_can_be_spent(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 40, "awd_1")
    tenant.redeem("ada", tenant.add_option(cost=25))
    assert reverse(tenant, ada, ALL, "awd_1") == (-15, -25)
    assert reinstate(tenant, ada, ALL, "awd_1") == 40
    assert tenant.changes(ada)[3:] == [("REINSTATEMENT", 40, 0, 40, 25), ("DEBT_REPAYMENT", -25, -25, 15, 0)]
    assert tenant.wallet(ada)["total_reversed"] == 0
    assert tenant.redeem("ada", tenant.add_option(cost=15)).status == 201
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_was_reinstated_can_be_reversed_again(tenant: Tenant, ada: UUID) -> None:
    """Its lot is the earning's own, too; taken and given back any number of times, it never comes to more or less."""
    earn(tenant, ada, 10, "awd_0", priority=1)
    earn(tenant, ada, 40, "awd_1", expiry_months=1)
    for number in range(3):
        assert reverse(tenant, ada, ALL, "awd_1", occasion=f"lost {number}") == (-40, 0)
        assert reverse(tenant, ada, ALL, "awd_1", occasion=f"lost {number} again") is None
        assert reinstate(tenant, ada, ALL, "awd_1", occasion=f"won {number}", expiry_months=1) == 40
        assert reinstate(tenant, ada, ALL, "awd_1", occasion=f"won {number} again") is None
    assert tenant.remaining(ada) == [10, 0, 0, 0, 40]
    tenant.set_clock(A_MONTH_LATER)
    assert reverse(tenant, ada, ALL, "awd_1", occasion="too late") is None
    assert tenant.wallet(ada)["balance"] == 10
    assert books.faults(tenant.superuser, tenant.id) == []


def test_one_award_taken_back_and_given_back_in_one_call(tenant: Tenant, ada: UUID) -> None:
    """Each posting of a call finds what those before it left."""
    award = {"user_id": ada, "points": 40, "reference": "awd_1"}
    booked = tenant.post(
        award,
        {**award, "type": "REVERSAL", "occasion": "a"},
        {**award, "type": "REVERSAL", "occasion": "b"},
        {**award, "type": "REINSTATEMENT", "points": 10},
        {**award, "type": "REVERSAL", "occasion": "c"},
    )
    assert [entry and entry["delta"] for entry in booked] == [40, -40, None, 10, -10]
    assert tenant.wallet(ada)["balance"] == 0
    assert books.faults(tenant.superuser, tenant.id) == []


@pytest.mark.parametrize("kind", ["REVERSAL", "REINSTATEMENT"])
def test_a_note_and_its_entry_come_and_go_together(tenant: Tenant, ada: UUID, kind: str) -> None:
    """A note that finds nothing to book is not kept."""
    tenant.post({"user_id": ada, "type": kind, "points": 1, "reference": "awd_1", "note": "secret"})
    assert tenant.rows("SELECT * FROM entry_notes WHERE company_id = %(company_id)s") == []


CLIENTS = 50


def at_once(tenant: Tenant, postings: list[dict[str, object]]) -> list[dict[str, object] | None]:
    """What each posting's entry is, every one posted by a client of its own at the same moment."""
    start = threading.Barrier(
        len(postings), timeout=LONGEST_SECONDS
    )  # a client that fails must not keep the others waiting

    def post(posting: dict[str, object]) -> dict[str, object] | None:
        own = tenant.twin()
        own.connection("app")
        start.wait()
        (entry,) = own.post(posting)
        return entry

    with ThreadPoolExecutor(len(postings)) as threads:
        return list(threads.map(post, postings))


def test_one_award_reversed_by_50_clients_at_once_is_reversed_once(tenant: Tenant, ada: UUID) -> None:
    """By one key: one entry, which everybody is answered."""
    earn(tenant, ada, 40, "awd_1")
    earn(tenant, ada, 1000, "awd_2")
    reversal: dict[str, object] = {
        "user_id": ada, "type": "REVERSAL", "points": 25, "reference": "awd_1", "occasion": "rfd_1",
    }  # fmt: skip
    answers = at_once(tenant, [reversal] * CLIENTS)
    assert answers == [answers[0]] * CLIENTS
    assert tenant.changes(ada)[2:] == [("REVERSAL", -25, 0, 1015, 0)]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_50_reversals_at_once_take_no_more_than_was_given(tenant: Tenant, ada: UUID) -> None:
    """By as many keys: some take, the others find nothing left."""
    earn(tenant, ada, 40, "awd_1")
    earn(tenant, ada, 1000, "awd_2")
    answers = at_once(tenant, [
        {"user_id": ada, "type": "REVERSAL", "points": 7, "reference": "awd_1", "occasion": f"rfd_{client}"}
        for client in range(CLIENTS)
    ])  # fmt: skip
    assert [answer for answer in answers if answer is None] == [None] * (CLIENTS - 6)
    assert [entry["delta"] for entry in tenant.entries(ada)[2:]] == [-7, -7, -7, -7, -7, -5]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_reversals_and_reinstatements_at_once_come_to_the_same(tenant: Tenant, ada: UUID) -> None:
    earn(tenant, ada, 40, "awd_1")
    tenant.adjust("ada", -30)
    answers = at_once(tenant, [
        {"user_id": ada, "type": kind, "points": ALL, "reference": "awd_1", "occasion": str(client)}
        for client in range(10)
        for kind in ("REVERSAL", "REINSTATEMENT")
    ])  # fmt: skip
    taken = sum(answer is not None and answer["type"] == "REVERSAL" for answer in answers)
    given_back = sum(answer is not None and answer["type"] == "REINSTATEMENT" for answer in answers)
    assert taken - given_back in {0, 1}
    wallet = tenant.wallet(ada)
    assert (wallet["balance"], wallet["debt"]) == ((10, 0) if taken == given_back else (0, 30))
    assert books.faults(tenant.superuser, tenant.id) == []
