"""Patterns and ranges at once: no limit is overshot, and the same pattern is made once."""

from collections import Counter

import psycopg

from goodword.fraud.ip_ranges import MOST_IN_ALL
from goodword.fraud.patterns import MOST_ACTIVE
from tests.faults.conftest import CLIENTS
from tests.functions import test_fraud_patterns, test_ip_ranges
from tests.support import rows
from tests.support.clients import Clients, call
from tests.support.companies import Company

ROOM = 7
ACTIVE = "SELECT count(*) AS active FROM fraud_patterns WHERE company_id = %(id)s AND active"


def test_of_64_patterns_at_once_as_many_are_made_as_there_is_room_for(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    test_fraud_patterns.fill(superuser, company, MOST_ACTIVE - ROOM)
    spam = test_fraud_patterns.SPAM
    answers = clients.fire_each(
        company.url,
        [
            call(company, "POST", "/v1/fraud-patterns", spam | {"value": f"spam{number}.example"})
            for number in range(CLIENTS)
        ],
    )
    assert Counter(answer.status for answer in answers) == {201: ROOM, 422: CLIENTS - ROOM}
    assert rows.find_one(superuser, ACTIVE, id=company.id) == {"active": MOST_ACTIVE}
    version = rows.find_one(superuser, "SELECT patterns_version AS of FROM companies WHERE id = %(id)s", id=company.id)
    assert version == {"of": ROOM}


def test_of_64_who_activate_patterns_at_once_as_many_do_as_there_is_room_for(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    test_fraud_patterns.fill(superuser, company, MOST_ACTIVE - ROOM)
    made = [
        test_fraud_patterns.make(company, value=f"spam{number}.example", active=False)["id"]
        for number in range(CLIENTS)
    ]
    answers = clients.fire_each(
        company.url, [call(company, "PATCH", f"/v1/fraud-patterns/{id_}", {"active": True}) for id_ in made]
    )
    assert Counter(answer.status for answer in answers) == {200: ROOM, 422: CLIENTS - ROOM}
    assert rows.find_one(superuser, ACTIVE, id=company.id) == {"active": MOST_ACTIVE}


def test_the_same_pattern_64_times_at_once_is_made_once(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    same = call(company, "POST", "/v1/fraud-patterns", test_fraud_patterns.SPAM)
    answers = clients.fire_each(company.url, [same] * CLIENTS)
    assert Counter(answer.status for answer in answers) == {201: 1, 409: CLIENTS - 1}
    assert rows.count(superuser, company.id)["fraud_patterns"] == 1


def test_of_64_ranges_at_once_as_many_are_kept_as_there_is_room_for(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    test_ip_ranges.fill(superuser, company, "datacenter", MOST_IN_ALL - ROOM)
    kinds = ("vpn", "tor", "proxy", "residential")
    answers = clients.fire_each(
        company.url,
        [
            call(company, "POST", f"/v1/ip-ranges/{kinds[number % 4]}", {"cidrs": [f"203.0.113.{number}"]})
            for number in range(CLIENTS)
        ],
    )
    assert Counter(answer.status for answer in answers) == {200: ROOM, 422: CLIENTS - ROOM}
    counted = rows.find(superuser, "SELECT ip_type, count FROM ip_range_lists WHERE company_id = %(id)s", id=company.id)
    assert sum(each["count"] for each in counted) == MOST_IN_ALL
    assert rows.count(superuser, company.id)["ip_ranges"] == MOST_IN_ALL
