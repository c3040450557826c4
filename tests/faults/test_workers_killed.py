"""A function's process is killed in the middle of a request: the gateway says so, and sending again does it once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.conftest import Fragile
from tests.support import books, rows
from tests.support.clients import Call, Clients, call, delivery
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.traffic import DONE, Traffic
from tests.support.waiting import again_and_again, wait_until_blocked

GATEWAYS_OWN = {500, 502, 503}
ENTRIES_EACH = 4
"""How many entries are booked for each process that is killed."""


@pytest.fixture
def ada(shop: Company) -> str:
    """A code; its owner has 100 points, and has referred Ben."""
    code = shop.sign_up("ada")["user"]["referral_code"]
    shop.sign_up("ben", referral_code=code)
    shop.ok("POST", "/v1/users/ada/points", {"points": 100, "note": ""}, key="capital")
    return code


def requests(shop: Company, code: str) -> dict[str, Call]:
    """Requests that all need Ada's wallet."""
    body = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 1, "cost_points": 10}
    option = shop.ok("POST", "/v1/redemption-options", body)["id"]
    body = {"kind": "unlock", "name": "Premium", "plan": "premium", "days": 30, "cost_points": 20, "stock": 1}
    unlock = shop.ok("POST", "/v1/redemption-options", body)["id"]
    return {
        "redemption": call(shop, "POST", "/v1/users/ada/redemptions", {"option_id": option}, key="buy"),
        "unlock of the last": call(shop, "POST", "/v1/users/ada/redemptions", {"option_id": unlock}, key="unlock"),
        "points": call(shop, "POST", "/v1/users/ada/points", {"points": -10, "note": ""}, key="take"),
        "signup": call(shop, "POST", "/v1/signups", {"user": {"external_id": "eve"}, "referral_code": code}),
        "payment": delivery(shop, invoice_paid("evt_1", "in_1", user="ben")),
    }


CHANGES = {"redemption": -10, "unlock of the last": -20, "points": -10, "signup": 5, "payment": 25}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_request_cut_off_by_its_process_is_done_once(
    fragile: Fragile, shop: Company, clients: Clients, ada: str, kind: str
) -> None:
    """It waits for a wallet that we hold; its process dies; the wallet is let go, and the database may go on or not."""
    sent = requests(shop, ada)[kind]
    with fragile.superuser() as superuser, ThreadPoolExecutor(1) as thread:
        superuser.execute("BEGIN")
        superuser.execute("SELECT 1 FROM wallets WHERE company_id = %s FOR UPDATE", (shop.id,))
        answering = thread.submit(clients.fire_each, shop.url, [sent])
        with fragile.superuser() as watcher:
            wait_until_blocked(watcher)
        assert fragile.kill_workers() > 0
        (cut_off,) = answering.result()
        superuser.execute("COMMIT")
        assert cut_off.status in GATEWAYS_OWN
        (again,) = clients.fire_each(shop.url, [sent])
        assert again.status in {200, 201}, again.raw
        (replay,) = clients.fire_each(shop.url, [sent])
        assert replay.status in {200, again.status}
        assert shop.balance("ada") == 105 + CHANGES[kind]
        stored = rows.count(superuser, shop.id)
        assert stored["entries"] == 3 + (2 if kind == "signup" else 1)
        assert books.faults(superuser, shop.id) == []


def test_processes_killed_one_after_the_other_do_nothing_twice(
    fragile: Fragile, shop: Company, clients: Clients
) -> None:
    """One is killed for each few entries that were booked, so that on a slow machine too the requests get done."""
    with fragile.superuser() as superuser:
        traffic = Traffic.of(shop, superuser, clients=4, rounds=2)
        booked = [rows.count(superuser, shop.id)["entries"]]

        def kill_one() -> None:
            entries = rows.count(superuser, shop.id)["entries"]
            if entries >= booked[-1] + ENTRIES_EACH:
                fragile.kill_one_worker()
                booked.append(entries)

        with again_and_again(kill_one, pause_seconds=0.02):
            heard = clients.fire(shop.url, traffic.plans)
    assert len(booked) > 3
    # where a signup was cut off, its person may not be there to be activated
    assert {answer.status for answers in heard for answer in answers} <= {*DONE, *GATEWAYS_OWN, 404}
    again = clients.fire(shop.url, traffic.plans)
    with fragile.superuser() as superuser:
        traffic.check_done_once(heard, again, superuser)
