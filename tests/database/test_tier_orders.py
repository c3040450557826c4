"""In whatever order one referral's facts come, its awards have the same tiers: the others alone decide."""

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.database.test_settlement import plays
from tests.support import books
from tests.support.plays import Named, Play, SignUp, Step
from tests.support.stories import DAY, END, PROGRAMS, REGISTERED, Report, Sale
from tests.support.tenants import AsRole, Tenant, amend

OTHERS = 4
"""One less than silver takes, by the table that every company begins with."""


@pytest.fixture
def tenants(opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection) -> dict[str, Tenant]:
    """A company for each program."""
    opened = {name: Tenant.open(opener, as_role, superuser) for name in PROGRAMS}
    for name, tenant in opened.items():
        amend(tenant, PROGRAMS[name])
    return opened


def with_others(tenant: Tenant) -> Play:
    """A person to come, by the code of somebody of whom as many others count."""
    code = None
    for _ in range(OTHERS):
        other = Play(tenant, ada_uses=False)
        other.code = code = code or other.code
        other.take(SignUp())
        other.tell(Sale(1, 1900, 1900, "usd", REGISTERED), Named())
    play = Play(tenant)
    play.code = code or play.code
    return play


@pytest.mark.soak
@settings(
    max_examples=max(settings().max_examples // 4, 5), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(program=st.sampled_from(sorted(PROGRAMS)), played=plays())
def test_the_order_of_a_referrals_own_facts_never_changes_a_tier(
    tenants: dict[str, Tenant],
    superuser: psycopg.Connection,
    program: str,
    played: tuple[list[Report], list[tuple[Step, int | None]]],
) -> None:
    """Before it qualifies, when it does, and after it was refunded and came back: four others count all the time."""
    tenant = tenants[program]
    play = with_others(tenant)
    play.run(played[1])
    play.at(END + DAY)
    play.pass_time()
    silver = {"recurring", "retained"}
    expected = {"welcome": (None, 10_000, None), "l2": (None, 10_000, None)}
    for award in play.awards():
        tier = ("silver", 15_000, OTHERS) if award["event"] in silver else ("bronze", 10_000, OTHERS)
        assert (award["tier"], award["multiplier_bps"], award["counted"]) == expected.get(award["event"], tier), award
    assert books.faults(superuser, tenant.id) == []
