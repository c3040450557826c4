"""Late attribution: an unreferred user is bound to a referrer after the signup, or the answer says why not."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from local import setup
from local.client import Answer, Client
from local.postgres import Cluster
from tests.support import books, rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.growth import amend
from tests.support.stripe_objects import invoice_paid
from tests.support.waiting import wait_until_blocked

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
GRACE = timedelta(days=7)
MICROSECOND = timedelta(microseconds=1)
WHY = "told us on the phone"


@pytest.fixture
def lesser(company: Company, cluster: Cluster) -> Iterator[Callable[[Scope], Client]]:
    """Clients of the company that hold keys of a lesser scope."""
    opened: list[Client] = []

    def client(scope: Scope) -> Client:
        with psycopg.connect(cluster.superuser_url(setup.DATABASE), options="-c search_path=goodword") as superuser:
            opened.append(Client(company.url, api_keys.create(superuser, company.id, livemode=False, scope=scope)))
        return opened[-1]

    yield client
    for each in opened:
        each.close()


def code_of(company: Company, external_id: str, **user: object) -> str:
    """The code of a person who signs up now."""
    answer = company.ok("POST", "/v1/signups", {"user": {"external_id": external_id, **user}})
    return answer["user"]["referral_code"]


def put(client: Client, user: str, **body: object) -> Answer:
    return client.send("PUT", f"/v1/users/{user}/referrer", {"reason": WHY, **body})


def attribute(company: Company, user: str, **body: object) -> Any:  # noqa: ANN401
    """A late attribution by an administrator that is answered; its JSON."""
    answer = put(company.api, user, **body)
    assert answer.status == 200, answer.raw
    return answer.json


def outcome(answer: dict[str, Any]) -> tuple[str, str | None]:
    attribution = answer["attribution"]
    assert attribution.keys() == {"outcome", "reason", "source", "click_id"}
    assert (attribution["source"], attribution["click_id"]) == ("code", None)
    return attribution["outcome"], attribution["reason"]


ATTRIBUTED = ("attributed", None)


def change_code(superuser: psycopg.Connection, code: str, **changed: object) -> None:
    for name, value in changed.items():
        change = sql.SQL("UPDATE codes SET {} = %(value)s WHERE code = %(code)s").format(sql.Identifier(name))
        superuser.execute(change, {"value": value, "code": code})


@pytest.mark.parametrize("named_by", ["referral_code", "referrer_id"])
def test_a_user_is_bound_and_both_are_paid(company: Company, superuser: psycopg.Connection, named_by: str) -> None:
    company.set_clock(NOON)
    code = code_of(company, "ada")
    company.sign_up("ben", app_id="web")
    company.set_clock(NOON + timedelta(days=3))
    before = rows.count(superuser, company.id)
    answer = attribute(company, "ben", **{named_by: f" {code.lower()} " if named_by == "referral_code" else "ada"})
    assert outcome(answer) == ATTRIBUTED
    expected = {
        "referrer": "ada", "referee": "ben", "code": code, "stage": "registered", "source": "code", "app_id": "web",
        "program_version": 1,
    }  # fmt: skip
    assert {name: answer["referral"][name] for name in expected} == expected
    assert time_of(answer["referral"]["registered_at"]) == NOON + timedelta(days=3)
    assert [(award["event"], award["user_id"], award["status"]) for award in answer["awards"]] == [
        ("registered", "ada", "paid"),
        ("welcome", "ben", "paid"),
    ]
    assert answer["user"] == company.ok("GET", "/v1/users/ben")
    assert (answer["invite"], answer["trial"]) == (None, None)
    assert company.ok("GET", "/v1/users/ada/referrals")["data"] == [answer["referral"]]
    assert (company.balance("ada"), company.balance("ben")) == (5, 25)
    assert rows.count(superuser, company.id) - before == {
        "referrals": 1, "awards": 2, "entries": 2, "lots": 2, "wallets": 2, "scores": 3, "outbox_events": 3,
        "activity": 1, "judgements": 1,
    }  # fmt: skip


def test_the_decision_is_kept_with_who_took_it_and_why(
    company: Company, superuser: psycopg.Connection, lesser: Callable[[Scope], Client]
) -> None:
    company.set_clock(NOON)
    code = code_of(company, "ada")
    for user, client, scope in (("ben", company.api, "admin"), ("cleo", lesser(Scope.WRITE), "write")):
        company.sign_up(user)
        assert put(client, user, referral_code=code).status == 200
        trace = rows.find_one(
            superuser, "SELECT trace FROM referrals JOIN users ON referee_id = users.id"
            " WHERE referrals.company_id = %(id)s AND external_id = %(user)s", id=company.id, user=user,
        )["trace"]  # fmt: skip
        candidate = {"source": "code", "code": code, "click_id": None, "touched_at": "2027-01-15T12:00:00Z"}
        assert trace == {
            "by": "late", "scope": scope, "reason": WHY, "candidates": [{**candidate, "reason": None}],
            "winner": "code", "program_version": 1, "window_days": 90, "model": "last_touch",
        }  # fmt: skip


def test_the_signups_own_outcome_stays_as_it_was_stored(company: Company) -> None:
    company.sign_up("ada")
    assert company.sign_up("ben")["referral"] is None
    bound = attribute(company, "ben", referrer_id="ada")
    again = company.ok("POST", "/v1/signups", {"user": {"external_id": "ben"}}, status=200)
    assert again["attribution"] == {"outcome": "none", "reason": None, "source": None, "click_id": None}
    assert (again["referral"], again["awards"]) == (bound["referral"], bound["awards"])


def test_a_signup_that_was_rejected_can_be_put_right(company: Company) -> None:
    code = code_of(company, "ada")
    assert company.sign_up("ben", referral_code=f"{code}X")["attribution"]["reason"] == "unknown_code"
    assert outcome(attribute(company, "ben", referral_code=code)) == ATTRIBUTED


def test_a_referral_is_bound_under_the_program_of_now(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ada")
    company.sign_up("ben")
    superuser.execute(
        """
        INSERT INTO program_versions (company_id, version, program, created_at)
        SELECT company_id, 2, jsonb_set(program, '{awards,registered,points}', '7'), created_at
        FROM program_versions WHERE company_id = %s
        """,
        (company.id,),
    )
    assert attribute(company, "ben", referrer_id="ada")["referral"]["program_version"] == 2
    assert company.balance("ada") == 7


def test_what_was_paid_already_counts(company: Company, superuser: psycopg.Connection) -> None:
    """A payment before the binding is the first one, if it lies no more than the attribution window before it."""
    company.set_clock(NOON)
    for user in ("ada", "ben", "cleo"):
        company.sign_up(user)
    window = timedelta(days=90)
    for number, (user, paid_at) in enumerate((("ben", NOON), ("cleo", NOON - timedelta(seconds=1)))):
        company.deliver(invoice_paid(f"evt_{number}", f"in_{number}", user=user, customer=user, paid_at=paid_at))
    company.set_clock(NOON + window)
    ben, cleo = (attribute(company, user, referrer_id="ada") for user in ("ben", "cleo"))
    assert (ben["referral"]["stage"], cleo["referral"]["stage"]) == ("qualified", "registered")
    assert time_of(ben["referral"]["qualified_at"]) == NOON + window
    assert [award["event"] for award in ben["awards"]] == ["qualified", "registered", "welcome"]
    assert ben["referral"]["revenue"] == [{"currency": "usd", "amount": 1900}]
    assert company.balance("ada") == 5 + 25 + 5
    assert books.faults(superuser, company.id) == []


def test_what_was_paid_later_still_counts_and_pays_the_upline_too(company: Company) -> None:
    company.refer("zoe", "ada")
    company.sign_up("ben")
    attribute(company, "ben", referrer_id="ada")
    company.deliver(invoice_paid("evt_1", "in_1", user="ben"))
    assert company.balance("ada") == 25 + 5 + 25
    assert company.balance("zoe") == 5 + 5


def test_a_use_before_the_binding_takes_effect_after_the_minimum(company: Company) -> None:
    company.set_clock(NOON)
    company.sign_up("ada")
    company.sign_up("ben")
    company.ok("POST", "/v1/activations", {"user_id": "ben", "app_id": "chat"})
    company.set_clock(NOON + timedelta(days=1))
    assert attribute(company, "ben", referrer_id="ada")["referral"]["stage"] == "registered"
    company.set_clock(NOON + timedelta(days=1, minutes=5))
    answer = company.ok("POST", "/v1/activations", {"user_id": "ben", "app_id": "chat"})
    assert answer["referral"]["stage"] == "activated"
    assert time_of(answer["referral"]["activated_at"]) == NOON + timedelta(days=1, minutes=5)


def test_a_refund_that_arrives_meanwhile_is_not_missed(
    company: Company, cluster: Cluster, superuser: psycopg.Connection
) -> None:
    """The one who tells of it holds the payment; the binding waits for that, and then sees the refund."""
    company.sign_up("ada")
    company.sign_up("ben")
    company.deliver(invoice_paid("evt_1", "in_1", user="ben"))
    with ThreadPoolExecutor(1) as thread, psycopg.connect(cluster.superuser_url(setup.DATABASE)) as teller:
        teller.execute("SET search_path = goodword")
        teller.execute("SELECT id FROM payments WHERE company_id = %s FOR NO KEY UPDATE", (company.id,))
        teller.execute(
            """
            INSERT INTO takebacks (company_id, provider, kind, takeback_key, objects, payment_id, amount, currency,
                status, began_at, status_at, recorded_at)
            SELECT company_id, provider, 'refund', 're_1', objects, id, gross_amount, currency, 'succeeded', paid_at,
                paid_at, paid_at
            FROM payments WHERE company_id = %s
            """,
            (company.id,),
        )
        answered = thread.submit(put, company.api, "ben", referrer_id="ada")
        wait_until_blocked(superuser)
        teller.commit()
    answer = answered.result().json
    assert answer["referral"]["stage"] == "cancelled"
    statuses = {award["event"]: (award["status"], award["reversed_points"]) for award in answer["awards"]}
    assert statuses["qualified"] == ("reversed", 25)
    assert company.balance("ada") == 5


def test_a_body_names_a_code_or_a_referrer_and_a_reason(company: Company, superuser: psycopg.Connection) -> None:
    code = code_of(company, "ada")
    company.sign_up("ben")
    before = rows.count(superuser, company.id)
    for body in ({}, {"referral_code": code, "referrer_id": "ada"}, {"referral_code": None, "referrer_id": None}):
        assert fields(put(company.api, "ben", **body)) == {"referral_code", "referrer_id"}
    assert fields(put(company.api, "ben", referral_code=code, reason="")) == {"reason"}
    assert rows.count(superuser, company.id) == before


def test_people_whom_nobody_knows_are_not_found(
    company: Company, other: Company, superuser: psycopg.Connection
) -> None:
    code = code_of(company, "ada")
    other.sign_up("eve")
    before = rows.count(superuser, company.id)
    problem(put(company.api, "eve", referral_code=code), 404, "user_not_found")
    problem(put(company.api, "ada", referrer_id="eve"), 404, "referrer_not_found")
    assert rows.count(superuser, company.id) == before


def test_a_key_that_may_only_read_may_not(company: Company, lesser: Callable[[Scope], Client]) -> None:
    company.sign_up("ada")
    company.sign_up("ben")
    problem(put(lesser(Scope.READ), "ben", referrer_id="ada"), 403, "scope_insufficient")


def test_a_key_that_may_write_binds_inside_the_grace_and_an_administrators_at_any_time(
    company: Company, lesser: Callable[[Scope], Client]
) -> None:
    company.set_clock(NOON)
    for user in ("ada", "ben", "cleo"):
        company.sign_up(user)
    writer = lesser(Scope.WRITE)
    company.set_clock(NOON + GRACE)
    assert outcome(put(writer, "ben", referrer_id="ada").json) == ATTRIBUTED
    company.set_clock(NOON + GRACE + MICROSECOND)
    assert outcome(put(writer, "cleo", referrer_id="ada").json) == ("rejected", "user_too_old")
    company.set_clock(NOON + timedelta(days=1000))
    assert outcome(attribute(company, "cleo", referrer_id="ada")) == ATTRIBUTED


def test_an_account_too_old_at_its_signup_is_still_too_old_for_a_key_that_may_write(
    company: Company, lesser: Callable[[Scope], Client]
) -> None:
    company.set_clock(NOON)
    company.sign_up("ada")
    writer = lesser(Scope.WRITE)
    made = {"just": NOON - GRACE, "late": NOON - GRACE - MICROSECOND}
    for user, created_at in made.items():
        company.ok("POST", "/v1/signups", {"user": {"external_id": user, "created_at": created_at.isoformat()}})
    company.set_clock(NOON + timedelta(days=6))
    assert outcome(put(writer, "just", referrer_id="ada").json) == ATTRIBUTED
    assert outcome(put(writer, "late", referrer_id="ada").json) == ("rejected", "user_too_old")
    assert outcome(attribute(company, "late", referrer_id="ada")) == ATTRIBUTED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"active": False}, "inactive_code"),
        ({"expires_at": NOON}, "expired_code"),
        ({"max_uses": 0}, "code_used_up"),
    ],
)
def test_a_code_that_may_not_be_used_binds_nobody(
    company: Company, superuser: psycopg.Connection, change: dict[str, object], reason: str
) -> None:
    company.set_clock(NOON)
    code = code_of(company, "ada")
    company.sign_up("ben")
    change_code(superuser, code, **change)
    before = rows.count(superuser, company.id)
    answer = attribute(company, "ben", referral_code=code)
    assert outcome(answer) == ("rejected", reason)
    assert (answer["referral"], answer["awards"]) == (None, [])
    assert rows.count(superuser, company.id) - before == {"activity": 1}
    assert outcome(attribute(company, "ben", referrer_id="ada")) == ("rejected", reason)


def test_a_code_that_nobody_shares_binds_nobody(company: Company, other: Company) -> None:
    company.sign_up("ben")
    for code in ("NO-SUCH-CODE", code_of(other, "eve")):
        assert outcome(attribute(company, "ben", referral_code=code)) == ("rejected", "unknown_code")


def test_a_rejection_is_kept_among_what_happened_to_the_user(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ben")
    attribute(company, "ben", referral_code="no-such-code")
    (kept,) = rows.find(
        superuser, "SELECT * FROM activity WHERE company_id = %(id)s AND action = 'late_attribution_rejected'",
        id=company.id,
    )  # fmt: skip
    assert kept["details"] == {"code": "NO-SUCH-CODE", "reason": "unknown_code", "scope": "admin"}


def test_a_capped_code_binds_exactly_as_many_as_it_may(company: Company, superuser: psycopg.Connection) -> None:
    code = code_of(company, "ada")
    change_code(superuser, code, max_uses=2)
    company.sign_up("ben", referral_code=code)
    for user in ("cleo", "dan"):
        company.sign_up(user)
    assert outcome(attribute(company, "cleo", referrer_id="ada")) == ATTRIBUTED
    assert outcome(attribute(company, "dan", referral_code=code)) == ("rejected", "code_used_up")
    assert rows.find_one(superuser, "SELECT uses FROM codes WHERE code = %(code)s", code=code) == {"uses": 2}


def test_nobody_is_bound_to_themselves(company: Company) -> None:
    company.ok("POST", "/v1/signups", {"user": {"external_id": "ada", "email": "Ada@Example.com"}})
    company.ok("POST", "/v1/signups", {"user": {"external_id": "ada-2", "email": "ada@example.COM"}})
    for user in ("ada", "ada-2"):
        assert outcome(attribute(company, user, referrer_id="ada")) == ("rejected", "self_referral")


@pytest.mark.parametrize("named", ["referrer", "user"])
def test_nobody_is_bound_to_who_pays_as_the_same_customer(company: Company, named: str) -> None:
    """One of them names the customer at the signup; of the other one Stripe tells the same."""
    namer, told_of = ("ada", "ben") if named == "referrer" else ("ben", "ada")
    company.ok("POST", "/v1/signups", {"user": {"external_id": namer, "stripe_customer_id": "cus_1"}})
    company.sign_up(told_of)
    company.deliver(invoice_paid("evt_1", "in_1", user=told_of, customer="cus_1"))
    assert outcome(attribute(company, "ben", referrer_id="ada")) == ("rejected", "self_referral")


def test_a_bound_user_is_referred_already_whatever_is_asked(
    company: Company, superuser: psycopg.Connection, lesser: Callable[[Scope], Client]
) -> None:
    company.set_clock(NOON)
    code = code_of(company, "ada")
    change_code(superuser, code, max_uses=1)  # the binding uses it up; that is not the reason
    company.sign_up("ben")
    bound = attribute(company, "ben", referral_code=code)
    company.sign_up("cleo")
    company.set_clock(NOON + timedelta(days=100))
    for client, body in (
        (company.api, {"referral_code": code}),
        (company.api, {"referrer_id": "cleo"}),
        (company.api, {"referrer_id": "ben"}),
        (lesser(Scope.WRITE), {"referral_code": "NO-SUCH-CODE"}),
    ):
        answer = put(client, "ben", **body).json
        assert outcome(answer) == ("rejected", "already_referred")
        assert answer["referral"]["id"] == bound["referral"]["id"]
        assert answer["awards"] == bound["awards"]
    assert company.balance("ada") == 5


def test_a_user_who_came_through_a_code_is_referred_already(company: Company) -> None:
    company.refer("ada", "ben")
    company.sign_up("cleo")
    assert outcome(attribute(company, "ben", referrer_id="cleo")) == ("rejected", "already_referred")


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_a_circle_is_closed_at_no_distance(company: Company, superuser: psycopg.Connection, distance: int) -> None:
    company.sign_up("user-0")
    for number in range(distance):
        company.refer(f"user-{number}", f"user-{number + 1}")
    before = rows.count(superuser, company.id)
    answer = attribute(company, "user-0", referrer_id=f"user-{distance}")
    assert outcome(answer) == ("rejected", "cycle")
    assert (answer["referral"], answer["awards"]) == (None, [])
    assert rows.count(superuser, company.id) - before == {"activity": 1}
    company.sign_up("someone")
    assert outcome(attribute(company, "user-0", referrer_id="someone")) == ATTRIBUTED


def test_a_circle_is_one_even_when_the_referral_in_it_came_to_nothing(company: Company) -> None:
    company.set_clock(NOON)
    company.refer("ada", "ben")
    company.set_clock(NOON + timedelta(days=91))
    assert outcome(attribute(company, "ada", referrer_id="ben")) == ("rejected", "cycle")


def test_another_companys_circle_is_no_circle_here(company: Company, other: Company) -> None:
    other.refer("ada", "ben")
    company.sign_up("ada")
    company.sign_up("ben")
    assert outcome(attribute(company, "ada", referrer_id="ben")) == ATTRIBUTED


def test_a_late_binding_that_is_suspected_is_reviewed(company: Company, superuser: psycopg.Connection) -> None:
    signals = company.ok("GET", "/v1/program")["program"]["fraud"]["signals"]
    amend(company, fraud={"signals": {**signals, "same_device": 60}})
    code = company.sign_up("ada", device_fingerprint="tablet")["user"]["referral_code"]
    company.sign_up("ben", device_fingerprint="tablet")
    wanted = {"referral_code": code, "reason": "asked for it"}
    answer = company.ok("PUT", "/v1/users/ben/referrer", wanted)
    assert (answer["referral"]["fraud_score"], answer["referral"]["flagged"]) == (60, True)
    assert {award["hold_reason"] for award in answer["awards"]} == {"review"}
    (review,) = company.ok("GET", "/v1/reviews")["data"]
    assert (review["referral_id"], review["status"]) == (answer["referral"]["id"], "pending")
    types = rows.find(superuser, "SELECT type FROM outbox_events WHERE company_id = %(id)s", id=company.id)
    assert {"referral.registered", "review.opened"} <= {row["type"] for row in types}
