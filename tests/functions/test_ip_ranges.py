"""Ranges of addresses by the admin API: lists that are replaced or added to, and what an address is by them."""

from typing import Any

import psycopg
import pytest

from goodword.fraud.ip_ranges import LISTED, MOST_AT_ONCE, MOST_IN_ALL
from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company

PATH = "/v1/ip-ranges"

_FILL = """
    INSERT INTO ip_ranges (company_id, ip_type, cidr)
    SELECT %(company_id)s, %(ip_type)s, set_masklen('10.0.0.0'::inet + number * 256, 24)::cidr
    FROM generate_series(1, %(many)s) AS number
"""

_COUNTED = """
    INSERT INTO ip_range_lists (company_id, ip_type, count) VALUES (%(company_id)s, %(ip_type)s, %(many)s)
"""


def fill(superuser: psycopg.Connection, company: Company, ip_type: str, many: int) -> None:
    """A list that was put together before."""
    values = {"company_id": company.id, "ip_type": ip_type, "many": many}
    superuser.execute(_FILL, values)
    superuser.execute(_COUNTED, values)


def put(company: Company, ip_type: str, *cidrs: str) -> dict[str, Any]:
    return company.ok("PUT", f"{PATH}/{ip_type}", {"cidrs": cidrs}, status=200)


def add(company: Company, ip_type: str, *cidrs: str) -> dict[str, Any]:
    return company.ok("POST", f"{PATH}/{ip_type}", {"cidrs": cidrs}, status=200)


def stored(superuser: psycopg.Connection, company: Company, ip_type: str) -> list[str]:
    select = "SELECT cidr FROM ip_ranges WHERE company_id = %(id)s AND ip_type = %(ip_type)s ORDER BY cidr"
    return [str(each["cidr"]) for each in rows.find(superuser, select, id=company.id, ip_type=ip_type)]


def kind_of(superuser: psycopg.Connection, company: Company, ip: str) -> str | None:
    return superuser.execute("SELECT ip_type_of(%s, %s::inet)", (company.id, ip)).fetchall()[0][0]


def test_a_list_is_replaced_whole(company: Company, superuser: psycopg.Connection) -> None:
    assert company.ok("GET", PATH) == {"data": [], "has_more": False}
    made = put(company, "vpn", "203.0.113.0/24", "2001:DB8::/32", "198.51.100.7", "203.0.113.0/24")
    assert made == {
        "ip_type": "vpn", "count": 3, "created_at": made["created_at"], "updated_at": made["created_at"],
    }  # fmt: skip
    assert time_of(made["created_at"])
    assert stored(superuser, company, "vpn") == ["198.51.100.7/32", "203.0.113.0/24", "2001:db8::/32"]
    replaced = put(company, "vpn", "192.0.2.0/24", "203.0.113.0/24")
    assert (replaced["count"], replaced["created_at"]) == (2, made["created_at"])
    assert replaced["updated_at"] > made["updated_at"]
    assert stored(superuser, company, "vpn") == ["192.0.2.0/24", "203.0.113.0/24"]
    assert put(company, "vpn")["count"] == 0
    assert stored(superuser, company, "vpn") == []


def test_a_list_is_added_to(company: Company, superuser: psycopg.Connection) -> None:
    assert add(company, "tor", "203.0.113.7")["count"] == 1
    assert add(company, "tor", "203.0.113.7/32", "203.0.113.8")["count"] == 2
    put(company, "datacenter", "192.0.2.0/24")
    lists = company.ok("GET", PATH)
    assert [(each["ip_type"], each["count"]) for each in lists["data"]] == [("datacenter", 1), ("tor", 2)]
    assert stored(superuser, company, "tor") == ["203.0.113.7/32", "203.0.113.8/32"]


def test_an_addition_under_one_key_is_made_once(company: Company, superuser: psycopg.Connection) -> None:
    body = {"cidrs": ["203.0.113.7"]}
    once = company.ok("POST", f"{PATH}/tor", body, key="tor-1")
    put(company, "tor")
    assert company.ok("POST", f"{PATH}/tor", body, key="tor-1") == once
    assert stored(superuser, company, "tor") == []


@pytest.mark.parametrize(
    "wrong",
    ["203.0.113.7/24", "2001:db8::1/32", "nonsense", "", "203.0.113.0/33", "fe80::1%eth0", "203.0.113.0/255.255.255.0"],
)
def test_a_range_that_cannot_be_is_named_by_its_place(
    company: Company, superuser: psycopg.Connection, wrong: str
) -> None:
    cidrs = [f"203.0.{number}.0/24" for number in range(20)]
    cidrs[17] = wrong
    for method in ("PUT", "POST"):
        assert fields(company.api.send(method, f"{PATH}/vpn", {"cidrs": cidrs})) == {"cidrs.17"}
    assert rows.count(superuser, company.id)["ip_range_lists"] == 0


@pytest.mark.parametrize("ip_type", ["unknown", "vpns", "VPN", "x"])
def test_there_are_lists_of_five_kinds(company: Company, ip_type: str) -> None:
    for method in ("PUT", "POST"):
        assert fields(company.api.send(method, f"{PATH}/{ip_type}", {"cidrs": ["203.0.113.7"]})) == {"ip_type"}
    for known in LISTED:
        put(company, known, "203.0.113.7")


def test_at_most_5000_ranges_come_at_once(company: Company, superuser: psycopg.Connection) -> None:
    many = [f"{100 + number // 65536}.{number // 256 % 256}.{number % 256}.0/24" for number in range(MOST_AT_ONCE + 1)]
    assert fields(company.api.send("PUT", f"{PATH}/vpn", {"cidrs": many})) == {"cidrs"}
    assert put(company, "vpn", *many[1:])["count"] == MOST_AT_ONCE
    assert put(company, "vpn", *many[:-1])["count"] == MOST_AT_ONCE
    assert len(stored(superuser, company, "vpn")) == MOST_AT_ONCE


def test_a_company_has_100000_ranges_in_all(company: Company, other: Company, superuser: psycopg.Connection) -> None:
    fill(superuser, company, "datacenter", MOST_IN_ALL - 2)
    assert add(company, "vpn", "203.0.113.0/24", "203.0.113.0/24", "192.0.2.0/24")["count"] == 2
    refused = company.api.send("POST", f"{PATH}/tor", {"cidrs": ["203.0.113.7"]})
    assert problem(refused, 422, "too_many_ranges")["most"] == MOST_IN_ALL
    add(company, "vpn", "203.0.113.0/24")
    put(company, "vpn", "198.51.100.0/24", "198.51.100.1")
    put(company, "vpn")
    put(company, "tor", "203.0.113.7")
    put(other, "tor", "203.0.113.7")


def test_what_an_address_is_the_lists_of_its_company_say(
    company: Company, other: Company, superuser: psycopg.Connection
) -> None:
    put(company, "datacenter", "203.0.113.0/24")
    put(company, "residential", "203.0.113.0/28", "2001:db8::/32")
    put(company, "vpn", "203.0.0.0/16")
    put(other, "tor", "0.0.0.0/0", "::/0")
    assert kind_of(superuser, company, "203.0.113.7") == "vpn"  # of several the one that says most against it
    put(company, "vpn")
    assert kind_of(superuser, company, "203.0.113.7") == "residential"  # and then the narrowest
    assert kind_of(superuser, company, "203.0.113.200") == "datacenter"
    assert kind_of(superuser, company, "2001:db8::1") == "residential"
    assert kind_of(superuser, company, "198.51.100.1") is None
    assert kind_of(superuser, other, "198.51.100.1") == "tor"


def test_the_feed_tells_that_a_list_is_another(company: Company, superuser: psycopg.Connection) -> None:
    put(company, "vpn", "203.0.113.0/24")
    select = "SELECT data FROM outbox_events WHERE company_id = %(id)s AND type = 'ip_ranges.updated'"
    assert rows.find(superuser, select, id=company.id) == [{"data": {"ip_type": "vpn", "count": 1}}]
