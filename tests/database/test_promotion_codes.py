"""A promotion code is told and used at the same moment: neither misses the other. Of many users none is forgotten."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from psycopg import Connection

from goodword.facts import locks, promotions
from goodword.facts.kinds import IdentityLinked, PromotionCodeTold, PromotionUsed
from goodword.payments import inbox
from goodword.referral import signups, undecided
from goodword.referral.signups import Signup, SignupIds
from tests.support.everything import BASE_URL, sign_up
from tests.support.tenants import Tenant
from tests.support.waiting import wait_until_blocked

NOW = datetime.now(UTC)


class Step(NamedTuple):
    """What somebody does in one transaction."""

    role: str
    do: Callable[[Connection], object]


def use(tenant: Tenant, person: str = "ben") -> Step:
    linked = IdentityLinked((f"cus_{person}",), person, None, None, NOW)
    used = PromotionUsed((f"cus_{person}",), person, "promo_1", NOW)
    return Step("webhook", lambda connection: inbox.apply(connection, tenant.id, "stripe", [linked, used]))


def tell(tenant: Tenant, code: str) -> Step:
    fact = PromotionCodeTold(("promo_1",), code)
    return Step("webhook", lambda connection: inbox.apply(connection, tenant.id, "stripe", [fact]))


def signing_up(tenant: Tenant, person: str = "ben") -> Step:
    signup = Signup.model_validate({"user": {"external_id": person}})

    def do(connection: Connection) -> None:
        signups.sign_up(connection, tenant.id, signup, SignupIds(), BASE_URL)

    return Step("app", do)


def run(tenant: Tenant, step: Step) -> None:
    with tenant.transaction(step.role) as connection:
        step.do(connection)


def at_once(tenant: Tenant, first: Step, second: Step) -> None:
    """The second begins while the first is under way, and waits for it."""
    other = threading.Thread(target=run, args=[tenant.patient_twin(second.role), second])
    with tenant.transaction(first.role) as connection:
        first.do(connection)
        connection.execute("SELECT 1").fetchone()  # all that was sent is done
        other.start()
        wait_until_blocked(tenant.superuser)
    other.join()


def adas_code(tenant: Tenant) -> str:
    code = sign_up(tenant, "ada").user.referral_code
    assert code is not None
    return code


def referees(tenant: Tenant) -> set[str]:
    found = tenant.rows(
        """
        SELECT external_id FROM referrals r JOIN users u ON u.company_id = r.company_id AND u.id = r.referee_id
        WHERE r.company_id = %(company_id)s
        """
    )
    return {row["external_id"] for row in found}


@pytest.mark.parametrize("told_first", [False, True])
def test_a_use_and_the_telling_in_flight_together_do_not_miss_each_other(tenant: Tenant, *, told_first: bool) -> None:
    steps = [use(tenant), tell(tenant, adas_code(tenant))]
    sign_up(tenant, "ben")
    at_once(tenant, *steps[:: -1 if told_first else 1])
    assert referees(tenant) == {"ben"}


@pytest.mark.parametrize("told_first", [False, True])
def test_a_signup_and_the_telling_in_flight_together_do_not_miss_each_other(
    tenant: Tenant, *, told_first: bool
) -> None:
    steps = [signing_up(tenant), tell(tenant, adas_code(tenant))]
    run(tenant, use(tenant))
    at_once(tenant, *steps[:: -1 if told_first else 1])
    assert referees(tenant) == {"ben"}


def test_whoever_has_the_person_may_still_look_for_their_codes(tenant: Tenant) -> None:
    """An event of Ben's that does not tell the code is half way when the code is told: neither has what both need."""
    telling = tell(tenant, adas_code(tenant))
    sign_up(tenant, "ben")
    run(tenant, use(tenant))
    (ben,) = tenant.rows("SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = 'ben'")
    other = threading.Thread(target=run, args=[tenant.patient_twin("webhook"), telling])
    with tenant.transaction("webhook") as connection:
        locks.hold_event(connection, tenant.id, "stripe", ["cus_ben"], ["ben"], [])
        connection.execute("SELECT 1").fetchone()
        other.start()
        wait_until_blocked(tenant.superuser)
        assert undecided.among(connection, tenant.id, [ben["id"]]) == []
    other.join()
    assert referees(tenant) == {"ben"}


def test_two_uses_in_flight_together_do_not_wait_for_each_other(tenant: Tenant) -> None:
    code = adas_code(tenant)
    twin = tenant.twin()
    for person in ("ben", "cleo"):
        sign_up(tenant, person)
    with tenant.transaction("webhook") as connection:
        use(tenant).do(connection)
        run(twin, use(twin, "cleo"))
    run(tenant, tell(tenant, code))
    assert referees(tenant) == {"ben", "cleo"}


def test_whom_one_telling_leaves_the_next_takes_up(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotions, "MOST_AT_ONCE", 2)
    telling = tell(tenant, adas_code(tenant))
    people = ["ben", "cleo", "dan", "eve", "fay"]
    for person in people:
        sign_up(tenant, person)
        run(tenant, use(tenant, person))
    for number in (2, 4):
        run(tenant, telling)
        assert len(referees(tenant)) == number
    (left,) = set(people) - referees(tenant)
    run(tenant, use(tenant, left))  # or they come again themselves
    assert referees(tenant) == set(people)
