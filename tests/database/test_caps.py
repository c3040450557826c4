"""A code's first cap and signups at the same moment: every use is counted, whoever commits first."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from goodword.core import ids
from goodword.core.errors import Refused
from goodword.referral import codes, signups
from goodword.referral.codes import Code, CodeChange
from goodword.referral.signups import Signup, SignupAnswer, SignupIds
from tests.support.everything import BASE_URL, click, sign_up
from tests.support.tenants import Tenant
from tests.support.waiting import wait_until_blocked

WAYS = ("code", "click")


def cap(tenant: Tenant, code: str, max_uses: int | None) -> Code:
    """PATCH /v1/codes/{code} as its function runs it."""
    with tenant.transaction("admin") as connection:
        return codes.change(connection, tenant.id, code, ids.new_id(), CodeChange(max_uses=max_uses))


@contextmanager
def signing_up(tenant: Tenant, external_id: str, **by: str) -> Iterator[SignupAnswer]:
    """A signup that is done when the block begins, and committed when it ends."""
    signup = Signup.model_validate({"user": {"external_id": external_id}, **by})
    with tenant.transaction("app") as connection:
        yield signups.sign_up(connection, tenant.id, signup, SignupIds(), BASE_URL)().answer


def uses(tenant: Tenant, code: str) -> tuple[int, int]:
    """What the code says of its uses, and how many there are."""
    (row,) = tenant.rows(
        "SELECT uses, (SELECT count(*) FROM referrals WHERE code_id = codes.id) AS referrals FROM codes"
        " WHERE company_id = %(company_id)s AND code = %(code)s",
        code=code,
    )
    return row["uses"], row["referrals"]


@pytest.fixture
def ada(tenant: Tenant) -> str:
    """Ada's code, by which one has come."""
    code = sign_up(tenant, "ada").user.referral_code
    assert code is not None
    sign_up(tenant, "ben", referral_code=code)
    return code


def named(tenant: Tenant, code: str, way: str) -> dict[str, str]:
    """How a signup names a code."""
    return {"referral_code": code} if way == "code" else {"click_id": ids.public("clk", click(tenant, code))}


@pytest.mark.parametrize("way", WAYS)
def test_a_first_cap_counts_the_signups_that_are_not_committed_yet(tenant: Tenant, ada: str, way: str) -> None:
    by = named(tenant, ada, way)
    with ThreadPoolExecutor(1) as thread:
        with signing_up(tenant, "cleo", **by) as signed_up:
            capped = thread.submit(cap, tenant.twin(), ada, 2)
            wait_until_blocked(tenant.superuser)
        assert signed_up.attribution.outcome == "attributed"
        assert capped.result().uses == 2
    assert uses(tenant, ada) == (2, 2)
    assert sign_up(tenant, "dan", referral_code=ada).attribution.reason == "code_used_up"


def test_a_first_cap_that_those_break_is_refused(tenant: Tenant, ada: str) -> None:
    with ThreadPoolExecutor(1) as thread:
        with signing_up(tenant, "cleo", referral_code=ada):
            capped = thread.submit(cap, tenant.twin(), ada, 1)
            wait_until_blocked(tenant.superuser)
        with pytest.raises(Refused):
            capped.result()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("max_uses", "outcome", "after"), [(1, "rejected", (1, 1)), (2, "attributed", (2, 2))])
def test_a_signup_waits_for_a_cap_that_is_being_set(
    tenant: Tenant, ada: str, way: str, max_uses: int, outcome: str, after: tuple[int, int]
) -> None:
    by = named(tenant, ada, way)
    with ThreadPoolExecutor(1) as thread:
        with tenant.transaction("admin") as connection:
            codes.change(connection, tenant.id, ada, ids.new_id(), CodeChange(max_uses=max_uses))
            signed_up = thread.submit(sign_up, tenant.twin(), "cleo", **by)
            wait_until_blocked(tenant.superuser)
        assert signed_up.result().attribution.outcome == outcome
    assert uses(tenant, ada) == after


def test_signups_wait_neither_for_each_other_nor_for_other_changes(tenant: Tenant, ada: str) -> None:
    """Each is done while another one's transaction is open; only those of one referrer come one after the other."""
    bob, fay = (sign_up(tenant, name).user.referral_code for name in ("bob", "fay"))
    assert bob is not None
    assert fay is not None
    with signing_up(tenant, "cleo", referral_code=ada), signing_up(tenant.twin(), "dan", referral_code=bob) as dan:
        assert dan.attribution.outcome == "attributed"
        change = CodeChange(active=False)
        with tenant.twin().transaction("admin") as connection:
            assert not codes.change(connection, tenant.id, fay, ids.new_id(), change).active
        assert sign_up(tenant.twin(), "eve", referral_code=fay).attribution.reason == "inactive_code"
