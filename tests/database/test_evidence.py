"""What is known beside a person who comes, at the instant that it is asked for."""

from datetime import timedelta
from uuid import UUID

from goodword.core import privacy
from goodword.fraud import evidence
from goodword.fraud.evidence import Evidence, Reach, ScreenedPerson
from goodword.fraud.fingerprints import Seen
from goodword.program.document import Program
from tests.support.everything import sign_up
from tests.support.tenants import Tenant


def asked(tenant: Tenant, code: str, ago: timedelta) -> Evidence:
    """What is known beside somebody who comes by a code, at an instant before the latest signup by it."""
    (found,) = tenant.rows(
        """
        SELECT codes.id, codes.user_id, max(registered_at) AS latest
        FROM codes JOIN referrals ON referrals.company_id = codes.company_id AND code_id = codes.id
        WHERE codes.company_id = %(company_id)s AND code = %(code)s GROUP BY codes.id, codes.user_id
        """,
        code=code,
    )
    with tenant.transaction("app") as connection:
        keys = privacy.compared_keys(connection)
        person = ScreenedPerson.now(UUID(int=1), "new@app.example", Seen(ip="203.0.113.7"), keys)
        at = found["latest"] - ago
        return evidence.ask(connection, tenant.id, person, found["user_id"], found["id"], Reach.of(Program()), at)()


def test_who_read_the_clock_first_and_waited_counts_those_who_came_meanwhile(tenant: Tenant) -> None:
    code = sign_up(tenant, "ada").user.referral_code
    assert code is not None
    for name in ("ben", "cyd"):
        sign_up(tenant, name, referral_code=code)
    known = asked(tenant, code, timedelta(milliseconds=1))
    assert (known.on_code_lately, known.on_code_today, known.of_referrer_lately, known.of_referrer_today) == (
        2,
        2,
        2,
        2,
    )


def test_what_a_test_clock_has_not_come_to_is_not_counted(tenant: Tenant) -> None:
    code = sign_up(tenant, "ada").user.referral_code
    assert code is not None
    sign_up(tenant, "ben", referral_code=code)
    (signup,) = tenant.rows("SELECT registered_at FROM referrals WHERE company_id = %(company_id)s")
    tenant.set_clock(signup["registered_at"] + timedelta(days=1))
    known = asked(tenant, code, timedelta(days=-1))
    assert (known.on_code_today, known.of_referrer_today) == (0, 0)  # it is exactly so long ago
