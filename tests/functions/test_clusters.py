"""Clusters on a review: the people a referee hangs together with, and how many were seen where they were."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from goodword.fraud import reviews
from goodword.fraud.reviews import ReviewQuery
from tests.support.companies import Company
from tests.support.growth import FLAT, Referrer
from tests.support.suspects import OpenShop, decide, queue, review_of
from tests.support.trust import suspecting

CAREFUL = suspecting(signals={}, limits={"registrations_per_referrer_per_day": 0}, tiers=FLAT)
"""Every referral is reviewed, whoever comes and from wherever."""


@pytest.fixture
def shop(open_shop: OpenShop) -> Company:
    return open_shop(CAREFUL)


@pytest.fixture
def ada(shop: Company) -> Referrer:
    return Referrer(shop)


def cluster_of(shop: Company, person: str) -> dict[str, Any]:
    return review_of(shop, person)["cluster"]


def test_who_shares_nothing_is_alone(shop: Company, ada: Referrer) -> None:
    ada.bring("ben", ip="8.8.8.8", device_fingerprint="bens")
    ada.bring("cleo", ip="9.9.9.9", device_fingerprint="cleos")
    ada.bring("dan")
    for person in ("ben", "cleo", "dan"):
        assert cluster_of(shop, person) == {"referrals": 1, "rings": 0, "shared": []}
    assert review_of(shop, "ben")["seen"] == {"ip": 1, "device": 1}
    assert review_of(shop, "dan")["seen"] == {"ip": None, "device": None}


def test_a_cluster_is_joined_by_whatever_each_two_of_it_share(shop: Company, ada: Referrer) -> None:
    """Ben and Cleo have an address in common, Cleo and Dan a phone, Dan and Eli the block of their addresses."""
    ada.bring("ben", ip="8.8.8.8")
    assert cluster_of(shop, "ben") == {"referrals": 1, "rings": 0, "shared": []}
    ada.bring("cleo", ip="8.8.8.8", device_fingerprint="phone")
    assert cluster_of(shop, "ben") == {"referrals": 2, "rings": 0, "shared": ["ip"]}
    ada.bring("dan", ip="9.9.9.9", device_fingerprint="phone")
    assert cluster_of(shop, "ben") == {"referrals": 3, "rings": 0, "shared": ["ip", "device"]}
    ada.bring("eli", ip="9.9.9.10")
    ada.bring("fay", ip="7.7.7.7", device_fingerprint="fays")
    for person in ("ben", "cleo", "dan", "eli"):
        assert cluster_of(shop, person) == {"referrals": 4, "rings": 0, "shared": ["ip", "device", "ip_block"]}
    assert cluster_of(shop, "fay") == {"referrals": 1, "rings": 0, "shared": []}
    assert review_of(shop, "cleo")["seen"] == {"ip": 2, "device": 2}
    assert review_of(shop, "eli")["seen"] == {"ip": 1, "device": None}


# A login with the device of somebody else.
_LOGIN = """
    INSERT INTO user_fingerprints (company_id, user_id, device_hash, hash_key_id, ip_type, context, first_seen_at,
        last_seen_at)
    SELECT owner.company_id, person.id, device_hash, hash_key_id, ip_type, 'login', now(), now()
    FROM users AS owner JOIN users AS person USING (company_id)
    JOIN user_fingerprints AS seen ON seen.company_id = owner.company_id AND seen.user_id = owner.id
    WHERE owner.company_id = %(company_id)s AND owner.external_id = %(owner)s AND person.external_id = %(person)s
"""


def test_what_somebody_is_seen_with_later_joins_as_well(
    shop: Company, ada: Referrer, superuser: psycopg.Connection
) -> None:
    ada.bring("ben", device_fingerprint="bens")
    ada.bring("cleo", device_fingerprint="cleos")
    superuser.execute(_LOGIN.encode(), {"company_id": shop.id, "owner": "ben", "person": "cleo"})
    assert cluster_of(shop, "ben") == {"referrals": 2, "rings": 0, "shared": ["device"]}
    assert review_of(shop, "ben")["seen"] == {"ip": None, "device": 2}


def test_a_ring_is_made_of_referrals_whose_people_are_both_in_the_cluster(shop: Company) -> None:
    """Each brings the next one, all with one phone; the first was brought by somebody who has nothing to do with it."""
    referrer = Referrer(shop)
    for number in range(4):
        name = f"account_{number}"
        referrer.bring(name, device_fingerprint="phone")
        referrer = Referrer.known(shop, name)
    assert [each["cluster"] for each in queue(shop)] == [{"referrals": 4, "rings": 3, "shared": ["device"]}] * 4


def test_what_another_company_has_seen_joins_nobody(shop: Company, ada: Referrer, other: Company) -> None:
    ada.bring("ben", ip="8.8.8.8", device_fingerprint="phone")
    other.sign_up("ben", ip="8.8.8.8", device_fingerprint="phone")
    assert review_of(shop, "ben")["seen"] == {"ip": 1, "device": 1}
    assert cluster_of(shop, "ben") == {"referrals": 1, "rings": 0, "shared": []}


def test_a_cluster_stays_with_a_review_that_is_decided(shop: Company, ada: Referrer) -> None:
    ada.bring("ben", device_fingerprint="phone")
    ada.bring("cleo", device_fingerprint="phone")
    assert decide(shop, review_of(shop, "ben")["id"], "approve")["cluster"]["referrals"] == 2


# A crowd of people behind one address, and as many who share nothing.
_CROWD = """
    WITH people AS (
        SELECT gen_random_uuid() AS id, number FROM generate_series(1, %(people)s) AS number
    ), users AS (
        INSERT INTO users (company_id, id, external_id, created_at, updated_at)
        SELECT %(company_id)s, id, 'crowd_' || number, now(), now() FROM people
    )
    INSERT INTO user_fingerprints (company_id, user_id, ip_hash, block_hash, device_hash, hash_key_id, ip_type, context,
        first_seen_at, last_seen_at)
    SELECT %(company_id)s, people.id, CASE WHEN number %% 2 = 0 THEN seen.ip_hash ELSE own END,
        CASE WHEN number %% 2 = 0 THEN seen.block_hash ELSE own END, own, seen.hash_key_id, seen.ip_type,
        'registration', now(), now()
    FROM people CROSS JOIN LATERAL sha256(people.id::text::bytea) AS own CROSS JOIN (
        SELECT * FROM user_fingerprints WHERE company_id = %(company_id)s AND ip_hash IS NOT NULL LIMIT 1) AS seen
"""


@pytest.fixture
def crowded(shop: Company, ada: Referrer, superuser: psycopg.Connection) -> Iterator[Company]:
    """Ben is one of 3,000 people behind one address."""
    ada.bring("ben", ip="8.8.8.8", device_fingerprint="phone")
    superuser.execute(_CROWD.encode(), {"company_id": shop.id, "people": 6000})
    superuser.execute("ANALYZE users, user_fingerprints, referrals, reviews")
    yield shop
    superuser.execute("DELETE FROM user_fingerprints WHERE company_id = %(id)s", {"id": shop.id})


def test_a_crowd_behind_one_address_is_looked_at_within_bounds(crowded: Company) -> None:
    review = review_of(crowded, "ben")
    assert review["seen"] == {"ip": 1000, "device": 1}
    assert review["cluster"]["shared"] == ["ip"]


def test_the_queue_is_shown_by_index_alone(crowded: Company, superuser: psycopg.Connection) -> None:
    asked = ReviewQuery().model_dump() | {"company_id": crowded.id}
    explained = superuser.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {reviews.SHOW_PAGE}".encode(), asked).fetchone()
    assert explained is not None
    (plan,) = explained[0]
    scans = {(node["Relation Name"], node["Node Type"]) for node in nodes(plan["Plan"]) if "Relation Name" in node}
    # the company has one review, and of a table of a page all is read
    assert ("user_fingerprints", "Seq Scan") not in scans, json.dumps(plan, indent=1)
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan["Plan"]) if "Relation Name" in node)
    assert read < 5000


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every step of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)
