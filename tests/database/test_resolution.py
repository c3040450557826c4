"""Whose limit counts: all that restrictions, grants, subscriptions and the plan after a trial may say together."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import NamedTuple
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from goodword.access import entitlements
from goodword.access.entitlements import Entitlement
from goodword.core import ids
from tests.support.resolution import Row, Running, Winner, resolve
from tests.support.tenants import Tenant

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DEFAULT = 9

ABSENT, OFF, UNLIMITED = None, Row(0), Row(None)
# of two plans that run the numbers are equal, so that a tie is among the cases; what counts less is more generous
RESTRICTED, RUNNING, AFTER = Row(3), Row(5), Row(7)


class Case(NamedTuple):
    """What the four say of a feature."""

    restriction: Row | None
    grant: Row | None
    subscription: Row | None
    after_trial: Row | None

    @property
    def feature(self) -> str:
        """The feature of which they say it."""
        said = ("absent" if row is None else "unlimited" if row.limit is None else str(row.limit) for row in self)
        return "_".join(said)


NUMBERS = (RESTRICTED, RUNNING, RUNNING, AFTER)
LATTICE = [Case(*rows) for rows in product(*[(ABSENT, OFF, number, UNLIMITED) for number in NUMBERS])]

# What a user has, and which plans run then.
HOLDINGS = {"ada": ("granted", "subscribed"), "ben": ("granted",), "cy": ("subscribed",), "dan": ()}

_PLAN = """
    INSERT INTO plans (company_id, id, name, price_monthly_cents, price_yearly_cents, sort_order)
    VALUES (%s, %s, 'x', 0, 0, %s)
"""
_FEATURE = """
    INSERT INTO features (company_id, key, name, category, limit_type, reset, default_limit, sort_order)
    VALUES (%s, %s, 'x', 'data', 'count', 'never', %s, 0)
"""
_LIMIT = "INSERT INTO plan_limits (company_id, plan_id, feature, limit_value) VALUES (%s, %s, %s, %s)"
_RESTRICTION = """
    INSERT INTO restrictions (company_id, user_id, feature, limit_value, created_by, created_at, updated_at)
    SELECT company_id, %(user)s, %(feature)s, %(limit)s, id, now(), now() FROM api_keys
    WHERE company_id = %(company_id)s LIMIT 1
"""
_SUBSCRIPTION = """
    WITH price AS (
        INSERT INTO plan_prices (company_id, provider, price_ref, plan_id, kind)
        VALUES (%(company_id)s, 'stripe', 'price_' || %(plan)s::text, %(plan)s, 'former')
        ON CONFLICT ON CONSTRAINT plan_prices_pk DO UPDATE SET kind = 'former' RETURNING price_ref
    )
    INSERT INTO subscriptions (company_id, provider, subscription_key, objects, user_id, claimed_by, status, price_refs,
        began_at, status_at, recorded_at)
    SELECT %(company_id)s, 'stripe', 'sub_' || %(user)s::text || %(plan)s, '{}', %(user)s, 'key', 'active',
        ARRAY[price_ref], %(at)s, %(at)s, %(at)s
    FROM price
"""
_HOLD = "SELECT hold_grants(%(company_id)s, %(user)s)"
_MAKE = "SELECT make_grant(%(company_id)s, %(user)s, %(grant)s, %(at)s)"


def add_plan(tenant: Tenant, plan: str, sort_order: int, limits: Mapping[str, Row | None]) -> None:
    tenant.superuser.execute(_PLAN, (tenant.id, plan, sort_order))
    put_limits(tenant, plan, limits)


def put_limits(tenant: Tenant, plan: str, limits: Mapping[str, Row | None]) -> None:
    rows = [(tenant.id, plan, feature, row.limit) for feature, row in limits.items() if row is not None]
    tenant.superuser.cursor().executemany(_LIMIT, rows)


def subscribe(tenant: Tenant, user: UUID, plan: str) -> None:
    tenant.superuser.execute(_SUBSCRIPTION, {"company_id": tenant.id, "user": user, "plan": plan, "at": NOW})


def restrict(tenant: Tenant, user: UUID, feature: str, limit: int | None) -> None:
    tenant.superuser.execute(_RESTRICTION, {"company_id": tenant.id, "user": user, "feature": feature, "limit": limit})


def grant(tenant: Tenant, user: UUID, plan: str, *, days: int | None = 30) -> UUID:
    """A grant from now on; its id."""
    grant_id = ids.new_id()
    seconds = None if days is None else days * 86_400
    new = {"id": str(grant_id), "plan_id": plan, "source": "admin", "granted_seconds": seconds}
    values = {"company_id": tenant.id, "user": user, "grant": Jsonb(new), "at": NOW}
    with tenant.transaction("app") as connection:
        connection.execute(_HOLD, values)
        connection.execute(_MAKE, values)
    return grant_id


def entitled(tenant: Tenant, user: str, feature: str) -> Entitlement:
    return entitlements.of_feature(tenant.connection("app"), tenant.id, user, feature)


def winner(entitlement: Entitlement) -> tuple[str | None, str | None, UUID | None, int | None]:
    return entitlement.source, entitlement.plan, entitlement.grant_id, entitlement.limit


@pytest.fixture
def lattice(tenant: Tenant) -> tuple[Tenant, dict[str, UUID]]:
    """A company with a feature for every case, and the grants of its users."""
    tenant.set_clock(NOW)
    tenant.superuser.cursor().executemany(_FEATURE, [(tenant.id, case.feature, DEFAULT) for case in LATTICE])
    add_plan(tenant, "granted", 10, {case.feature: case.grant for case in LATTICE})
    add_plan(tenant, "subscribed", 20, {case.feature: case.subscription for case in LATTICE})
    put_limits(tenant, "free", {case.feature: case.after_trial for case in LATTICE})
    grants: dict[str, UUID] = {}
    for user, plans in HOLDINGS.items():
        user_id = tenant.add_user(user)
        if "granted" in plans:
            grants[user] = grant(tenant, user_id, "granted")
        if "subscribed" in plans:
            subscribe(tenant, user_id, "subscribed")
        for case in LATTICE:
            if case.restriction is not None:
                restrict(tenant, user_id, case.feature, case.restriction.limit)
    return tenant, grants


def expected(case: Case, user: str, post_trial_plan: str) -> Winner:
    running = {
        "granted": Running("granted", case.grant, sort_order=10, grant=1),
        "subscribed": Running("subscribed", case.subscription, sort_order=20),
    }
    held = [running[plan] for plan in HOLDINGS[user]]
    return resolve(case.restriction, held, Running(post_trial_plan, case.after_trial), DEFAULT)


@pytest.mark.parametrize("post_trial_plan", ["free", "disabled"])
def test_all_256_cases_for_everybody(lattice: tuple[Tenant, dict[str, UUID]], post_trial_plan: str) -> None:
    tenant, grants = lattice
    assert len({case.feature for case in LATTICE}) == 256
    tenant.superuser.execute("UPDATE companies SET post_trial_plan = %s WHERE id = %s", (post_trial_plan, tenant.id))
    for user in HOLDINGS:
        listed = entitlements.of_user(tenant.connection("app"), tenant.id, user).data
        found = {each.feature: winner(each) for each in listed}
        for case in LATTICE:
            wins = expected(case, user, post_trial_plan)
            by_grant = grants[user] if wins.grant else None
            assert found[case.feature] == (wins.source, wins.plan, by_grant, wins.limit), (user, case)


@pytest.mark.parametrize(
    ("case", "source", "limit"),
    [
        # a restriction counts alone, downwards and upwards
        (Case(OFF, UNLIMITED, UNLIMITED, UNLIMITED), "restriction", 0),
        (Case(UNLIMITED, OFF, OFF, OFF), "restriction", None),
        # of what runs the most generous counts, and a grant of equals
        (Case(ABSENT, OFF, RUNNING, UNLIMITED), "subscription", 5),
        (Case(ABSENT, RUNNING, RUNNING, AFTER), "grant", 5),
        (Case(ABSENT, RUNNING, UNLIMITED, AFTER), "subscription", None),
        # what is off by the plan that runs is off, whatever would be without it
        (Case(ABSENT, OFF, ABSENT, UNLIMITED), "grant", 0),
        # plans that say nothing leave it to the plan after a trial, and this one to the feature
        (Case(ABSENT, ABSENT, ABSENT, AFTER), "plan", 7),
        (Case(ABSENT, ABSENT, ABSENT, OFF), "plan", 0),
        (Case(ABSENT, ABSENT, ABSENT, ABSENT), "default", 9),
    ],
    ids=lambda value: value.feature if isinstance(value, Case) else str(value),
)  # fmt: skip
def test_some_cases_reckoned_by_hand(case: Case, source: str, limit: int | None) -> None:
    wins = expected(case, "ada", "free")
    assert (wins.source, wins.limit) == (source, limit)


@pytest.mark.parametrize(
    ("grants", "wins"),
    [
        # the highest plan, though it ends first
        ([("low", 30), ("high", 1)], 1),
        # of plans of one height the one that ends last
        ([("low", 30), ("beside", 31)], 1),
        ([("low", None), ("beside", 31)], 0),
        # and of those that end together the oldest
        ([("beside", 30), ("low", 30)], 0),
        ([("low", None), ("beside", None)], 0),
    ],
)
def test_of_equal_grants_one_is_named(tenant: Tenant, grants: list[tuple[str, int | None]], wins: int) -> None:
    tenant.set_clock(NOW)
    user = tenant.add_user("ada")
    orders = {"low": 5, "beside": 5, "high": 6}
    for plan, sort_order in orders.items():
        add_plan(tenant, plan, sort_order, {"photos": RUNNING})
    subscribe(tenant, user, "high")
    made = [grant(tenant, user, plan, days=days) for plan, days in grants]
    running = [
        Running(plan, RUNNING, orders[plan], number, NOW + days * DAY if days else NOW + 10_000 * DAY)
        for number, (plan, days) in enumerate(grants, start=1)
    ]
    subscription = Running("high", RUNNING, orders["high"])
    model = resolve(None, [subscription, *running], Running("free", AFTER), DEFAULT)
    assert (model.plan, model.grant) == (grants[wins][0], wins + 1)
    assert winner(entitled(tenant, "ada", "photos")) == ("grant", grants[wins][0], made[wins], 5)


def test_a_plan_of_one_row_opens_one_feature_and_no_other(tenant: Tenant) -> None:
    tenant.set_clock(NOW)
    for user in ("ada", "ben"):
        tenant.add_user(user)
    add_plan(tenant, "addon", 9, {"export_zip": Row(1)})
    (row,) = tenant.rows("SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = 'ada'")
    given = grant(tenant, row["id"], "addon")
    connection = tenant.connection("app")
    with_it, without = (entitlements.of_user(connection, tenant.id, user).data for user in ("ada", "ben"))
    differing = [(one.feature, winner(one)) for one, other in zip(with_it, without, strict=True) if one != other]
    assert differing == [("export_zip", ("grant", "addon", given, 1))]


def test_what_a_subscription_gives_ends_with_it(tenant: Tenant) -> None:
    tenant.set_clock(NOW)
    user = tenant.add_user("ada")
    subscribe(tenant, user, "basic")
    assert winner(entitled(tenant, "ada", "photos")) == ("subscription", "basic", None, 50)
    ends_at = NOW + DAY
    tenant.superuser.execute("UPDATE subscriptions SET cancels_at = %s WHERE user_id = %s", (ends_at, user))
    tenant.set_clock(ends_at - timedelta(microseconds=1))
    assert entitled(tenant, "ada", "photos").source == "subscription"
    tenant.set_clock(ends_at)
    assert winner(entitled(tenant, "ada", "photos")) == ("plan", "free", None, 5)
