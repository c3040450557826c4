"""A signup of somebody of whom nothing was known ends where every other signup does: in the same rows and answer."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from typing import Any, LiteralString

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goodword.core import ids
from goodword.referral.signups import SignupAnswer
from tests.support import books
from tests.support.everything import click, sign_up
from tests.support.stories import DAY, PROGRAMS, REGISTERED
from tests.support.tenants import AsRole, Tenant, amend

numbers = count(1)

# Something is known of the person, which changes nothing: no payment has this customer.
_NAME = """
    INSERT INTO identity_links (company_id, provider, object_id, external_id, by_reference, linked_at)
    VALUES (%(company_id)s, 'stripe', 'elsewhere of ' || %(person)s, %(person)s, false, clock_timestamp())
"""

_LIMIT = "UPDATE codes SET max_uses = %(most)s WHERE company_id = %(company_id)s AND code = %(code)s"

# All that a signup writes, but for the ids of rows that nothing refers to.
_ROWS: LiteralString = """
    WITH person AS (
        SELECT * FROM users WHERE company_id = %(company_id)s AND id = %(user_id)s
    ), referral AS (
        SELECT * FROM referrals WHERE company_id = %(company_id)s AND referee_id = %(user_id)s
    ), award AS (
        SELECT awards.* FROM awards JOIN referral USING (company_id) WHERE referral_id = referral.id
    ), entry AS (
        SELECT entries.* FROM entries JOIN award ON entries.company_id = award.company_id
            AND entries.reference = public_id('awd', award.id)
    )
    SELECT 'user' AS name, to_jsonb(person) AS content FROM person
    UNION ALL SELECT 'code', to_jsonb(codes) - 'id' FROM codes
        WHERE company_id = %(company_id)s AND user_id = %(user_id)s
    UNION ALL SELECT 'signup', to_jsonb(signups) FROM signups
        WHERE company_id = %(company_id)s AND user_id = %(user_id)s
    UNION ALL SELECT 'referral', to_jsonb(referral) FROM referral
    UNION ALL SELECT 'award', to_jsonb(award) - 'entry_id' || jsonb_build_object('is_paid', entry_id > 0)
        FROM award
    UNION ALL SELECT 'entry', to_jsonb(entry) - 'id' - 'xact' FROM entry
    UNION ALL SELECT 'lot', to_jsonb(lots) - 'id' FROM lots JOIN entry ON lots.company_id = entry.company_id
        AND lots.id = entry.id
    UNION ALL SELECT 'wallet', to_jsonb(wallets) FROM wallets
        WHERE company_id = %(company_id)s AND user_id IN (SELECT %(user_id)s UNION SELECT referrer_id FROM referral)
    UNION ALL SELECT 'activity', to_jsonb(activity) - 'id' FROM activity
        WHERE company_id = %(company_id)s AND user_id = %(user_id)s
    UNION ALL SELECT 'event', to_jsonb(outbox_events) - 'id' FROM outbox_events
        WHERE company_id = %(company_id)s AND data ->> 'id' IN (
            SELECT public_id('usr', %(user_id)s) UNION SELECT public_id('ref', id) FROM referral
            UNION SELECT public_id('awd', id) FROM award)
"""


@pytest.fixture
def tenants(opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection) -> dict[str, Tenant]:
    """A company for each program, whose clock stands still."""
    opened = {name: Tenant.open(opener, as_role, superuser) for name in PROGRAMS}
    for name, tenant in opened.items():
        amend(tenant, PROGRAMS[name])
        tenant.set_clock(REGISTERED)
    return opened


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


users = st.fixed_dictionaries({
    "email": _maybe(st.just("{name}@app.example")),
    "username": _maybe(st.just("Ben")),
    "avatar_url": _maybe(st.just("https://app.example/ben.png")),
    "stripe_customer_id": _maybe(st.just("cus_{name}")),
    "whop_user_id": _maybe(st.just("user_{name}")),
    "created_at": _maybe(st.sampled_from([REGISTERED - 400 * DAY, REGISTERED - DAY])),
})  # fmt: skip
signups = st.fixed_dictionaries({
    "user": users,
    "code": st.sampled_from([None, "own", "own", "own", "NOBODYS", "?"]),
    "click": st.sampled_from([None, None, "own", "old", "clk_" + "0" * 32, "?"]),
    "coupon_code": _maybe(st.just("TENOFF")),
    "max_uses": st.sampled_from([None, None, 0, 1]),
    "app_id": _maybe(st.just("chat")),
    "ip": _maybe(st.just("203.0.113.7")),
    "user_agent": _maybe(st.just("Safari")),
})  # fmt: skip


@settings(
    max_examples=settings().max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # each has people of its own
@given(program=st.sampled_from(sorted(PROGRAMS)), signup=signups)
def test_who_comes_alone_ends_where_everybody_does(
    tenants: dict[str, Tenant], program: str, signup: dict[str, Any]
) -> None:
    tenant = tenants[program]
    number = next(numbers)
    alone, beside = (Arrival(tenant, f"{number}{way}", signup) for way in ("a", "b"))
    tenant.superuser.execute(_NAME, {"company_id": tenant.id, "person": beside.person})
    first, other = alone.sign_up(), beside.sign_up()
    assert alone.sign_up() == first, "read again, the answer is the same"
    assert alone.without_names(first.model_dump_json()) == beside.without_names(other.model_dump_json())
    assert list(alone.rows(first)) == list(beside.rows(other))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_books_of_signups_are_right(tenants: dict[str, Tenant], program: str) -> None:
    tenant = tenants[program]
    for number in range(3):
        Arrival(tenant, f"{number}", {"user": {}, "code": "own"}).sign_up()
    assert books.faults(tenant.superuser, tenant.id) == []


class Arrival:
    """One person's signup, through a referrer of their own."""

    def __init__(self, tenant: Tenant, name: str, signup: dict[str, Any]) -> None:
        self.tenant, self.name, self.person = tenant, name, f"ben{name}"
        code = sign_up(tenant, f"ada{name}").user.referral_code
        assert code is not None
        self.code = code
        self.body = self._body(signup)

    def _body(self, signup: dict[str, Any]) -> dict[str, Any]:
        user = {key: value.format(name=self.name) if isinstance(value, str) else value
                for key, value in signup["user"].items()}  # fmt: skip
        if isinstance(at := user.get("created_at"), datetime):
            user["created_at"] = at.isoformat()
        body = {key: value for key, value in signup.items() if key not in {"user", "code", "click", "max_uses"}}
        body["user"] = {"external_id": self.person, **user}
        body["referral_code"] = self.code if signup.get("code") == "own" else signup.get("code")
        body["click_id"] = self._click(signup.get("click"))
        if signup.get("max_uses") is not None:
            self.tenant.superuser.execute(
                _LIMIT, {"company_id": self.tenant.id, "code": self.code, "most": signup["max_uses"]}
            )
        return body

    def _click(self, which: str | None) -> str | None:
        if which not in {"own", "old"}:
            return which
        self.tenant.set_clock(REGISTERED - timedelta(days=200 if which == "old" else 1))
        made = click(self.tenant, self.code)
        self.tenant.set_clock(REGISTERED)
        return ids.public("clk", made)

    def sign_up(self) -> SignupAnswer:
        return sign_up(self.tenant, self.person, **self.body)

    def rows(self, answer: SignupAnswer) -> Iterator[tuple[str, str]]:
        """What the signup wrote, without what is this person's alone."""
        ids_ = {str(answer.user.id): "the user", answer.user.id.hex: "the user"}
        if answer.referral:
            ids_ |= {str(answer.referral.id): "the referral", answer.referral.id.hex: "the referral"}
        for award in answer.awards:
            ids_ |= {str(award.id): f"the {award.event}", award.id.hex: f"the {award.event}"}
        (referrer,) = self.tenant.rows(
            "SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = %(name)s", name=f"ada{self.name}"
        )
        ids_[str(referrer["id"])] = ids_[referrer["id"].hex] = "the referrer"
        found = self.tenant.rows(_ROWS, user_id=answer.user.id)
        for name, content in sorted((row["name"], json.dumps(row["content"], sort_keys=True)) for row in found):
            text = content
            for id_, word in ids_.items():
                text = text.replace(id_, word)
            yield name, self.without_names(text.replace(answer.user.referral_code or "", "the code"))

    def without_names(self, text: str) -> str:
        """A text without names, codes and ids that only this person has."""
        text = text.replace(self.code, "the referrer's code")
        text = re.sub(rf"\b(ada|ben|cus_|user_){self.name}\b", r"\1", text)
        text = re.sub(rf"\b{self.name}@", "@", text)
        text = re.sub(r'"referral_code":"\w+"|/r/\w+', "a code", text)
        text = re.sub(r"\b(usr|ref|awd|clk)_[0-9a-f]{32}\b", r"\1", text)
        text = re.sub(r"\btxn_\d+\b", "txn", text)
        return re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "an id", text)
