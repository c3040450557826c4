"""Explanations: a reader reckons a referral and its awards again, from nothing but the answer."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any, Literal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from goodword.awards import settlement
from goodword.core.fields import rfc3339
from goodword.facts import keep
from goodword.facts.kinds import Fact, PaymentSucceeded, SubscriptionChanged, TakenBack
from goodword.fraud.first_payments import FirstPayments
from local import setup
from local.postgres import Cluster
from tests.support import rows
from tests.support.answers import problem
from tests.support.companies import Company
from tests.support.waiting import wait_until_blocked

START = datetime(2031, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TAKEN_BACK = {"pending", "succeeded", "lost"}

Tell = Callable[..., None]


@pytest.fixture
def tell(company: Company, as_role: Callable[[str], psycopg.Connection]) -> Tell:
    """Tell facts of one event, as a provider's webhook does once it has read it."""
    connection = as_role("webhook")

    def record(*facts: Fact) -> None:
        with connection.pipeline(), connection.transaction():
            concerned, _ = keep(connection, company.id, "stripe", facts)
            settlement.settle(connection, company.id, sorted(concerned), FirstPayments())

    return record


@pytest.fixture
def referred(company: Company) -> Company:
    """Zoe brought Ada, who brought Ben, at START."""
    company.set_clock(START)
    company.refer("zoe", "ada")
    company.refer("ada", "ben")
    return company


def terms(superuser: psycopg.Connection, company: Company, changed: dict[str, Any]) -> None:
    """The next program version, with some of its parts replaced."""
    superuser.execute(
        """
        INSERT INTO program_versions (company_id, version, program, created_at)
        SELECT company_id, version + 1, program || %(changed)s || jsonb_build_object('awards',
            program -> 'awards' || coalesce(%(changed)s -> 'awards', '{}')), created_at
        FROM program_versions WHERE company_id = %(id)s ORDER BY version DESC LIMIT 1
        """,
        {"id": company.id, "changed": Jsonb(changed)},
    )


def payment(key: str, at: datetime, *, net: int = 1900, gross: int = 2261, currency: str = "usd") -> PaymentSucceeded:
    """A payment of Ben's."""
    return PaymentSucceeded(key, ("cus_ben", key), "ben", None, None, currency, gross, net, at, None)


def refund(key: str, of: str, amount: int, status: Any, at: datetime) -> TakenBack:  # noqa: ANN401 - one of the literals
    return TakenBack("refund", key, (of,), amount, "usd", status, at, at)


def dispute(key: str, of: str, amount: int, status: Any, at: datetime) -> TakenBack:  # noqa: ANN401 - one of the literals
    return TakenBack("dispute", key, (of,), amount, "usd", status, at, at)


def subscription(status: Literal["active", "ended"], at: datetime) -> SubscriptionChanged:
    """Ben's subscription, as it is from `at` on."""
    return SubscriptionChanged(
        key="sub_1", objects=("sub_1",), external_id="ben", click_id=None, code=None, status=status, price_refs=(),
        period_ends_at=None, cancel_at_period_end=False, ended_at=at if status == "ended" else None, at=at,
    )  # fmt: skip


def of_referral(company: Company, referee: str = "ben") -> Any:  # noqa: ANN401
    referral = company.sign_up(referee)["referral"]
    return company.ok("GET", f"/v1/referrals/{referral['id']}/explain")


def of_award(company: Company, event: str, *, period: int | None = None, referee: str = "ben") -> Any:  # noqa: ANN401
    (award,) = (
        award for award in company.sign_up(referee)["awards"]
        if award["event"] == event and period in {None, award["period"]}
    )  # fmt: skip
    explained = company.ok("GET", f"/v1/awards/{award['id']}/explain")
    assert explained["award"] == award
    reckon(explained)
    return explained


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def base_points(trace: dict[str, Any]) -> int:
    if trace["points"] is not None:
        return trace["points"]
    if trace["points_per_unit"] is None:
        return 0
    worth = trace["net_amount"] * trace["bps"] * trace["points_per_unit"]
    return half_up(Fraction(worth, 10_000 * 10 ** trace["exponent"]))


def share(explained: dict[str, Any]) -> Fraction:
    if not explained["is_due"]:
        return Fraction(0)
    if explained["share_rule"] == "no_money":
        assert explained["payments"] == []
        return Fraction(1)
    kept = max(
        Fraction(each["gross_amount"] - each["taken_back"], each["gross_amount"]) for each in explained["payments"]
    )
    if explained["share_rule"] == "anything_still_paid":
        return Fraction(1) if kept else Fraction(0)
    assert explained["share_rule"] == "best_kept_payment"
    return kept


def reckon(explained: dict[str, Any]) -> None:
    """Everything about an award, reckoned again."""
    award, trace = explained["award"], explained["trace"]
    for each in explained["payments"]:
        gone = sum(
            back["amount"] for back in explained["takebacks"]
            if back["payment_id"] == each["id"] and back["status"] in TAKEN_BACK
        )  # fmt: skip
        assert each["taken_back"] == min(gone, each["gross_amount"])
    assert {back["payment_id"] for back in explained["takebacks"]} <= {each["id"] for each in explained["payments"]}
    assert award["base_points"] == trace["base_points"] == base_points(trace)
    assert award["points"] == half_up(Fraction(trace["base_points"] * trace["multiplier_bps"], 10_000))
    assert award["multiplier"] == trace["multiplier_bps"] / 10_000
    shown = explained["share"]
    assert Fraction(shown["numerator"], shown["denominator"]) == share(explained)
    rejected = award["status"] == "rejected"
    due = 0 if rejected else half_up(award["points"] * share(explained))
    assert explained["due_points"] == due
    assert award["reversed_points"] == (0 if rejected else award["points"] - due)
    is_of_payment = explained["share_rule"] == "best_kept_payment"
    assert (award["payment_id"] is not None) is is_of_payment
    assert not is_of_payment or award["payment_id"] in {each["id"] for each in explained["payments"]}
    booked = sum(entry["delta"] - entry["debt_delta"] for entry in explained["entries"])
    assert booked == (due if award["status"] in {"paid", "reversed"} else 0)
    assert [entry["id"] for entry in explained["entries"][:1]] == [each for each in [award["transaction_id"]] if each]


FIXED = {"points": 25}
PERCENTAGE = {"bps": 1234}  # of 19.00 at 100 points a dollar: 234.46


@pytest.fixture(params=[FIXED, PERCENTAGE], ids=["fixed", "percentage"])
def paid(request: pytest.FixtureRequest, company: Company, superuser: psycopg.Connection, tell: Tell) -> Company:
    """Ada brought Ben, who paid 22.61 with taxes, under terms of either kind."""
    company.set_clock(START)
    terms(superuser, company, {"awards": {"qualified": request.param}})
    company.refer("ada", "ben")
    tell(payment("in_1", START))
    return company


def points(company: Company) -> int:
    """What the first payment is worth under the terms of now."""
    return 25 if "points" in company.ok("GET", "/v1/program")["program"]["awards"]["qualified"] else 234


def test_an_award_is_reckoned_from_its_terms(paid: Company) -> None:
    explained = of_award(paid, "qualified")
    assert (explained["award"]["points"], explained["due_points"]) == (points(paid), points(paid))
    assert explained["program_version"] == 2
    assert [entry["type"] for entry in explained["entries"]] == ["REFERRAL_FIRST_PAYMENT"]
    (only,) = explained["payments"]
    expected = {
        "key": "in_1", "provider": "stripe", "currency": "usd", "net_amount": 1900, "gross_amount": 2261,
        "taken_back": 0, "period": 1, "outcome": "counted", "paid_at": rfc3339(START), "period_start": None,
        "is_proration": False,
    }  # fmt: skip
    assert {name: only[name] for name in expected} == expected
    if points(paid) == 25:
        assert explained["trace"] == {
            "points": 25, "bps": None, "net_amount": None, "currency": None, "exponent": None, "points_per_unit": None,
            "paid_at": rfc3339(START), "app_id": None, "occurred_at": None, "effective_at": None, "base_points": 25,
            "multiplier_bps": 10_000, "counted": 0, "campaign_id": None,
        }  # fmt: skip


def test_a_partial_refund_takes_its_share(paid: Company, tell: Tell) -> None:
    tell(refund("re_1", "in_1", 700, "succeeded", START + DAY))
    explained = of_award(paid, "qualified")
    assert explained["share"] == {"numerator": 223, "denominator": 323}  # 1561 of 2261
    assert explained["due_points"] == {25: 17, 234: 162}[points(paid)]
    assert [entry["type"] for entry in explained["entries"]] == ["REFERRAL_FIRST_PAYMENT", "REVERSAL"]
    (back,) = explained["takebacks"]
    assert (back["kind"], back["key"], back["amount"], back["status"], back["state"]) == (
        "refund", "re_1", 700, "succeeded", "gone",
    )  # fmt: skip


def test_a_refund_of_all_leaves_nothing(paid: Company, tell: Tell) -> None:
    tell(refund("re_1", "in_1", 700, "succeeded", START + DAY))
    tell(refund("re_2", "in_1", 1561, "pending", START + 2 * DAY))
    explained = of_award(paid, "qualified")
    assert (explained["award"]["status"], explained["due_points"]) == ("reversed", 0)
    assert explained["share"] == {"numerator": 0, "denominator": 1}
    assert [entry["type"] for entry in explained["entries"]][1:] == ["REVERSAL", "REVERSAL"]


def test_a_refund_that_failed_gives_back(paid: Company, tell: Tell) -> None:
    tell(refund("re_1", "in_1", 2261, "succeeded", START + DAY))
    tell(refund("re_1", "in_1", 2261, "failed", START + 2 * DAY))
    explained = of_award(paid, "qualified")
    assert (explained["award"]["status"], explained["due_points"]) == ("paid", points(paid))
    assert [entry["type"] for entry in explained["entries"]][1:] == ["REVERSAL", "REINSTATEMENT"]
    assert [back["state"] for back in explained["takebacks"]] == ["kept"]


def test_a_dispute_lost_and_then_won_gives_back(paid: Company, tell: Tell) -> None:
    for day, status in enumerate(("open", "lost", "won")):
        tell(dispute("dp_1", "in_1", 2000, status, START + day * DAY))
        of_award(paid, "qualified")
    explained = of_award(paid, "qualified")
    assert explained["due_points"] == points(paid)
    assert [entry["type"] for entry in explained["entries"]][1:] == ["REVERSAL", "REINSTATEMENT"]


def test_points_that_were_spent_are_taken_back_as_debt(paid: Company, tell: Tell) -> None:
    given = -paid.balance("ada")
    paid.ok("POST", "/v1/users/ada/points", {"points": given, "note": "spent"}, key="spent")
    tell(refund("re_1", "in_1", 2261, "succeeded", START + DAY))
    (_, reversal) = of_award(paid, "qualified")["entries"]
    assert (reversal["delta"], reversal["debt_delta"]) == (0, points(paid))


@pytest.mark.parametrize(
    ("currency", "net", "exponent", "worth"),
    [("usd", 1905, 2, 235), ("jpy", 1905, 0, 23508), ("kwd", 1905, 3, 24), ("sek", 1905, 2, None)],
)
def test_a_percentage_counts_in_the_currencys_own_units(
    company: Company, superuser: psycopg.Connection, tell: Tell, currency: str, net: int, exponent: int,
    worth: int | None,
) -> None:  # fmt: skip
    company.set_clock(START)
    per_unit = {"usd": 100, "jpy": 100, "kwd": 100}
    terms(superuser, company, {"awards": {"qualified": PERCENTAGE}, "points_per_unit": per_unit})
    company.refer("ada", "ben")
    tell(payment("in_1", START, net=net, gross=net, currency=currency))
    explained = of_award(company, "qualified")
    trace = explained["trace"]
    assert (trace["bps"], trace["net_amount"], trace["currency"], trace["exponent"]) == (1234, net, currency, exponent)
    if worth is None:
        assert trace["points_per_unit"] is None
        assert (explained["award"]["status"], explained["award"]["reason"]) == ("rejected", "currency_not_configured")
    else:
        assert (explained["award"]["points"], explained["award"]["status"]) == (worth, "paid")


def test_a_fixed_award_shares_the_fate_of_the_best_kept_payment_of_its_month(referred: Company, tell: Tell) -> None:
    referred.set_clock(START + 60 * DAY)
    tell(payment("in_1", START))
    tell(payment("in_2", START + 28 * DAY, net=1000, gross=1190))
    tell(payment("in_3", START + 30 * DAY, net=333, gross=333))
    tell(refund("re_1", "in_2", 595, "succeeded", START + 31 * DAY))
    recurring = of_award(referred, "recurring")
    assert [each["key"] for each in recurring["payments"]] == ["in_2", "in_3"]
    assert (recurring["award"]["period"], recurring["due_points"]) == (2, 10)
    tell(refund("re_2", "in_3", 222, "succeeded", START + 31 * DAY))
    recurring = of_award(referred, "recurring")
    assert recurring["share"] == {"numerator": 1, "denominator": 2}
    upline = of_award(referred, "l2", period=2)
    assert (upline["award"]["user_id"], upline["due_points"], upline["share"]) == ("zoe", 3, recurring["share"])
    assert of_award(referred, "qualified")["payments"][0]["key"] == "in_1"


def test_an_award_says_which_payment_carries_it_now_and_what_became_of_the_one_it_replaced(
    referred: Company, tell: Tell
) -> None:
    referred.set_clock(START + 60 * DAY)
    tell(payment("in_1", START))
    tell(payment("in_2", START + 28 * DAY))
    tell(refund("re_1", "in_1", 2261, "succeeded", START + 31 * DAY))
    qualified, recurring = of_award(referred, "qualified"), of_award(referred, "recurring")
    assert (qualified["award"]["period"], qualified["due_points"]) == (2, 25)
    assert [(each["key"], each["id"]) for each in qualified["payments"]] == [("in_2", qualified["award"]["payment_id"])]
    assert [entry["type"] for entry in qualified["entries"]] == ["REFERRAL_FIRST_PAYMENT"]
    assert (recurring["is_due"], recurring["award"]["status"], recurring["due_points"]) == (False, "reversed", 0)
    tell(refund("re_1", "in_1", 2261, "failed", START + 32 * DAY))
    qualified, recurring = of_award(referred, "qualified"), of_award(referred, "recurring")
    assert (qualified["award"]["period"], [each["key"] for each in qualified["payments"]]) == (1, ["in_1"])
    assert (recurring["is_due"], recurring["award"]["status"], recurring["due_points"]) == (True, "paid", 10)
    assert [entry["type"] for entry in recurring["entries"]] == ["REFERRAL_RECURRING", "REVERSAL", "REINSTATEMENT"]


def test_what_waits_again_with_another_payment_says_that_nothing_of_it_stands(
    referred: Company, superuser: psycopg.Connection, tell: Tell
) -> None:
    terms(superuser, referred, {"awards": {"qualified": {"points": 25, "hold_days": 14}}})
    referred.refer("ada", "cleo")
    referred.set_clock(START + 20 * DAY)
    for key, days in (("in_1", 0), ("in_2", 19)):
        tell(payment(key, START + days * DAY)._replace(objects=(key,), external_id="cleo"))
    assert of_award(referred, "qualified", referee="cleo")["award"]["status"] == "paid"
    tell(refund("re_1", "in_1", 2261, "succeeded", START + 20 * DAY))
    waiting = of_award(referred, "qualified", referee="cleo")
    assert (waiting["award"]["status"], waiting["award"]["hold_until"]) == ("pending", rfc3339(START + 33 * DAY))
    assert [(entry["type"], entry["delta"]) for entry in waiting["entries"]] == [
        ("REFERRAL_FIRST_PAYMENT", 25), ("REVERSAL", -25),
    ]  # fmt: skip
    assert referred.ok("GET", "/v1/users/ada/balance")["pending"] == 25


def test_a_percentage_of_a_month_is_each_payments_own(
    company: Company, superuser: psycopg.Connection, tell: Tell
) -> None:
    company.set_clock(START)
    terms(superuser, company, {"awards": {"recurring": {"bps": 1000}}})
    company.refer("ada", "ben")
    company.set_clock(START + 60 * DAY)
    tell(payment("in_1", START))
    tell(payment("in_2", START + 28 * DAY, net=1000, gross=1190))
    tell(payment("in_3", START + 30 * DAY, net=333, gross=333))
    tell(refund("re_1", "in_2", 595, "succeeded", START + 31 * DAY))
    given = [award["id"] for award in company.sign_up("ben")["awards"] if award["event"] == "recurring"]
    explained = [company.ok("GET", f"/v1/awards/{each}/explain") for each in given]
    for each in explained:
        reckon(each)
    assert [([paid["key"] for paid in each["payments"]], each["due_points"]) for each in explained] == [
        (["in_2"], 50),
        (["in_3"], 33),
    ]


def test_retention_lasts_while_anything_is_still_paid(
    referred: Company, tell: Tell, as_role: Callable[[str], psycopg.Connection], superuser: psycopg.Connection
) -> None:
    tell(payment("in_1", START))
    referred.set_clock(START + 30 * DAY)
    ben = rows.find_one(
        superuser, "SELECT id FROM users WHERE company_id = %(id)s AND external_id = 'ben'", id=referred.id
    )["id"]
    connection = as_role("jobs")
    with connection.pipeline(), connection.transaction():
        settlement.settle(connection, referred.id, [ben], settlement.AS_JUDGED, time_passes=True)
    tell(payment("in_2", START + 28 * DAY))
    for of, days, left in (("in_1", 31, 15), ("in_2", 32, 0)):
        tell(refund(f"re_{of}", of, 2261, "succeeded", START + days * DAY))
        explained = of_award(referred, "retained")
        assert (explained["share_rule"], explained["due_points"]) == ("anything_still_paid", left)
        assert [each["key"] for each in explained["payments"]] == ["in_1", "in_2"]
        assert explained["is_due"] is (left > 0)


def test_what_comes_of_no_money_stays_whole(referred: Company) -> None:
    referred.set_clock(START + DAY)
    for app_id in ("chat", "mail"):
        referred.ok("POST", "/v1/activations", {"user_id": "ben", "app_id": app_id})
        referred.set_clock(START + 2 * DAY)
    for event, given in (("registered", 5), ("welcome", 25), ("activated", 10), ("cross_app", 5)):
        explained = of_award(referred, event)
        assert (explained["share_rule"], explained["due_points"]) == ("no_money", given)
    assert explained["trace"]["app_id"] == explained["award"]["app_id"] == "mail"
    assert explained["trace"]["occurred_at"] == explained["trace"]["effective_at"] == rfc3339(START + 2 * DAY)


def test_what_waits_is_due_and_not_booked(company: Company, superuser: psycopg.Connection, tell: Tell) -> None:
    company.set_clock(START)
    terms(superuser, company, {"awards": {"qualified": {"points": 25, "hold_days": 7}}})
    company.refer("ada", "ben")
    tell(payment("in_1", START))
    tell(refund("re_1", "in_1", 700, "succeeded", START))
    explained = of_award(company, "qualified")
    assert (explained["award"]["status"], explained["due_points"], explained["entries"]) == ("pending", 17, [])
    tell(dispute("dp_1", "in_1", 100, "open", START))
    explained = of_award(company, "qualified")
    assert (explained["award"]["hold_reason"], explained["due_points"]) == ("dispute", 17)
    assert company.ok("GET", "/v1/users/ada/balance")["pending"] == 17
    assert company.ok("GET", "/v1/users/ben/balance")["pending"] == 0
    assert [back["state"] for back in explained["takebacks"]] == ["disputed", "gone"]


def test_an_award_that_the_facts_no_longer_call_for_is_due_no_more(
    company: Company, superuser: psycopg.Connection, tell: Tell
) -> None:
    """A percentage of the first payment, which then turns out not to have been the first."""
    company.set_clock(START)
    terms(superuser, company, {"awards": {"qualified": PERCENTAGE}})
    company.refer("ada", "ben")
    tell(payment("in_2", START + 2 * DAY))
    tell(payment("in_1", START + DAY, net=500, gross=500))
    given = [award["id"] for award in company.sign_up("ben")["awards"] if award["event"] == "qualified"]
    explained = [company.ok("GET", f"/v1/awards/{each}/explain") for each in given]
    for each in explained:
        reckon(each)
    by_payment = {each["payments"][0]["key"]: each for each in explained}
    assert {key: (each["is_due"], each["due_points"]) for key, each in by_payment.items()} == {
        "in_1": (True, 62), "in_2": (False, 0),
    }  # fmt: skip


def test_a_referral_tells_what_it_was_decided_by(company: Company) -> None:
    company.set_clock(START)
    code = company.sign_up("ada")["user"]["referral_code"]
    click_id = company.ok("POST", "/v1/clicks", {"code": code})["id"]
    company.set_clock(START + DAY)
    referral = company.sign_up("ben", referral_code="nobodys", click_id=click_id)["referral"]
    explained = of_referral(company)
    assert explained["referral"] == referral
    assert explained["attribution"] == {
        "by": "signup", "scope": None, "reason": None, "winner": "click", "program_version": 1, "window_days": 90,
        "model": "last_touch", "touched_at": rfc3339(START),
        "candidates": [
            {"source": "code", "code": "NOBODYS", "click_id": None, "touched_at": rfc3339(START + DAY),
             "reason": "unknown_code", "campaign_id": None},
            {"source": "click", "code": code, "click_id": click_id, "touched_at": rfc3339(START), "reason": None,
             "campaign_id": None},
        ],
    }  # fmt: skip
    assert explained["as_of"] == rfc3339(START + DAY)


def test_a_late_attribution_tells_who_decided_and_why(company: Company) -> None:
    company.sign_up("ada")
    company.sign_up("ben")
    company.ok("PUT", "/v1/users/ben/referrer", {"referrer_id": "ada", "reason": "she said so"})
    attribution = of_referral(company)["attribution"]
    assert (attribution["by"], attribution["scope"], attribution["reason"]) == ("late", "admin", "she said so")
    assert [each["reason"] for each in attribution["candidates"]] == [None]


def test_what_became_of_every_payment_is_told(referred: Company, tell: Tell) -> None:
    for key, at in (("early", -91), ("before", -90), ("first", 0), ("second", 30)):
        tell(payment(key, START + at * DAY, net=1000, gross=1000))
    tell(refund("re_1", "second", 1, "succeeded", START + DAY))
    tell(dispute("dp_1", "first", 2, "open", START + 2 * DAY))
    explained = of_referral(referred)
    assert [(each["key"], each["outcome"], each["period"], each["taken_back"]) for each in explained["payments"]] == [
        ("early", "outside_window", None, 0),
        ("before", "counted", 1, 0),
        ("first", "counted", 4, 0),
        ("second", "counted", 5, 1),
    ]
    ids = {each["key"]: each["id"] for each in explained["payments"]}
    assert [(each["key"], each["payment_id"], each["state"]) for each in explained["takebacks"]] == [
        ("re_1", ids["second"], "gone"),
        ("dp_1", ids["first"], "disputed"),
    ]
    assert explained["standing"]["disputed"] is True


def test_a_payment_that_stood_in_for_a_sale_is_told_to_be_superseded(referred: Company, tell: Tell) -> None:
    tell(PaymentSucceeded(
        "intent:pi_1", ("pi_1",), "ben", None, None, "usd", 2380, 2380, START, None, stands_in_for="pi_1"
    ))  # fmt: skip
    tell(PaymentSucceeded("pi_1", ("cs_1", "pi_1"), "ben", None, None, "usd", 2380, 2000, START, None))
    explained = of_referral(referred)
    assert [(each["key"], each["outcome"], each["period"]) for each in explained["payments"]] == [
        ("intent:pi_1", "superseded", None),
        ("pi_1", "counted", 1),
    ]


def test_what_went_back_in_another_currency_is_told_as_a_part_of_the_whole(referred: Company, tell: Tell) -> None:
    tell(PaymentSucceeded("pay_1", ("pay_1",), "ben", None, None, "usd", 2000, 2000, START, None, 1800, "eur"))
    tell(TakenBack("refund", "rf_1", ("pay_1",), 600, "eur", "succeeded", START, START, 700, "usd"))
    explained = of_referral(referred)
    assert [each["taken_back"] for each in explained["payments"]] == [667]
    (back,) = explained["takebacks"]
    assert (back["amount"], back["currency"], back["part"], back["whole"]) == (600, "eur", 600, 1800)
    (qualified,) = [each for each in explained["standing"]["due"] if each["event"] == "qualified"]
    assert qualified["share"] == {"numerator": 2, "denominator": 3}


def test_payments_after_the_expiry_are_told_to_have_come_too_late(referred: Company, tell: Tell) -> None:
    referred.set_clock(START + 100 * DAY)
    tell(payment("in_1", START + 95 * DAY))
    referred.ok("POST", "/v1/activations", {"user_id": "ben", "app_id": "chat"})
    explained = of_referral(referred)
    assert [each["outcome"] for each in explained["payments"]] == ["referral_expired"]
    assert [each["outcome"] for each in explained["activations"]] == ["referral_expired"]
    assert explained["standing"]["stage"] == explained["referral"]["stage"] == "expired"
    assert explained["standing"]["expired_at"] == rfc3339(START + 90 * DAY)
    assert explained["standing"]["next_at"] is None


def test_what_became_of_every_use_is_told(company: Company, superuser: psycopg.Connection) -> None:
    company.set_clock(START)
    terms(superuser, company, {"apps": ["chat", "mail"]})
    code = company.sign_up("ada")["user"]["referral_code"]
    company.sign_up("ben", referral_code=code, app_id="web")
    company.set_clock(START + timedelta(minutes=2))
    company.ok("POST", "/v1/activations", {"user_id": "ben", "app_id": "chat"})
    explained = of_referral(company)
    effective_at = rfc3339(START + timedelta(minutes=5))
    assert explained["activations"] == [
        {"app_id": "chat", "occurred_at": rfc3339(START + timedelta(minutes=2)), "effective_at": effective_at,
         "outcome": "deferred"}
    ]  # fmt: skip
    assert (explained["standing"]["stage"], explained["standing"]["next_at"]) == ("registered", effective_at)
    company.set_clock(START + DAY)
    for app_id in ("web", "mail", "todo"):
        company.ok("POST", "/v1/activations", {"user_id": "ben", "app_id": app_id})
    company.ok("POST", "/v1/activations", {"user_id": "ben"})
    explained = of_referral(company)
    awards = {each["event"]: each["id"] for each in explained["awards"]}
    assert {each["app_id"]: each["award_id"] for each in explained["app_uses"]} == {
        "chat": awards["activated"], "web": None, "mail": awards["cross_app"], "todo": None,
    }  # fmt: skip
    outcomes = {each["app_id"]: each["outcome"] for each in explained["activations"]}
    assert outcomes == {
        "chat": "counted", "web": "pays_nothing", "mail": "counted", "todo": "pays_nothing", None: "pays_nothing",
    }  # fmt: skip


def test_a_subscription_is_told_as_it_last_stood(referred: Company, tell: Tell) -> None:
    tell(subscription("active", START))
    tell(subscription("ended", START + 9 * DAY))
    (explained,) = of_referral(referred)["subscriptions"]
    assert explained == {
        "provider": "stripe", "key": "sub_1", "status": "ended", "cancel_at_period_end": False, "cancels_at": None,
        "period_ends_at": None, "began_at": rfc3339(START), "ended_at": rfc3339(START + 9 * DAY),
        "status_at": rfc3339(START + 9 * DAY),
    }  # fmt: skip


def test_the_standing_is_what_the_facts_call_for(referred: Company, tell: Tell) -> None:
    tell(payment("in_1", START))
    explained = of_referral(referred)
    standing, referral = explained["standing"], explained["referral"]
    for name in ("stage", "activated_at", "qualified_at", "retained_at", "expired_at"):
        assert standing[name] == referral[name]
    assert (standing["stage"], standing["next_at"]) == ("qualified", rfc3339(START + 30 * DAY))
    assert explained["awards"] == referred.sign_up("ben")["awards"]
    by_event = {award["event"]: award for award in explained["awards"]}
    assert {due["event"]: (due["award_id"], due["base_points"]) for due in standing["due"]} == {
        event: (award["id"], award["base_points"]) for event, award in by_event.items()
    }
    assert {due["event"]: due["recipient"] for due in standing["due"]} == {
        "registered": "referrer", "welcome": "referee", "qualified": "referrer", "l2": "upline",
    }  # fmt: skip
    tell(refund("re_1", "in_1", 2261, "succeeded", START + DAY))
    assert of_referral(referred)["standing"]["stage"] == "cancelled"


def test_what_nobody_is_there_for_is_due_to_nobody(company: Company, tell: Tell) -> None:
    company.set_clock(START)
    company.refer("ada", "ben")
    tell(payment("in_1", START))
    due = {due["event"]: due["award_id"] for due in of_referral(company)["standing"]["due"]}
    assert due["l2"] is None
    assert due["qualified"] is not None


def test_an_explanation_is_of_one_instant(
    referred: Company, cluster: Cluster, superuser: psycopg.Connection, tell: Tell
) -> None:
    """While somebody changes the referral, it waits; then it shows all that was done."""
    tell(payment("in_1", START))
    explained = of_referral(referred)
    (award,) = (award for award in explained["awards"] if award["event"] == "qualified")
    paths = [f"/v1/referrals/{explained['referral']['id']}/explain", f"/v1/awards/{award['id']}/explain"]
    for number, path in enumerate(paths):
        with ThreadPoolExecutor(1) as thread, psycopg.connect(cluster.superuser_url(setup.DATABASE)) as teller:
            teller.execute("SET search_path = goodword")
            teller.execute("SELECT id FROM referrals WHERE company_id = %s FOR NO KEY UPDATE", (referred.id,))
            answered = thread.submit(referred.ok, "GET", path)
            wait_until_blocked(superuser)
            takeback = refund(f"re_{number}", "in_1", 700, "succeeded", START)
            concerned, _ = keep(teller, referred.id, "stripe", [takeback])
            settlement.settle(teller, referred.id, sorted(concerned), FirstPayments())
            teller.commit()
        shown = answered.result()
        assert len(shown["takebacks"]) == number + 1
        if number:
            reckon(shown)


@pytest.mark.parametrize(
    ("kind", "prefix", "code"), [("referrals", "ref", "referral_not_found"), ("awards", "awd", "award_not_found")]
)
def test_what_is_not_there_or_anothers_is_not_found(
    company: Company, other: Company, kind: str, prefix: str, code: str
) -> None:
    theirs = other.refer("ada", "ben")
    their_id = {"ref": theirs["referral"]["id"], "awd": theirs["awards"][0]["id"]}[prefix]
    wrong_kind = {"ref": "awd", "awd": "ref"}[prefix] + their_id[3:]
    for id_ in (their_id, f"{prefix}_{'0' * 32}", f"{prefix}_", "nonsense", wrong_kind, their_id.upper(), "%00"):
        problem(company.api.send("GET", f"/v1/{kind}/{id_}/explain"), 404, code)
