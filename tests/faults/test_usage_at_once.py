"""Many clients at one allowance while its period ends, at midnights of all kinds, and many returns of one use."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import chain

import psycopg
import pytest

from local.client import Answer
from tests.faults.conftest import CLIENTS
from tests.support import books, rows
from tests.support.clients import Call, Clients, call
from tests.support.companies import Company

ALLOWANCE = 100
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)

_TAKEN = """
    SELECT period_ends_at, sum(quantity)::integer AS taken, bool_and(created_at < period_ends_at) AS is_in_time
    FROM usages WHERE company_id = %(id)s GROUP BY period_ends_at ORDER BY period_ends_at
"""


def settle(superuser: psycopg.Connection, company: Company, zone: str) -> None:
    """Move a company to another time zone, where its users may take so many photos a day."""
    values = {"id": company.id, "zone": zone, "limit": ALLOWANCE}
    superuser.execute("UPDATE companies SET time_zone = %(zone)s WHERE id = %(id)s", values)
    superuser.execute("UPDATE features SET reset = 'daily' WHERE company_id = %(id)s AND key = 'photos'", values)
    superuser.execute(
        "UPDATE plan_limits SET limit_value = %(limit)s WHERE company_id = %(id)s AND feature = 'photos'", values
    )


def use(company: Company, quantity: int = 1) -> Call:
    return call(company, "POST", "/v1/users/ada/usage", {"feature": "photos", "quantity": quantity})


def statuses(heard: list[list[Answer]]) -> Counter[int]:
    return Counter(answer.status for answer in chain.from_iterable(heard))


@pytest.mark.parametrize(
    ("zone", "begins", "hours"),
    [
        ("UTC", "2026-06-01T00:00:00+00:00", 24),
        # the day whose midnight comes twice, and the one after it
        ("America/Havana", "2026-11-01T04:00:00+00:00", 25),
        ("America/Havana", "2026-11-02T05:00:00+00:00", 24),
        # the day whose midnight does not come
        ("America/Santiago", "2026-09-06T04:00:00+00:00", 23),
    ],
)
def test_each_day_gives_its_allowance_once_to_64_clients_that_use_it_over_midnight(
    company: Company, clients: Clients, superuser: psycopg.Connection, zone: str, begins: str, hours: int
) -> None:
    midnight = datetime.fromisoformat(begins)
    settle(superuser, company, zone)
    company.set_clock(midnight - TICK)
    company.sign_up("ada")
    before = statuses(clients.fire(company.url, [[use(company)] * 2] * CLIENTS))
    assert before == {200: ALLOWANCE, 422: 2 * CLIENTS - ALLOWANCE}
    strike = call(company, "PUT", "/v1/test-clock", {"now": midnight.isoformat()})
    over = clients.fire(company.url, [[use(company), strike, use(company)], *[[use(company)] * 2] * (CLIENTS - 1)])
    after = clients.fire(company.url, [[use(company)] * 2] * CLIENTS)
    assert statuses(over)[200] - 1 + statuses(after)[200] == ALLOWANCE
    company.set_clock(midnight + hours * HOUR - TICK)
    assert company.api.send("POST", "/v1/users/ada/usage", {"feature": "photos"}).status == 422
    company.set_clock(midnight + hours * HOUR)
    assert company.ok("GET", "/v1/users/ada/entitlements/photos")["remaining"] == ALLOWANCE
    taken = rows.find(superuser, _TAKEN, id=company.id)
    assert [tuple(row.values()) for row in taken] == [
        (midnight, ALLOWANCE, True), (midnight + hours * HOUR, ALLOWANCE, True),
    ]  # fmt: skip
    assert books.faults(superuser, company.id) == []


def test_64_clients_return_no_more_than_was_used(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    settle(superuser, company, "UTC")
    company.sign_up("ada")
    used = company.ok("POST", "/v1/users/ada/usage", {"feature": "photos", "quantity": ALLOWANCE})["usage_id"]
    give_back = call(company, "POST", f"/v1/users/ada/usage/{used}/return", {"quantity": 3})
    heard = clients.fire(company.url, [[give_back]] * CLIENTS)
    assert statuses(heard) == {200: 33, 422: CLIENTS - 33}
    left = sorted(answer.json["returnable"] for answer in chain.from_iterable(heard) if answer.status == 200)
    assert left == list(range(1, ALLOWANCE, 3))
    assert company.ok("GET", "/v1/users/ada/entitlements/photos")["used"] == 1
    assert books.faults(superuser, company.id) == []
