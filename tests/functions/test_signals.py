"""Signals, each alone: what raises it, what does not, what it cannot tell, and where its windows end.

Everything is told to the API and read from it: who is blocked is shown by their attribution.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.fraud.signals import RULES
from goodword.program.document import Program
from tests.functions.test_campaigns import launch
from tests.functions.test_codes import unique
from tests.support import rows
from tests.support.answers import fields
from tests.support.companies import Company
from tests.support.places import NOON, SHARED
from tests.support.stripe_objects import invoice_paid
from tests.support.trust import MOST

MOMENT = timedelta(microseconds=1)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SCORES = Program().fraud.signals.model_dump()
LONG_AGO = (NOON - 400 * DAY).isoformat()
IP, DEVICE = {"ip": SHARED["ip"]}, {"device_fingerprint": SHARED["device_fingerprint"]}
EXPECTING = {"expects_activations": True}
EDGES = [(timedelta(), "clear"), (-MOMENT, "raised")]
"""Beside the end of a window: it is left out."""

each_edge = pytest.mark.parametrize(("beside", "state"), EDGES, ids=["ended", "running"])


@pytest.fixture
def shop(company: Company) -> Company:
    """A company at noon, with Ada, who has been known to the app for long."""
    company.set_clock(NOON)
    company.ok("POST", "/v1/signups", {"user": {"external_id": "ada", "created_at": LONG_AGO}})
    return company


def judge_by(shop: Company, *signals: str, fraud: Mapping[str, object] | None = None, **program: object) -> None:
    """Judge by these signals alone, at their usual scores."""
    scores = dict.fromkeys(SCORES, 0) | {signal: SCORES[signal] for signal in signals}
    limits = {"registrations_per_code_per_day": MOST, "registrations_per_referrer_per_day": MOST}
    shop.ok("PUT", "/v1/program", {"fraud": {"signals": scores, **(fraud or {})}, "limits": limits, **program})


def code_of(shop: Company, user: str = "ada") -> str:
    return shop.ok("GET", f"/v1/users/{user}")["referral_code"]


def come(shop: Company, user: str, code: str | None = None, *, email: str | None = None, **sent: object) -> Any:  # noqa: ANN401
    """Somebody signs up by Ada, or by a code."""
    body = {"user": {"external_id": user, "email": email}, "referral_code": code or code_of(shop), **sent}
    return shop.ok("POST", "/v1/signups", body)


def found(shop: Company, user: str, signal: str) -> dict[str, Any]:
    """What a signal has said of somebody."""
    fraud = shop.ok("GET", f"/v1/users/{user}/attribution")["fraud"]
    (check,) = [check for check in fraud["checks"] if check["signal"] == signal]
    assert check["score"] == (SCORES[signal] if check["state"] == "raised" else 0)
    return check


def state(shop: Company, user: str, signal: str) -> str:
    return found(shop, user, signal)["state"]


def crowd(shop: Company, number: int, **fields: str) -> None:
    """So many people come by Ada."""
    for each in range(number):
        come(shop, f"crowd_{each}", **fields)


# The address and the device


@pytest.mark.parametrize(
    ("signal", "check_type", "place", "elsewhere"),
    [
        ("same_ip", "ip_duplicate", IP, {"ip": "203.0.113.78"}),
        ("same_device", "device_duplicate", DEVICE, {"device_fingerprint": "another one"}),
    ],
)
def test_where_the_referrer_was_seen_a_referee_is_suspected(
    shop: Company, signal: str, check_type: str, place: dict[str, str], elsewhere: dict[str, str]
) -> None:
    judge_by(shop, signal)
    shop.ok("POST", "/v1/users/ada/activity", {"action": "login", **place})
    for user, there in (("same", place), ("else", elsewhere), ("nowhere", {})):
        come(shop, user, **there)
    check = found(shop, "same", signal)
    assert (check["state"], check["check_type"]) == ("raised", check_type)
    assert check["details"] == {"shared_with": "referrer"}
    assert [state(shop, user, signal) for user in ("else", "nowhere")] == ["clear", "not_evaluated"]


@each_edge
@pytest.mark.parametrize(("signal", "place"), [("same_ip", IP), ("same_device", DEVICE)])
def test_the_referrers_own_place_is_remembered_for_30_days_since_it_was_seen_last(
    shop: Company, signal: str, place: dict[str, str], beside: timedelta, state: str
) -> None:
    judge_by(shop, signal)
    for at in (NOON, NOON + DAY):
        shop.set_clock(at)
        shop.ok("POST", "/v1/users/ada/activity", {"action": "login", **place})
    shop.set_clock(NOON + 31 * DAY + beside)
    come(shop, "ben", **place)
    assert found(shop, "ben", signal)["state"] == state


@pytest.mark.parametrize(("signal", "place", "most"), [("same_ip", IP, 5), ("same_device", DEVICE, 3)])
def test_so_many_referees_of_one_referrer_at_one_place_are_too_many(
    shop: Company, signal: str, place: dict[str, str], most: int
) -> None:
    judge_by(shop, signal)
    shop.sign_up("zoe")
    crowd(shop, most - 1, **place)
    come(shop, "of_zoe", code_of(shop, "zoe"), **place)
    shop.sign_up("of_nobody", **place)
    assert {state(shop, user, signal) for user in (f"crowd_{most - 2}", "of_zoe")} == {"clear"}
    come(shop, "one_more", **place)
    assert found(shop, "one_more", signal)["details"] == {"shared_with": "referees", "referees": most}


@each_edge
@pytest.mark.parametrize(("signal", "place", "most"), [("same_ip", IP, 5), ("same_device", DEVICE, 3)])
def test_referees_at_one_place_count_for_30_days(
    shop: Company, signal: str, place: dict[str, str], most: int, beside: timedelta, state: str
) -> None:
    judge_by(shop, signal)
    crowd(shop, most - 1, **place)
    shop.set_clock(NOON + 30 * DAY + beside)
    come(shop, "one_more", **place)
    assert found(shop, "one_more", signal)["state"] == state


@pytest.mark.parametrize(
    ("own", "their", "state"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", "raised"),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", "clear"),
        ("2001:DB8:1:2:0:0:0:1", "2001:db8:1:2::1", "raised"),
        ("203.0.113.77", "::ffff:203.0.113.77", "raised"),
        ("::ffff:cb00:714d", "203.0.113.77", "raised"),
        ("203.0.113.77", "203.0.113.78", "clear"),
    ],
)
def test_an_address_is_what_one_holder_has(shop: Company, own: str, their: str, state: str) -> None:
    judge_by(shop, "same_ip")
    shop.ok("POST", "/v1/users/ada/activity", {"action": "login", "ip": own})
    come(shop, "ben", ip=their)
    assert found(shop, "ben", "same_ip")["state"] == state


@pytest.mark.parametrize(
    "ip",
    [
        "10.0.0.7", "172.16.0.1", "192.168.1.7", "127.0.0.1", "169.254.1.1", "100.64.0.1", "0.0.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "fe80::1", "fd00::1", "ff02::1", "::ffff:192.168.1.7",
    ],
)  # fmt: skip
def test_a_private_or_reserved_address_is_no_data(shop: Company, superuser: psycopg.Connection, ip: str) -> None:
    judge_by(shop, "same_ip")
    shop.ok("POST", "/v1/users/ada/activity", {"action": "login", "ip": ip})
    come(shop, "ben", ip=ip)
    assert state(shop, "ben", "same_ip") == "not_evaluated"
    assert not rows.count(superuser, shop.id)["user_fingerprints"]


@pytest.mark.parametrize("ip", ["fe80::1%eth0", "2001:db8::1%1", "203.0.113.7%1"])
def test_an_address_of_one_machine_alone_is_refused(shop: Company, ip: str) -> None:
    assert fields(shop.api.send("POST", "/v1/signups", {"user": {"external_id": "ben"}, "ip": ip})) == {"ip"}
    assert fields(shop.api.send("POST", "/v1/users/ada/activity", {"action": "login", "ip": ip})) == {"ip"}


# The e-mail


@pytest.mark.parametrize(
    ("email", "state"),
    [
        ("ben@mailinator.com", "raised"), ("ben@MAILINATOR.com", "raised"), ("ben@a.b.mailinator.com", "raised"),
        ("ben@mailinator.com.example", "clear"), ("ben@notmailinator.example", "clear"), (None, "not_evaluated"),
    ],
)  # fmt: skip
def test_a_mailbox_for_minutes_is_suspected(shop: Company, email: str | None, state: str) -> None:
    judge_by(shop, "disposable_email")
    come(shop, "ben", email=email)
    assert found(shop, "ben", "disposable_email")["state"] == state


@pytest.mark.parametrize(
    ("own", "their", "state"),
    [
        ("ab@app.example", "a.b@app.example", "raised"),
        ("a.b@app.example", "AB@APP.example", "raised"),
        ("abcdef@app.example", "abcdefgh@app.example", "raised"),
        ("abcdef@app.example", "badcef@app.example", "clear"),
        ("abcdef@app.example", "abcxyf@app.example", "raised"),
        ("abcdef@app.example", "abcxyz@app.example", "clear"),
        ("abcde@app.example", "abcdef@app.example", "clear"),
        ("abcde@app.example", "abcdx@app.example", "clear"),
        ("abcdef@app.example", "abcdef@web.example", "clear"),
        (None, "abcdef@app.example", "not_evaluated"),
        ("abcdef@app.example", None, "not_evaluated"),
    ],
)
@pytest.mark.parametrize("whose", ["referrer", "referee"])
def test_e_mails_that_one_person_makes_are_alike(
    shop: Company, whose: str, own: str | None, their: str | None, state: str
) -> None:
    judge_by(shop, "similar_email")
    if whose == "referrer" and own:
        shop.ok("PATCH", "/v1/users/ada", {"email": own})
    elif whose == "referee":
        come(shop, "amy", email=own)
    come(shop, "ben", email=their)
    check = found(shop, "ben", "similar_email")
    assert check["state"] == state
    if state == "raised":
        expected = {"similar_to": "referrer"} if whose == "referrer" else {"similar_to": "referees", "referees": 1}
        assert (check["check_type"], check["details"]) == ("email_duplicate", expected)


@each_edge
def test_e_mails_of_referees_are_compared_for_30_days_and_the_referrers_for_ever(
    shop: Company, beside: timedelta, state: str
) -> None:
    judge_by(shop, "similar_email")
    shop.ok("PATCH", "/v1/users/ada", {"email": "referrer@app.example"})
    come(shop, "amy", email="somebody@app.example")
    shop.set_clock(NOON + 30 * DAY + beside)
    come(shop, "ben", email="somebody+2@app.example")
    assert found(shop, "ben", "similar_email")["state"] == state
    come(shop, "cyd", email="referrer2@app.example")
    assert found(shop, "cyd", "similar_email")["details"] == {"similar_to": "referrer"}


# How many, and who brings them


@each_edge
def test_the_third_by_one_code_in_10_minutes_is_rapid(shop: Company, beside: timedelta, state: str) -> None:
    judge_by(shop, "rapid_registration")
    own, second = code_of(shop), shop.ok("POST", "/v1/codes", {"user_id": "ada", "type": "custom", "code": unique()})
    crowd(shop, 2)
    come(shop, "by_another_code", second["code"])
    assert [found(shop, user, "rapid_registration")["state"] for user in ("crowd_1", "by_another_code")] == [
        "clear"
    ] * 2
    shop.set_clock(NOON + 10 * MINUTE + beside)
    come(shop, "third", own)
    assert found(shop, "third", "rapid_registration")["state"] == state


@each_edge
def test_the_eleventh_of_one_referrer_in_24_hours_is_one_of_a_crowd(
    shop: Company, beside: timedelta, state: str
) -> None:
    judge_by(shop, "bulk_registrations")
    second = shop.ok("POST", "/v1/codes", {"user_id": "ada", "type": "custom", "code": unique()})["code"]
    crowd(shop, 9)
    come(shop, "tenth", second)
    assert found(shop, "tenth", "bulk_registrations")["state"] == "clear"
    shop.set_clock(NOON + DAY + beside)
    come(shop, "eleventh")
    check = found(shop, "eleventh", "bulk_registrations")
    assert check["state"] == state
    assert check["details"] == ({"registrations": 11} if state == "raised" else {})


@each_edge
def test_a_referrer_is_new_for_24_hours(shop: Company, beside: timedelta, state: str) -> None:
    judge_by(shop, "new_account_referrer")
    shop.sign_up("zoe")
    shop.set_clock(NOON + DAY + beside)
    come(shop, "ben", code_of(shop, "zoe"))
    assert found(shop, "ben", "new_account_referrer")["state"] == state
    come(shop, "cyd")
    assert found(shop, "cyd", "new_account_referrer")["state"] == "clear", "the app knows Ada for longer"


@pytest.mark.parametrize(
    ("ip_type", "state"),
    [
        ("vpn", "raised"), ("proxy", "raised"), ("tor", "raised"), ("datacenter", "clear"), ("residential", "clear"),
        ("unknown", "not_evaluated"), (None, "not_evaluated"),
    ],
)  # fmt: skip
def test_who_hides_their_address_is_suspected(shop: Company, ip_type: str | None, state: str) -> None:
    judge_by(shop, "vpn_proxy")
    come(shop, "ben", ip_type=ip_type, **IP)
    assert found(shop, "ben", "vpn_proxy")["state"] == state


@pytest.mark.parametrize(
    ("sent", "state"),
    [
        ({"ip": "203.0.113.7"}, "raised"), ({"ip": "198.51.100.7"}, "clear"), ({"ip": "10.0.0.7"}, "not_evaluated"),
        ({}, "not_evaluated"), ({"ip_type": "unknown"}, "not_evaluated"), ({"ip_type": "datacenter"}, "clear"),
    ],
)  # fmt: skip
def test_where_there_are_lists_it_takes_an_address_to_look_up(
    shop: Company, sent: Mapping[str, str], state: str
) -> None:
    judge_by(shop, "vpn_proxy")
    shop.ok("PUT", "/v1/ip-ranges/vpn", {"cidrs": ["203.0.113.0/24"]})
    come(shop, "ben", **sent)
    assert found(shop, "ben", "vpn_proxy")["state"] == state


# The first payment


@pytest.mark.parametrize(
    ("paid_at", "state"),
    [
        (NOON - HOUR, "clear"), (NOON, "raised"), (NOON + DAY - timedelta(seconds=1), "raised"), (NOON + DAY, "clear"),
        (None, "not_evaluated"),
    ],
)  # fmt: skip
def test_who_pays_within_a_day_is_suspected(shop: Company, paid_at: datetime | None, state: str) -> None:
    judge_by(shop, "instant_qualification")
    come(shop, "ben")
    pay(shop, "ben", paid_at)
    check = found(shop, "ben", "instant_qualification")
    assert check["state"] == state
    assert found(shop, "ben", "minimal_activity")["state"] == "not_evaluated"


@pytest.mark.parametrize(
    ("program", "used_by", "paid_at", "state"),
    [
        (EXPECTING, "nobody", NOON + DAY, "raised"),
        (EXPECTING, "ben", NOON + DAY, "clear"),
        (EXPECTING, "nobody", None, "not_evaluated"),
        ({}, "nobody", NOON + DAY, "not_evaluated"),
    ],
)  # fmt: skip
def test_who_pays_without_ever_using_anything_is_suspected(
    shop: Company, program: dict[str, Any], used_by: str, paid_at: datetime | None, state: str
) -> None:
    judge_by(shop, "minimal_activity", **program)
    come(shop, "ben")
    shop.set_clock(NOON + HOUR)
    shop.sign_up("nobody")
    shop.ok("POST", "/v1/activations", {"user_id": used_by})
    pay(shop, "ben", paid_at)
    assert found(shop, "ben", "minimal_activity")["state"] == state


def pay(shop: Company, user: str, paid_at: datetime | None) -> None:
    if paid_at:
        assert shop.deliver(invoice_paid("evt_1", "in_1", user=user, paid_at=paid_at)).json["outcome"] == "applied"


def test_what_a_payment_raised_stays_and_is_told_with_its_details(shop: Company) -> None:
    judge_by(shop, "instant_qualification")
    come(shop, "ben")
    pay(shop, "ben", NOON + HOUR)
    earlier = invoice_paid("evt_2", "in_2", user="ben", paid_at=NOON - HOUR)
    assert shop.deliver(earlier).json["outcome"] == "applied"
    check = found(shop, "ben", "instant_qualification")
    assert check["state"] == "raised"
    assert check["details"] == {
        "registered_at": "2027-01-15T12:00:00.000000Z", "paid_at": "2027-01-15T13:00:00.000000Z",
    }  # fmt: skip


# What they lead to


def test_a_signal_of_0_is_off(shop: Company) -> None:
    judge_by(shop, expects_activations=True)
    shop.ok("POST", "/v1/users/ada/activity", {"action": "login", **SHARED})
    shop.ok("PATCH", "/v1/users/ada", {"email": "somebody@mailinator.com"})
    for each in range(12):
        come(shop, f"user_{each}", email=f"somebody{each}@mailinator.com", ip_type="vpn", **SHARED)
    pay(shop, "user_11", NOON)
    assert [state(shop, "user_11", signal) for signal in RULES] == ["not_evaluated"] * len(RULES)
    (referral,) = [each for each in shop.ok("GET", "/v1/referrals?limit=1")["data"] if each["referee"] == "user_11"]
    assert (referral["fraud_score"], referral["fraud_signals"], referral["flagged"]) == (0, [], False)


@pytest.mark.parametrize(
    ("score", "statuses", "priority"),
    [
        (29, {"registered": "paid", "welcome": "paid"}, None),
        (30, {"registered": "held", "welcome": "paid"}, None),
        (59, {"registered": "held", "welcome": "paid"}, None),
        (60, {"registered": "held", "welcome": "held"}, "medium"),
        (74, {"registered": "held", "welcome": "held"}, "medium"),
        (75, {"registered": "held", "welcome": "held"}, "high"),
        (89, {"registered": "held", "welcome": "held"}, "high"),
        (90, {}, None),
    ],
)
def test_the_edges_of_outcomes(
    shop: Company, superuser: psycopg.Connection, score: int, statuses: dict[str, str], priority: str | None
) -> None:
    judge_by(shop, fraud={"signals": dict.fromkeys(SCORES, 0) | {"same_device": score}})
    shop.ok("POST", "/v1/users/ada/activity", {"action": "login", **DEVICE})
    answer = come(shop, "ben", **DEVICE)
    assert {award["event"]: award["status"] for award in answer["awards"]} == statuses
    assert answer["attribution"]["reason"] == (None if statuses else "fraud_blocked")
    assert shop.ok("GET", "/v1/users/ben/attribution")["fraud"]["score"] == score
    opened = rows.find(superuser, "SELECT priority, status FROM reviews WHERE company_id = %(id)s", id=shop.id)
    assert opened == ([{"priority": priority, "status": "pending"}] if priority else [])


@pytest.mark.parametrize(("place", "score", "outcome"), [({}, 59, "hold"), (IP, 89, "review")])
def test_behavioural_signals_alone_hold_and_are_capped_beside_others(
    shop: Company, place: dict[str, str], score: int, outcome: str
) -> None:
    high = {"signals": dict.fromkeys(SCORES, 0) | {"bulk_registrations": 40, "rapid_registration": 30, "same_ip": 30}}
    judge_by(shop, fraud=high | {"windows": {"rapid_registrations": 2, "bulk_registrations": 1}})
    shop.ok("POST", "/v1/users/ada/activity", {"action": "login", **IP})
    come(shop, "amy")
    come(shop, "ben", **place)
    (judgement,) = shop.ok("GET", "/v1/users/ben/checks")["judgements"]
    assert (judgement["score"], judgement["behavioural"], judgement["outcome"]) == (score, 59, outcome)


def test_by_a_campaign_in_force_any_number_may_come_and_counts_for_nobody(shop: Company) -> None:
    limits = {"registrations_per_code_per_day": 2, "registrations_per_referrer_per_day": 2}
    judge_by(shop, "rapid_registration", "bulk_registrations", limits=limits)
    campaign = launch(shop, starts_at=(NOON - DAY).isoformat(), ends_at=(NOON + DAY).isoformat())
    given = {"type": "campaign", "code": unique(), "user_id": "ada", "campaign_id": campaign["id"]}
    code = shop.ok("POST", "/v1/codes", given)["code"]
    for each in range(12):
        assert come(shop, f"joins_{each}", code)["referral"]["fraud_signals"] == []
    assert {state(shop, "joins_11", signal) for signal in ("rapid_registration", "bulk_registrations")} == {
        "not_evaluated"
    }
    assert [come(shop, user)["referral"]["fraud_signals"] for user in ("ben", "cyd")] == [[], []]
    assert come(shop, "dan")["referral"]["fraud_signals"] == ["rapid_registration", "velocity_limit"]
    shop.set_clock(NOON + DAY + HOUR)
    assert come(shop, "after", code)["referral"]["campaign_id"] is None
    assert come(shop, "after_2", code)["referral"]["fraud_signals"] == []
    assert come(shop, "after_3", code)["referral"]["fraud_signals"] == ["rapid_registration", "velocity_limit"]


@each_edge
def test_a_limit_of_registrations_is_of_24_hours(shop: Company, beside: timedelta, state: str) -> None:
    limits = {"registrations_per_code_per_day": 1, "registrations_per_referrer_per_day": MOST}
    judge_by(shop, limits=limits)
    come(shop, "ben")
    shop.set_clock(NOON + DAY + beside)
    assert come(shop, "cyd")["referral"]["fraud_signals"] == (["velocity_limit"] if state == "raised" else [])
    shown = shop.ok("GET", "/v1/users/cyd/attribution")["fraud"]["checks"]
    assert [check["details"] for check in shown if check["signal"] == "velocity_limit"] == (
        [{"registrations_per_code_per_day": 1}] if state == "raised" else []
    )


# After the signup


def test_who_is_attributed_late_is_judged_by_where_they_signed_up(shop: Company) -> None:
    judge_by(shop, "same_ip")
    shop.ok("POST", "/v1/users/ada/activity", {"action": "login", **IP})
    shop.sign_up("ben", **IP)
    shop.sign_up("cyd")
    shop.ok("POST", "/v1/users/cyd/activity", {"action": "login", **IP})
    for user in ("ben", "cyd"):
        shop.ok("PUT", f"/v1/users/{user}/referrer", {"referrer_id": "ada", "reason": "said so"})
    states = {user: late_states(shop, user)["same_ip"] for user in ("ben", "cyd")}
    assert states == {"ben": "raised", "cyd": "not_evaluated"}


def late_states(shop: Company, user: str) -> dict[str, str]:
    *_, late = shop.ok("GET", f"/v1/users/{user}/attribution")["late"]
    return {check["signal"]: check["state"] for check in late["fraud"]["checks"]}


@pytest.mark.parametrize("reason", ["fraud_blocked", "rate_limited"])
def test_an_administrator_binds_who_was_refused(shop: Company, reason: str) -> None:
    if reason == "fraud_blocked":
        judge_by(shop, fraud={"signals": dict.fromkeys(SCORES, 0) | {"same_ip": 90}})
    else:
        judge_by(shop, fraud={"on_registration_limit": "reject"}, limits={"registrations_per_referrer_per_day": 0})
    shop.ok("POST", "/v1/users/ada/activity", {"action": "login", **IP})
    assert come(shop, "ben", **IP)["attribution"]["reason"] == reason
    bound = shop.ok("PUT", "/v1/users/ben/referrer", {"referrer_id": "ada", "reason": "they are two"})
    assert bound["attribution"]["outcome"] == "attributed"
    assert (bound["referral"]["flagged"], bound["referral"]["is_verified"]) == (False, True)
    assert {award["status"] for award in bound["awards"]} == {"paid"}


def test_checks_are_shown_in_one_order(shop: Company) -> None:
    judge_by(shop, *SCORES)
    come(shop, "ben")
    shown = shop.ok("GET", "/v1/users/ben/attribution")["fraud"]["checks"]
    assert [check["signal"] for check in shown] == list(RULES)
