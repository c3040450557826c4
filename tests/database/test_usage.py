"""Consuming a feature: the period's own allowance first, then bought quota, the oldest first; exact, or nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from goodword.access import entitlements
from tests.support import books
from tests.support.tenants import Answer, Tenant

FEATURE = "ai_calls"
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)

_RESTRICT = """
    INSERT INTO restrictions (company_id, user_id, feature, limit_value, created_by, created_at, updated_at)
    SELECT company_id, %(user)s, 'ai_calls', %(limit)s, id, now(), now() FROM api_keys
    WHERE company_id = %(company_id)s LIMIT 1
"""


@pytest.fixture
def ada(tenant: Tenant) -> UUID:
    """A user with points to buy quota."""
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 1000})
    return ada


def allow(tenant: Tenant, limit: int | None, feature: str = FEATURE) -> None:
    """What the plan of this company's users allows."""
    tenant.superuser.execute(
        "UPDATE plan_limits SET limit_value = %s WHERE company_id = %s AND plan_id = 'free' AND feature = %s",
        (limit, tenant.id, feature),
    )


def buy(tenant: Tenant, *quantities: int) -> None:
    for quantity in quantities:
        assert tenant.redeem("ada", tenant.add_option(cost=1, quantity=quantity)).status == 201


def used_quota(tenant: Tenant) -> list[int]:
    rows = tenant.rows(
        "SELECT used FROM quota_grants WHERE company_id = %(company_id)s ORDER BY created_at, redemption_id"
    )
    return [row["used"] for row in rows]


def allowance(answer: Answer) -> tuple[int | None, int, int | None, int]:
    body = answer.json
    return body["limit"], body["used"], body["remaining"], body["extra"]


def test_the_allowance_comes_first_then_the_oldest_quota(tenant: Tenant, ada: UUID) -> None:
    allow(tenant, 3)
    buy(tenant, 2, 5)
    seen = []
    for quantity in (2, 2, 1, 4, 1):
        answer = tenant.consume("ada", FEATURE, quantity)
        assert answer.status == 200
        assert (answer.json["allowed"], answer.json["source"]) == (True, "plan")
        seen.append((allowance(answer), used_quota(tenant)))
    assert seen == [
        ((3, 2, 8, 7), [0, 0]),
        ((3, 3, 6, 6), [1, 0]),
        ((3, 3, 5, 5), [2, 0]),
        ((3, 3, 1, 1), [2, 4]),
        ((3, 3, 0, 0), [2, 5]),
    ]
    refused = tenant.consume("ada", FEATURE)
    assert (refused.status, refused.json["code"]) == (422, "limit_reached")
    usages = tenant.rows(
        """
        SELECT from_allowance, quantity - from_allowance AS from_quota FROM usages
        WHERE company_id = %(company_id)s ORDER BY created_at
        """
    )
    assert [tuple(each.values()) for each in usages] == [(2, 0), (1, 1), (0, 1), (0, 4), (0, 1)]
    assert tenant.rows("SELECT used, used_ever FROM usage_counters WHERE user_id = %(ada)s", ada=ada) == [
        {"used": 3, "used_ever": 10}
    ]
    assert books.faults(tenant.superuser, tenant.id) == []


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("quantity", [11, 2**53 - 1])
def test_more_than_there_is_consumes_nothing(tenant: Tenant, quantity: int) -> None:
    allow(tenant, 3)
    buy(tenant, 7)
    refused = tenant.consume("ada", FEATURE, quantity)
    assert (refused.status, refused.json["code"], allowance(refused)) == (422, "limit_reached", (3, 0, 10, 7))
    assert tenant.consume("ada", FEATURE, 10).status == 200


@pytest.mark.usefixtures("ada")
def test_bought_quota_opens_what_the_plan_has_off(tenant: Tenant) -> None:
    assert tenant.consume("ada", FEATURE).json["code"] == "feature_disabled"
    buy(tenant, 1)
    assert tenant.consume("ada", FEATURE).status == 200
    assert tenant.consume("ada", FEATURE).json["code"] in {"limit_reached", "feature_disabled"}
    assert used_quota(tenant) == [1]


def test_unlimited_and_boolean_features_never_run_out(tenant: Tenant) -> None:
    tenant.add_user("ben")
    allow(tenant, None)
    allow(tenant, 1, "export_csv")
    for _ in range(3):
        assert allowance(tenant.consume("ben", FEATURE, 1000))[0] is None
        assert tenant.consume("ben", "export_csv", 2).status == 200
    assert tenant.consume("ben", "export_json").json["code"] == "feature_disabled"
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_cannot_be_used_by_anyone(tenant: Tenant) -> None:
    tenant.add_user("ben")
    allow(tenant, 5)
    tenant.superuser.execute(
        "UPDATE features SET active = false WHERE company_id = %s AND key = %s", (tenant.id, FEATURE)
    )
    assert tenant.consume("ben", FEATURE).json["code"] == "feature_disabled"
    assert tenant.consume("ben", "teleport").json["code"] == "feature_unknown"
    assert tenant.consume("nobody", FEATURE).status == 404
    assert tenant.rows("SELECT * FROM usages WHERE company_id = %(company_id)s") == []


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("UTC", "2030-03-31T23:59:59.999999Z", "2030-04-01T00:00:00Z"),
        ("Europe/Berlin", "2030-03-31T21:59:59.999999Z", "2030-03-31T22:00:00Z"),
    ],
)
def test_a_new_period_begins_at_its_very_microsecond(
    tenant: Tenant, ada: UUID, zone: str, before: str, after: str
) -> None:
    """The allowance is fresh; bought quota is not touched by it; a read sees it before anything is booked."""
    tenant.set_time_zone(zone)
    allow(tenant, 3)
    buy(tenant, 2)
    tenant.set_clock(datetime.fromisoformat(before))
    spent = tenant.consume("ada", FEATURE, 4)
    assert (allowance(spent), spent.json["resets_at"]) == ((3, 3, 1, 1), after.replace("Z", ".000000Z"))
    tenant.set_clock(datetime.fromisoformat(after))
    read = entitlements.of_feature(tenant.connection("app"), tenant.id, "ada", FEATURE)
    assert (read.used, read.remaining, read.extra) == (0, 4, 1)
    assert allowance(tenant.consume("ada", FEATURE)) == (3, 1, 3, 1)
    assert tenant.rows("SELECT used, used_ever FROM usage_counters WHERE user_id = %(ada)s", ada=ada) == [
        {"used": 1, "used_ever": 5}
    ]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_quota_is_used_by_the_end_of_its_term_and_then_by_purchase(tenant: Tenant, ada: UUID) -> None:
    """A term that is over counts no more at that very microsecond, with nothing booked."""
    noon = datetime(2030, 3, 1, 12, tzinfo=UTC)
    tenant.set_clock(noon)
    buy(tenant, 2, 3, 4, 5)
    terms = [None, noon + 2 * HOUR, noon + HOUR, noon + HOUR]
    bought = tenant.rows("SELECT redemption_id FROM quota_grants WHERE user_id = %(ada)s ORDER BY quantity", ada=ada)
    for row, ends_at in zip(bought, terms, strict=True):
        tenant.superuser.execute(
            "UPDATE quota_grants SET ends_at = coalesce(%s::timestamptz, 'infinity') WHERE redemption_id = %s",
            (ends_at, row["redemption_id"]),
        )
    by_quantity = "SELECT used FROM quota_grants WHERE user_id = %(ada)s ORDER BY quantity"
    seen = []
    for at, quantity in ((noon, 6), (noon + HOUR - TICK, 1), (noon + HOUR, 4)):
        tenant.set_clock(at)
        answer = tenant.consume("ada", FEATURE, quantity)
        assert answer.status == 200
        seen.append((answer.json["extra"], [row["used"] for row in tenant.rows(by_quantity, ada=ada)]))
    assert seen == [(8, [0, 0, 4, 2]), (7, [0, 0, 4, 3]), (1, [1, 3, 4, 3])]
    tenant.set_clock(noon + 2 * HOUR)
    assert allowance(tenant.consume("ada", FEATURE, 2)) == (0, 0, 1, 1)
    assert books.faults(tenant.superuser, tenant.id) == []


def test_a_period_that_has_begun_keeps_its_end_when_the_company_moves(tenant: Tenant) -> None:
    """The next one is of the new calendar; whoever used nothing, or has returned it, has no period that has begun."""
    allow(tenant, 3)
    for user in ("ada", "ben", "cy"):
        tenant.add_user(user)
    tenant.set_clock(datetime(2030, 3, 20, tzinfo=UTC))
    tenant.consume("ada", FEATURE, 2)
    tenant.give_back("cy", tenant.consume("cy", FEATURE, 2).json["usage_id"])
    tenant.set_time_zone("Pacific/Auckland")  # where April begins thirteen hours before it does in UTC

    def resets(user: str) -> tuple[int, str]:
        read = entitlements.of_feature(tenant.connection("app"), tenant.id, user, FEATURE)
        assert read.resets_at is not None
        return read.used, f"{read.resets_at:%m-%d %H:%M}"

    assert resets("ada") == (2, "04-01 00:00")
    assert resets("ben") == resets("cy") == (0, "03-31 11:00")
    tenant.set_clock(datetime(2030, 4, 1, tzinfo=UTC) - TICK)
    assert tenant.consume("ada", FEATURE, 2).status == 422
    assert resets("ada") == (2, "04-01 00:00")
    tenant.set_clock(datetime(2030, 4, 1, tzinfo=UTC))
    assert resets("ada") == (0, "04-30 12:00")
    assert tenant.consume("ada", FEATURE, 3).status == 200
    tenant.set_time_zone("Pacific/Pago_Pago")
    assert resets("ada") == (3, "04-30 12:00")


@pytest.mark.parametrize(
    ("source", "limit", "bought", "reason", "remaining"),
    [
        ("restriction", 2, 3, "ok", 5),
        ("restriction", 0, 3, "disabled", 0),
        ("plan", 0, 3, "ok", 3),
        ("plan", 0, 0, "disabled", 0),
        ("after a trial", 0, 3, "disabled", 0),
    ],
)
def test_whether_bought_quota_adds_to_a_limit(
    tenant: Tenant, ada: UUID, source: str, limit: int, bought: int, reason: str, remaining: int
) -> None:
    allow(tenant, limit)
    buy(tenant, *[bought] if bought else [])
    if source == "restriction":
        allow(tenant, 1)
        tenant.superuser.execute(_RESTRICT, {"company_id": tenant.id, "user": ada, "limit": limit})
    elif source == "after a trial":
        tenant.superuser.execute("UPDATE companies SET post_trial_plan = 'disabled' WHERE id = %s", (tenant.id,))
    read = entitlements.of_feature(tenant.connection("app"), tenant.id, "ada", FEATURE)
    assert (read.reason, read.limit, read.remaining, read.extra) == (reason, limit, remaining, bought)
    assert tenant.consume("ada", FEATURE, max(remaining, 1)).status == (200 if remaining else 422)
    if remaining == 0:
        assert tenant.consume("ada", FEATURE).json["code"] == "feature_disabled"


def test_what_was_off_from_the_start_is_disabled_and_what_was_bought_and_used_up_is_at_its_limit(
    tenant: Tenant, ada: UUID
) -> None:
    """Nor does what a higher plan once allowed make a difference; and after a downgrade nothing is negative."""
    tenant.add_user("ben")
    allow(tenant, 5)
    assert tenant.consume("ben", FEATURE, 4).status == 200
    allow(tenant, 2)
    read = entitlements.of_feature(tenant.connection("app"), tenant.id, "ben", FEATURE)
    assert (read.reason, read.used, read.remaining) == ("limit_reached", 4, 0)
    allow(tenant, 0)
    read = entitlements.of_feature(tenant.connection("app"), tenant.id, "ben", FEATURE)
    assert (read.reason, read.used, read.remaining) == ("disabled", 4, 0)
    buy(tenant, 1)
    assert tenant.consume("ada", FEATURE).status == 200
    tenant.superuser.execute("UPDATE quota_grants SET ended_at = now() WHERE user_id = %s", (ada,))
    refused = tenant.consume("ada", FEATURE)
    assert (refused.json["code"], refused.json["remaining"], refused.json["extra"]) == ("limit_reached", 0, 0)


def test_a_use_writes_no_activity_and_an_event_of_its_own(tenant: Tenant) -> None:
    tenant.add_user("ben")
    allow(tenant, 5)
    used = tenant.consume("ben", FEATURE, 3).json["usage_id"]
    tenant.give_back("ben", used, 2)
    events = tenant.rows(
        "SELECT type, data FROM outbox_events WHERE company_id = %(company_id)s ORDER BY created_at, id"
    )
    assert [(row["type"], row["data"]["quantity"]) for row in events] == [("usage.recorded", 3), ("usage.returned", 2)]
    assert {row["data"]["usage_id"] for row in events} == {used}
    assert tenant.rows("SELECT * FROM activity WHERE company_id = %(company_id)s") == []


@pytest.mark.usefixtures("ada")
def test_what_is_read_is_what_can_be_used(tenant: Tenant) -> None:
    allow(tenant, 2)
    buy(tenant, 3)
    for left in (5, 4, 3, 2, 1):
        read = entitlements.of_feature(tenant.connection("app"), tenant.id, "ada", FEATURE)
        assert (read.allowed, read.reason, read.remaining) == (True, "ok", left)
        assert tenant.consume("ada", FEATURE).status == 200
    read = entitlements.of_feature(tenant.connection("app"), tenant.id, "ada", FEATURE)
    assert (read.allowed, read.reason, read.remaining) == (False, "limit_reached", 0)
    assert tenant.consume("ada", FEATURE).status == 422


def test_a_key_consumes_once(tenant: Tenant) -> None:
    tenant.add_user("ben")
    allow(tenant, 5)
    first = tenant.consume("ben", FEATURE, 2, key="k")
    again = tenant.consume("ben", FEATURE, 2, key="k")
    assert (first.status, first.replayed, again.replayed) == (200, False, True)
    assert again.raw == first.raw
    other = tenant.consume("ben", FEATURE, 3, key="k")
    assert (other.status, other.json["code"]) == (409, "idempotency_key_reused")
    assert allowance(tenant.consume("ben", FEATURE))[1] == 3


@pytest.mark.usefixtures("ada")
def test_many_at_once_use_exactly_what_there_is(tenant: Tenant) -> None:
    allow(tenant, 10)
    buy(tenant, 4, 6)
    clients, rounds = 6, 5
    with ThreadPoolExecutor(clients) as threads:
        answers = threads.map(
            lambda own: [own.consume("ada", FEATURE).status for _ in range(rounds)],
            [tenant.twin() for _ in range(clients)],
        )
        statuses = [status for client in answers for status in client]
    assert (statuses.count(200), statuses.count(422)) == (20, clients * rounds - 20)
    assert used_quota(tenant) == [4, 6]
    assert books.faults(tenant.superuser, tenant.id) == []
