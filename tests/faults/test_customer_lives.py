"""Whole lives of customers, told by the events of their provider.

In whatever order, however often and wherever at once they arrive, they end as if each had come once and in order.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from goodword.payments import signatures
from goodword.payments.whop import signatures as whop_signatures
from tests.support import books, rows
from tests.support.clients import Call, Clients, call
from tests.support.companies import Company
from tests.support.jobs import run_job
from tests.support.lives import NOON, Delivery, Life, customer, lives, tell
from tests.support.stories import DAY, PROGRAMS

COMPANIES = max(2, min(settings().max_examples // 20, 420))
"""Of each, the lives are told to two: in order to one, and anyhow to the other. The first lives are simple ones."""
TOGETHER = 12
"""Lives in one company, each with a referrer and an upline of its own."""

WORKERS = 6
END = NOON + 300 * DAY

Person = dict[str, Any]

_AWARDS = """
    SELECT u.external_id, a.event, a.app_id, a.period, a.points, a.reversed_points, a.status
    FROM awards a JOIN users u ON u.company_id = a.company_id AND u.id = a.user_id
    WHERE a.company_id = %(id)s ORDER BY u.external_id, a.event, a.app_id, a.period, a.points, a.reversed_points
"""
_WALLETS = """
    SELECT u.external_id, w.balance - w.debt AS worth
    FROM wallets w JOIN users u ON u.company_id = w.company_id AND u.id = w.user_id WHERE w.company_id = %(id)s
        AND w.balance <> w.debt -- a wallet may be there or not for what was all taken back
"""
_LEFT = "SELECT event_id, type, outcome, error FROM inbox_events WHERE company_id = %(id)s AND outcome = 'failed'"


class Step(NamedTuple):
    """What is to be sent; the signup where there is no event."""

    name: str
    life: Life
    delivery: Delivery | None


# Shrinking would play everything again and again: the life that ends otherwise is named, and alone to blame.
@pytest.mark.soak
@settings(
    max_examples=COMPANIES,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(program=st.sampled_from(sorted(PROGRAMS)), lived=st.lists(lives, min_size=TOGETHER, max_size=TOGETHER))
def test_a_life_ends_the_same_in_whatever_order_and_however_often_it_is_told(
    server: str, clients: Clients, superuser: psycopg.Connection, program: str, lived: list[Life]
) -> None:
    named = {f"ben{number}": life for number, life in enumerate(lived)}
    orderly, hurried = open_for(server, program), open_for(server, program)
    deliver(clients, orderly, bring(orderly, named), [[step for name in named for step in steps(name, named[name])]])
    deliver(clients, hurried, bring(hurried, named), at_once(named))
    compare(superuser, orderly, hurried, named)

    for company in (orderly, hurried):
        company.set_clock(END)
    for job in ("AdvanceReferralsFunction", "ReleaseAwardsFunction"):
        run_job(server, job)
    compare(superuser, orderly, hurried, named)
    for company in (orderly, hurried):
        company.close()


def open_for(server: str, program: str) -> Company:
    company = Company.open(server).trust()
    company.set_clock(NOON)
    company.ok("PUT", "/v1/program", PROGRAMS[program].model_dump(mode="json", by_alias=True))
    return company


def bring(company: Company, named: Iterable[str]) -> dict[str, str]:
    """Ada, whom zoe brought, for everybody; the codes of the adas."""
    return {name: company.refer(f"zoe-{name}", f"ada-{name}")["user"]["referral_code"] for name in named}


def steps(name: str, life: Life) -> list[Step]:
    """A life in order: the signup is at NOON, before what happens at that moment."""
    deliveries = tell(life, name)
    return [
        *(Step(name, life, each) for each in deliveries if each.at < NOON),
        Step(name, life, None),
        *(Step(name, life, each) for each in deliveries if each.at >= NOON),
    ]


def at_once(named: dict[str, Life]) -> list[list[Step]]:
    """The lives shuffled, with some of it told again, dealt out to the workers step by step."""
    dealt: list[Step] = []
    for name, life in named.items():
        chance = random.Random(life.order)  # noqa: S311 - a reproducible order, no secret
        lived = steps(name, life)
        lived += chance.choices(lived, k=1 + len(lived) // 2)
        chance.shuffle(lived)
        dealt += lived
    return [dealt[worker::WORKERS] for worker in range(WORKERS)]


def request(company: Company, codes: dict[str, str], step: Step) -> Call:
    if step.delivery is None:
        user = {"external_id": step.name, **customer(step.life, step.name)}
        body = {"user": user, "referral_code": codes[step.name]}
        return call(company, "POST", "/v1/signups", body, key=f"signup-{step.name}")
    at = int(time.time())
    body = json.dumps({"id": step.delivery.event_id, **step.delivery.event})
    if step.life.provider == "stripe":
        headers = {"stripe-signature": signatures.sign(body.encode(), company.line["stripe_secret"], at)}
        return Call("POST", urlsplit(company.line["stripe_endpoint"]).path, headers, body)
    headers = whop_signatures.sign(body.encode(), company.line["whop_secret"], step.delivery.event_id, at)
    return Call("POST", urlsplit(company.line["whop_endpoint"]).path, headers, body)


def deliver(clients: Clients, company: Company, codes: dict[str, str], plans: Sequence[Sequence[Step]]) -> None:
    """Send the plans at once. What could not be taken in for the moment is sent again, as a provider would."""
    while any(plans):
        heard = clients.fire(company.url, [[request(company, codes, step) for step in plan] for plan in plans])
        again: list[list[Step]] = []
        for plan, answers in zip(plans, heard, strict=True):
            later = [step for step, answer in zip(plan, answers, strict=True) if answer.status == 503]
            again.append(later)
            for step, answer in zip(plan, answers, strict=True):
                assert answer.status in {200, 201, 503}, (step, answer.raw)
                assert answer.status == 503 or answer.json.get("outcome") != "failed", (step, answer.raw)
        assert len(plans) > 1 or not any(again), "what is sent again is out of order"
        plans = again


def ends(superuser: psycopg.Connection, company: Company, named: Iterable[str]) -> dict[str, Person]:
    """By life: the referral's stage and revenue, everybody's awards, and what everybody's wallet is worth."""
    ended: dict[str, Person] = {name: {"awards": Counter(), "worth": {}} for name in named}
    for award in rows.find(superuser, _AWARDS, id=company.id):
        ended[award["external_id"].rpartition("-")[2]]["awards"][tuple(award.values())] += 1
    for wallet in rows.find(superuser, _WALLETS, id=company.id):
        ended[wallet["external_id"].rpartition("-")[2]]["worth"][wallet["external_id"]] = wallet["worth"]
    for name, person in ended.items():
        (referral,) = company.ok("GET", f"/v1/users/ada-{name}/referrals")["data"]
        person["stage"], person["revenue"] = referral["stage"], referral["revenue"]
    return ended


def compare(superuser: psycopg.Connection, orderly: Company, hurried: Company, named: dict[str, Life]) -> None:
    for company in (orderly, hurried):
        assert rows.find(superuser, _LEFT, id=company.id) == []
        assert books.faults(superuser, company.id) == []
    wanted, found = ends(superuser, orderly, named), ends(superuser, hurried, named)
    different = [name for name in named if not same(wanted[name], found[name])]
    for name in different[:1]:
        note(f"{name}: {named[name]}\nin order: {wanted[name]}\nat once: {found[name]}")
    assert different == []


def same(wanted: Person, found: Person) -> bool:
    """Whether two lives ended the same.

    Who hears of a later payment first takes it for the one that qualifies, and takes back the whole award, or one of
    that month, once an earlier one is known or its refund has failed. Such an award stays in the list, worth nothing,
    so one that is taken back whole may stand on one side.
    """
    only = (wanted["awards"] - found["awards"]) + (found["awards"] - wanted["awards"])
    return all(
        status == "reversed" and reversed_points == points for *_, points, reversed_points, status in only
    ) and all(wanted[name] == found[name] for name in ("worth", "stage", "revenue"))
