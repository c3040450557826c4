"""The database ends connections, or dies and recovers, between requests and in the middle of them.

Clients hear success or 503, nothing is done twice, and what a client was told stays true.
"""

from collections.abc import Callable

import pytest

from tests.faults.conftest import Fragile
from tests.support.clients import Call, Clients, call
from tests.support.companies import Company
from tests.support.traffic import Traffic, assert_unavailable
from tests.support.waiting import again_and_again

# how to break it, how often while clients are busy, and for how many rounds they are
FAULTS: dict[str, tuple[Callable[[Fragile], object], float, int]] = {
    "connections terminated": (Fragile.terminate_backends, 0.05, 1),
    "database killed": (Fragile.crash, 0.3, 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_between_requests_nobody_notices(fragile: Fragile, shop: Company, clients: Clients, fault: str) -> None:
    """Every function finds its kept connection dead and makes another; no request is answered with 503."""
    with fragile.superuser() as superuser:
        traffic = Traffic.of(shop, superuser, clients=1, rounds=1)
    break_it, _, _ = FAULTS[fault]
    heard = []
    for sent in traffic.plans[0]:
        break_it(fragile)
        heard += clients.fire_each(shop.url, [sent])
    assert 503 not in traffic.check_heard([heard])
    again = clients.insist(shop.url, traffic.plans)
    with fragile.superuser() as superuser:
        traffic.check_done_once([heard], again, superuser)


@pytest.mark.parametrize("fault", FAULTS)
def test_during_requests_nothing_is_done_twice(fragile: Fragile, shop: Company, clients: Clients, fault: str) -> None:
    break_it, pause, rounds = FAULTS[fault]
    with fragile.superuser() as superuser:
        traffic = Traffic.of(shop, superuser, clients=6, rounds=rounds)
    with again_and_again(lambda: break_it(fragile), pause_seconds=pause) as faults:
        # a process that could not connect answers 503 at once for a second: who does not wait hears nothing else
        heard = clients.fire(shop.url, traffic.plans, pause_seconds=0.2)
    assert faults["done"] > 1
    statuses = traffic.check_heard(heard)
    assert statuses[200] + statuses[201] + statuses[302] > 0, statuses
    again = clients.insist(shop.url, traffic.plans)
    with fragile.superuser() as superuser:
        traffic.check_done_once(heard, again, superuser)


def test_while_the_database_is_away_every_function_says_so_in_time(
    fragile: Fragile, shop: Company, clients: Clients
) -> None:
    """Warm or cold; and when it is back, the same requests succeed."""
    with fragile.superuser() as superuser:
        traffic = Traffic.of(shop, superuser, clients=1, rounds=1)
    reads = [
        call(shop, "GET", "/v1/users/ada"),
        call(shop, "GET", "/v1/program"),
        call(shop, "GET", f"/v1/codes/{traffic.code}"),
        Call("GET", f"/v1/codes/{traffic.code}", {"authorization": f"Bearer {shop.pub}"}),
        call(shop, "GET", "/v1/test-clock"),
        call(shop, "GET", "/v1/redemption-options"),
        call(shop, "GET", "/v1/users/ada/entitlements"),
    ]
    sent = traffic.plans[0] + reads
    fragile.cluster.stop()
    answers = clients.fire_each(shop.url, sent)
    unknown = clients.fire_each(shop.url, [Call("GET", "/v1/nowhere", {})])
    fragile.cluster.start()
    for answer in answers:
        assert_unavailable(answer)  # by the function itself, which was not cut off at its time limit
    assert unknown[0].status == 404, "what needs no database answers"
    assert {answer.status for (answer,) in clients.insist(shop.url, [[each] for each in reads])} == {200}
    again = clients.insist(shop.url, traffic.plans)
    with fragile.superuser() as superuser:
        traffic.check_done_once([answers[: len(traffic.plans[0])]], again, superuser)
