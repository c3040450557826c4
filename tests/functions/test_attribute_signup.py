"""Signups: a person becomes known, is attributed or not, and both sides get what the program gives."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support import rows
from tests.support.answers import problem, time_of
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import whop_payment

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)


def code_of(company: Company, external_id: str, **user: object) -> str:
    """The code of a person who signs up now."""
    answer = company.ok("POST", "/v1/signups", {"user": {"external_id": external_id, **user}})
    return answer["user"]["referral_code"]


def click(company: Company, code: str, **fields: object) -> str:
    return company.ok("POST", "/v1/clicks", {"code": code, **fields})["id"]


def outcome(answer: dict[str, Any]) -> tuple[str, str | None, str | None]:
    attribution = answer["attribution"]
    assert attribution.keys() == {"outcome", "reason", "source", "click_id"}
    assert (answer["referral"] is not None) == (attribution["outcome"] == "attributed")
    return attribution["outcome"], attribution["reason"], attribution["source"]


def change_code(superuser: psycopg.Connection, code: str, **changed: object) -> None:
    for name, value in changed.items():
        change = sql.SQL("UPDATE codes SET {} = %(value)s WHERE code = %(code)s").format(sql.Identifier(name))
        superuser.execute(change, {"value": value, "code": code})


def change_program(superuser: psycopg.Connection, company: Company, path: str, value: str) -> None:
    """The next program version, changed in one place."""
    superuser.execute(
        """
        INSERT INTO program_versions (company_id, version, program, created_at)
        SELECT company_id, version + 1, jsonb_set(program, %(path)s, %(value)s), created_at
        FROM program_versions WHERE company_id = %(id)s ORDER BY version DESC LIMIT 1
        """,
        {"id": company.id, "path": path, "value": value},
    )


def test_a_person_gets_a_code_and_a_profile(company: Company) -> None:
    company.set_clock(NOON)
    user = {
        "external_id": "ada|1", "email": "ada@example.com", "email_verified": True, "username": "Ada",
        "avatar_url": "https://img.example/ada.png", "whop_user_id": "user_1", "stripe_customer_id": "cus_1",
    }  # fmt: skip
    answer = company.ok("POST", "/v1/signups", {"user": user}, status=201)
    profile, trial = answer.pop("user"), answer.pop("trial")
    assert answer == {
        "attribution": {"outcome": "none", "reason": None, "source": None, "click_id": None},
        "referral": None, "awards": [], "invite": None,
    }  # fmt: skip
    code = profile["referral_code"]
    assert len(code) == 8
    assert profile.pop("id").startswith("usr_")
    assert time_of(profile.pop("created_at")) == time_of(profile.pop("updated_at")) == NOON
    assert profile == {
        **user, "plan": "premium", "trial_ends_at": trial["ends_at"], "referral_code": code,
        "referral_url": f"{company.url}/r/{code}", "referral_tier": "bronze",
        "qualified_count": 0, "balance": 0, "invited_by": None,
    }  # fmt: skip


def test_a_second_signup_is_answered_with_the_stored_outcome_whatever_it_says(
    company: Company, superuser: psycopg.Connection
) -> None:
    code, other_code = code_of(company, "ada"), code_of(company, "eve")
    first = company.ok("POST", "/v1/signups", {"user": {"external_id": "ben"}, "referral_code": code}, status=201)
    before = rows.count(superuser, company.id)
    again = {"user": {"external_id": "ben", "username": "Benjamin"}, "referral_code": other_code}
    assert company.ok("POST", "/v1/signups", again, status=200) == first
    assert rows.count(superuser, company.id) == before


def test_a_code_binds_both_and_pays_both(company: Company) -> None:
    company.set_clock(NOON)
    code = code_of(company, "ada")
    answer = company.sign_up("ben", referral_code=f" {code.lower()} ", app_id="web")
    assert outcome(answer) == ("attributed", None, "code")
    referral = answer["referral"]
    expected = {
        "referrer": "ada", "referee": "ben", "code": code, "stage": "registered", "source": "code", "app_id": "web",
        "program_version": 1, "campaign_id": None, "fraud_score": 0, "flagged": False, "activated_at": None,
        "qualified_at": None, "retained_at": None, "expired_at": None, "revenue": [],
    }  # fmt: skip
    assert {name: referral[name] for name in expected} == expected
    assert referral["id"].startswith("ref_")
    assert time_of(referral["registered_at"]) == NOON
    awards = {award["event"]: award for award in answer["awards"]}
    assert {event: (award["user_id"], award["points"]) for event, award in awards.items()} == {
        "registered": ("ada", 5),
        "welcome": ("ben", 25),
    }
    for award in awards.values():
        assert award.keys() == {
            "id", "referral_id", "user_id", "event", "app_id", "period", "base_points", "multiplier", "points", "tier",
            "status", "hold_until", "hold_reason", "reversed_points", "reason", "transaction_id", "released_at",
            "created_at", "payment_id",
        }  # fmt: skip
        assert (award["status"], award["referral_id"], award["reversed_points"]) == ("paid", referral["id"], 0)
        entries = company.ok("GET", f"/v1/users/{award['user_id']}/transactions")["data"]
        assert [(entry["id"], entry["ref"]) for entry in entries] == [(award["transaction_id"], award["id"])]
    assert (company.balance("ada"), company.balance("ben")) == (5, 25)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"active": False}, "inactive_code"),
        ({"expires_at": NOON}, "expired_code"),
        ({"max_uses": 0}, "code_used_up"),
    ],
)
def test_a_code_that_may_not_be_used_refers_nobody(
    company: Company, superuser: psycopg.Connection, change: dict[str, object], reason: str
) -> None:
    company.set_clock(NOON)
    code = code_of(company, "ada")
    change_code(superuser, code, **change)
    answer = company.sign_up("ben", referral_code=code)
    assert outcome(answer) == ("rejected", reason, "code")
    assert answer["awards"] == []
    assert company.balance("ada") == 0


def test_a_code_that_nobody_shares_refers_nobody(company: Company, other: Company) -> None:
    theirs = code_of(other, "eve")
    assert outcome(company.sign_up("ben", referral_code="NO-SUCH-CODE")) == ("rejected", "unknown_code", "code")
    assert outcome(company.sign_up("cleo", referral_code=theirs)) == ("rejected", "unknown_code", "code")


def test_a_capped_code_refers_exactly_as_many_as_it_may(company: Company, superuser: psycopg.Connection) -> None:
    code = code_of(company, "ada")
    change_code(superuser, code, max_uses=2)
    outcomes = [outcome(company.sign_up(f"referee-{number}", referral_code=code)) for number in range(4)]
    assert outcomes == [("attributed", None, "code")] * 2 + [("rejected", "code_used_up", "code")] * 2
    stored = rows.find_one(superuser, "SELECT uses FROM codes WHERE code = %(code)s", code=code)
    assert stored["uses"] == 2


def test_nobody_refers_themselves_under_another_name(company: Company) -> None:
    code = code_of(company, "ada", email="Ada@Example.com")
    answer = company.ok(
        "POST", "/v1/signups", {"user": {"external_id": "ada-2", "email": "ada@example.COM"}, "referral_code": code}
    )
    assert outcome(answer) == ("rejected", "self_referral", "code")


@pytest.mark.parametrize("provider", ["stripe", "whop"])
@pytest.mark.parametrize("named_by", ["referrer", "referee"])
def test_nobody_refers_themselves_as_another_user_of_the_same_payer(
    company: Company, provider: str, named_by: str
) -> None:
    """One of the two names the customer; of the other the provider tells that it is the same one."""
    named = {"stripe": {"stripe_customer_id": "cus_1"}, "whop": {"whop_user_id": "user_1"}}[provider]
    told_of = {"referrer": "ben", "referee": "ada"}[named_by]
    if provider == "stripe":
        company.deliver(invoice_paid("evt_1", "in_1", user=told_of, customer="cus_1"))
    else:
        company.deliver_whop(whop_payment("msg_1", "pay_1", user=told_of, buyer={"id": "user_1"}))
    code = code_of(company, "ada", **(named if named_by == "referrer" else {}))
    click_id = click(company, code)
    ben = {"external_id": "ben", **(named if named_by == "referee" else {})}
    answer = company.ok("POST", "/v1/signups", {"user": ben, "referral_code": code, "click_id": click_id})
    assert outcome(answer) == ("rejected", "self_referral", "code")
    assert company.balance("ada") == 0


@pytest.mark.parametrize("identity", ["whop_user_id", "stripe_customer_id"])
def test_an_identity_belongs_to_one_user_of_a_company(
    company: Company, other: Company, superuser: psycopg.Connection, identity: str
) -> None:
    code = code_of(company, "ada", **{identity: "one"})
    before = rows.count(superuser, company.id)
    body = {"user": {"external_id": "ada-2", identity: "one"}, "referral_code": code}
    problem(company.api.send("POST", "/v1/signups", body), 409, "identity_taken")
    assert rows.count(superuser, company.id) == before
    other.ok("POST", "/v1/signups", {"user": {"external_id": "ada", identity: "one"}}, status=201)


def test_a_user_older_than_the_grace_is_nobodys_referee(company: Company) -> None:
    company.set_clock(NOON)
    code = code_of(company, "ada")
    grace = timedelta(days=7)
    for external_id, created_at, expected in (
        ("just", NOON - grace, ("attributed", None, "code")),
        ("late", NOON - grace - timedelta(microseconds=1), ("rejected", "user_too_old", "code")),
    ):
        body = {"user": {"external_id": external_id, "created_at": created_at.isoformat()}, "referral_code": code}
        assert outcome(company.ok("POST", "/v1/signups", body)) == expected


def test_an_account_of_an_app_whose_clock_is_ahead_counts_as_of_now(
    company: Company, superuser: psycopg.Connection
) -> None:
    company.set_clock(NOON)
    for name, ahead in (("ada", timedelta(milliseconds=500)), ("bob", timedelta(minutes=5))):
        body = {"user": {"external_id": name, "created_at": (NOON + ahead).isoformat()}}
        company.ok("POST", "/v1/signups", body, key=name, status=201)
        company.ok("POST", "/v1/signups", body, status=200)
    stored = rows.find(superuser, "SELECT app_created_at FROM users WHERE company_id = %(id)s", id=company.id)
    assert stored == [{"app_created_at": NOON}] * 2


def test_an_account_cannot_come_from_the_future(company: Company, superuser: psycopg.Connection) -> None:
    company.set_clock(NOON)
    ahead = timedelta(minutes=5, microseconds=1)
    body = {"user": {"external_id": "ada", "created_at": (NOON + ahead).isoformat()}}
    problem(company.api.send("POST", "/v1/signups", body), 422, "created_at_in_the_future")
    assert not rows.count(superuser, company.id)["users"]


def test_a_click_refers_until_its_window_ends(company: Company) -> None:
    company.set_clock(NOON)
    click_id = click(company, code_of(company, "ada"))
    window = timedelta(days=90)
    company.set_clock(NOON + window)
    answer = company.sign_up("ben", click_id=click_id)
    assert outcome(answer) == ("attributed", None, "click")
    assert answer["attribution"]["click_id"] == click_id
    company.set_clock(NOON + window + timedelta(microseconds=1))
    answer = company.sign_up("cleo", click_id=click_id)
    assert outcome(answer) == ("rejected", "outside_window", "click")
    assert answer["attribution"]["click_id"] == click_id


def test_a_click_at_the_instant_of_the_signup_counts(company: Company) -> None:
    company.set_clock(NOON)
    assert outcome(company.sign_up("ben", click_id=click(company, code_of(company, "ada"))))[0] == "attributed"


@pytest.mark.parametrize("change", [{"active": False}, {"expires_at": NOON}])
def test_a_click_outlives_its_code(company: Company, superuser: psycopg.Connection, change: dict[str, object]) -> None:
    company.set_clock(NOON)
    code = code_of(company, "ada")
    click_id = click(company, code)
    change_code(superuser, code, **change)
    assert outcome(company.sign_up("ben", click_id=click_id)) == ("attributed", None, "click")


def test_the_uses_of_a_clicks_code_are_judged_at_the_signup(company: Company, superuser: psycopg.Connection) -> None:
    code = code_of(company, "ada")
    change_code(superuser, code, max_uses=1)
    clicks = [click(company, code), click(company, code)]
    assert outcome(company.sign_up("ben", click_id=clicks[0])) == ("attributed", None, "click")
    assert outcome(company.sign_up("cleo", click_id=clicks[1])) == ("rejected", "code_used_up", "click")


@pytest.mark.parametrize(
    ("click_id", "reason"),
    [
        ("clk_" + "f" * 32, "outside_window"),
        ("clk_" + "0" * 32, "outside_window"),
        ("nonsense", "unknown_code"),
        ("clk_", "unknown_code"),
        ("ref_" + "0" * 32, "unknown_code"),
    ],
)
def test_a_made_up_click_blocks_no_signup(company: Company, click_id: str, reason: str) -> None:
    answer = company.ok("POST", "/v1/signups", {"user": {"external_id": "ben"}, "click_id": click_id}, status=201)
    assert outcome(answer) == ("rejected", reason, "click")


def test_another_companys_click_refers_nobody(company: Company, other: Company) -> None:
    theirs = click(other, code_of(other, "eve"))
    assert outcome(company.sign_up("ben", click_id=theirs))[0] == "rejected"


def test_a_code_beats_a_click(company: Company) -> None:
    code, click_id = code_of(company, "ada"), click(company, code_of(company, "bob"))
    answer = company.sign_up("cleo", referral_code=code, click_id=click_id)
    assert outcome(answer) == ("attributed", None, "code")
    assert answer["referral"]["referrer"] == "ada"


def test_the_first_valid_candidate_wins(company: Company) -> None:
    click_id = click(company, code_of(company, "bob"))
    answer = company.sign_up("cleo", referral_code="NO-SUCH-CODE", click_id=click_id)
    assert outcome(answer) == ("attributed", None, "click")
    assert answer["referral"]["referrer"] == "bob"


def test_where_none_is_valid_the_best_candidates_reason_is_told(company: Company) -> None:
    answer = company.sign_up("cleo", referral_code="NO-SUCH-CODE", click_id="clk_" + "0" * 32)
    assert outcome(answer) == ("rejected", "unknown_code", "code")


def test_the_decision_can_be_explained(company: Company, superuser: psycopg.Connection) -> None:
    click_id = click(company, code_of(company, "bob"))
    company.sign_up("cleo", referral_code="NO-SUCH-CODE", click_id=click_id)
    trace = rows.find_one(
        superuser, "SELECT trace FROM signups JOIN users USING (company_id) WHERE signups.user_id = users.id"
        " AND company_id = %(id)s AND external_id = 'cleo'", id=company.id,
    )["trace"]  # fmt: skip
    assert [(seen["source"], seen["reason"]) for seen in trace["candidates"]] == [
        ("code", "unknown_code"),
        ("click", None),
    ]
    assert (trace["winner"], trace["program_version"], trace["window_days"]) == ("click", 1, 90)


def test_a_referral_keeps_the_terms_it_began_under(company: Company, superuser: psycopg.Connection) -> None:
    code = code_of(company, "ada")
    before = company.sign_up("ben", referral_code=code)
    change_program(superuser, company, "{awards,registered,points}", "7")
    after = company.sign_up("cleo", referral_code=code)
    assert [answer["referral"]["program_version"] for answer in (before, after)] == [1, 2]
    assert company.balance("ada") == 5 + 7


def test_addresses_and_devices_are_stored_as_keyed_hashes_only(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ada", ip="203.0.113.7", user_agent="Firefox/140", device_fingerprint="fp-1")
    stored = rows.find_one(superuser, "SELECT * FROM user_fingerprints WHERE company_id = %(id)s", id=company.id)
    assert [len(stored[name]) for name in ("ip_hash", "block_hash", "agent_hash", "device_hash")] == [32] * 4
    assert not [secret for secret in ("203.0.113.7", "Firefox", "fp-1") if secret in str(stored)]


def test_the_callers_own_address_is_nobodys(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ada")
    assert rows.find(superuser, "SELECT * FROM user_fingerprints WHERE company_id = %(id)s", id=company.id) == []


def test_an_idempotency_key_gives_the_first_answer_byte_for_byte(
    company: Company, superuser: psycopg.Connection
) -> None:
    body = {"user": {"external_id": "ada"}}
    key = {"idempotency-key": "signup-1"}
    first = company.api.send("POST", "/v1/signups", body, headers=key)
    before = rows.count(superuser, company.id)
    again = company.api.send("POST", "/v1/signups", body, headers=key)
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert "idempotent-replay" not in first.headers
    assert again.headers["idempotent-replay"] == "true"
    changed = company.api.send("POST", "/v1/signups", {"user": {"external_id": "bob"}}, headers=key)
    problem(changed, 409, "idempotency_key_reused")
    problem(company.api.send("POST", "/v1/activations", {"user_id": "ada"}, headers=key), 409, "idempotency_key_reused")
    assert rows.count(superuser, company.id) == before


def test_an_idempotency_key_keeps_a_refusal_too(company: Company) -> None:
    company.ok("POST", "/v1/signups", {"user": {"external_id": "ada", "whop_user_id": "user_1"}})
    body = {"user": {"external_id": "bob", "whop_user_id": "user_1"}}
    answers = [company.api.send("POST", "/v1/signups", body, headers={"idempotency-key": "k"}) for _ in range(2)]
    problem(answers[0], 409, "identity_taken")
    assert answers[1].raw == answers[0].raw
    assert answers[1].headers["idempotent-replay"] == "true"


def test_an_idempotency_key_is_a_companys_own(company: Company, other: Company) -> None:
    for each in (company, other):
        each.ok("POST", "/v1/signups", {"user": {"external_id": "ada"}}, key="same", status=201)
