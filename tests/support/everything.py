"""One of everything: a company whose every table has a row, made by the use cases as the functions' own roles."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from goodword.access import coupon_redemptions, coupons, plans, restrictions
from goodword.access.coupon_redemptions import EnteredCoupon
from goodword.access.coupons import NewCoupon
from goodword.access.plans import PlanChange
from goodword.access.restrictions import NewRestriction
from goodword.accounts import activity
from goodword.accounts.activity import NewActivity
from goodword.awards import campaign_answers, campaign_ends, milestone_catalogue
from goodword.awards.milestone_catalogue import NewMilestone
from goodword.campaigns.campaigns import CampaignChange, NewCampaign
from goodword.core import ids
from goodword.facts.kinds import (
    EmailSeen,
    IdentityLinked,
    ObjectsLinked,
    PaymentSucceeded,
    PromotionCodeTold,
    PromotionUsed,
    SubscriptionChanged,
    TakenBack,
)
from goodword.payments import inbox
from goodword.payments.inbox import KeptEvent
from goodword.program.document import AwardTerms, Signals
from goodword.referral import activations, clicks, code_checks, codes, signups
from goodword.referral.activations import Activation
from goodword.referral.clicks import Visit
from goodword.referral.code_checks import Browser
from goodword.referral.codes import NewCode
from goodword.referral.signups import Signup, SignupAnswer, SignupIds
from tests.support.tenants import Tenant, amend
from tests.support.trust import TRUSTING

REFERRER, REFEREE = "ada", "ben"
EMAIL = "ben@app.example"
BASE_URL = "http://localhost"


def sign_up(tenant: Tenant, external_id: str, **fields: object) -> SignupAnswer:
    """A signup as its function runs it; `fields` are the body's besides the user."""
    signup = Signup.model_validate({"user": {"external_id": external_id}, **fields})
    with tenant.transaction("app") as connection:
        return signups.sign_up(connection, tenant.id, signup, SignupIds(), BASE_URL)().answer


def click(tenant: Tenant, code: str, *, click_id: UUID | None = None, previous_id: UUID | None = None) -> UUID:
    """A visit through a code; its id."""
    click_id = click_id or ids.new_id()
    connection = tenant.connection("click")
    visit = Visit(code, previous_id=previous_id, ip="203.0.113.7")
    assert clicks.visit(connection, click_id, visit, tenant.id)
    return click_id


def fill(tenant: Tenant) -> None:
    """Play the first story: a click on a campaign, a subscription, a promotion code, purchases, a use given back."""
    code = sign_up(tenant, REFERRER, device_fingerprint="tablet").user.referral_code
    assert code is not None
    click_id = click(tenant, _launch(tenant, f"{code}-WINTER"))
    browser = Browser(ids.new_id(), "203.0.113.7")
    code_checks.check(tenant.connection("click"), tenant.id, code, browser)
    user = {"external_id": REFEREE, "email": EMAIL, "email_verified": True}
    sign_up(tenant, REFEREE, user=user, click_id=ids.public("clk", click_id), ip="203.0.113.7")
    with tenant.transaction("app") as connection:
        activations.activate(connection, tenant.id, Activation(user_id=REFEREE, app_id="chat"))
    with tenant.transaction("admin") as connection:
        sold_as = PlanChange.model_validate({"stripe_price_id_monthly": "price_1"})
        plans.change(connection, tenant.id, "basic", ids.new_id(), sold_as)
    _restrict(tenant)
    _offer_milestones(tenant)
    _pay(tenant)
    _end_campaigns(tenant)
    _carry_a_promotion_code(tenant)
    _redeem_a_coupon(tenant, code)
    _spend(tenant)
    _suspect(tenant, code)


def _suspect(tenant: Tenant, code: str) -> None:
    """Somebody comes by Ada's code with Ada's own tablet, to a company that suspects people and gives nothing."""
    fraud = TRUSTING.fraud.model_copy(update={"signals": Signals(same_device=60)})
    nothing = AwardTerms(points=0)
    awards = TRUSTING.awards.model_copy(update={"registered": nothing, "welcome": nothing})
    amend(tenant, TRUSTING.model_copy(update={"fraud": fraud, "awards": awards}))
    sign_up(tenant, "dan", referral_code=code, device_fingerprint="tablet")
    scope = (tenant.id,)
    tenant.superuser.execute("INSERT INTO ip_ranges VALUES (%s, 'vpn', '198.51.100.0/24')", scope)
    tenant.superuser.execute("INSERT INTO ip_range_lists (company_id, ip_type, count) VALUES (%s, 'vpn', 1)", scope)
    tenant.superuser.execute(
        """
        INSERT INTO fraud_patterns (company_id, id, type, value, match, severity, score_impact, active, created_at,
            updated_at)
        VALUES (%s, gen_random_uuid(), 'email_domain', 'spam.example', 'exact', 'high', 40, true, now(), now())
        """,
        scope,
    )


def _launch(tenant: Tenant, text: str) -> str:
    """An active campaign, and a code of Ada's for it."""
    dates = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "8000-01-01T00:00:00Z"}
    prizes = [{"rank_from": 1, "rank_to": 1, "points": 100}]
    new = NewCampaign.model_validate_json(json.dumps({"name": "Winter", **dates, "prizes": prizes}))
    campaign_id = ids.new_id()
    with tenant.transaction("admin") as connection:
        campaign_answers.create(connection, tenant.id, campaign_id, new)
        active = CampaignChange(status="active")
        campaign_answers.change(connection, tenant.id, campaign_id, ids.new_id(), active)
        body = {"type": "campaign", "code": text, "user_id": REFERRER, "campaign_id": campaign_id}
        return codes.create(connection, tenant.id, ids.new_id(), NewCode.model_validate(body)).code


def _end_campaigns(tenant: Tenant) -> None:
    tenant.superuser.execute("UPDATE campaigns SET ends_at = clock_timestamp() WHERE company_id = %s", (tenant.id,))
    is_done = False
    while not is_done:
        with tenant.transaction("jobs") as connection:
            is_done = not campaign_ends.end(connection).more


def _spend(tenant: Tenant) -> None:
    """Ben buys quota; Uma, whose plan allows nothing, uses what she has bought, and then buys a plan."""
    assert tenant.adjust(REFEREE, 100).status == 201
    assert tenant.redeem(REFEREE, tenant.add_option(cost=10, quantity=5)).status == 201
    tenant.add_user("uma")
    with tenant.transaction("app") as connection:
        activity.report(connection, tenant.id, "uma", ids.new_id(), NewActivity(action=activity.LOGIN))
    assert tenant.adjust("uma", 100).status == 201
    assert tenant.redeem("uma", tenant.add_option(cost=10, quantity=5)).status == 201
    used = tenant.consume("uma", "ai_calls", 2)
    assert tenant.give_back("uma", used.json["usage_id"], 1).status == 200
    assert tenant.redeem("uma", tenant.add_unlock(cost=10)).status == 201


def _offer_milestones(tenant: Tenant) -> None:
    """One that pays points and one that gives a plan, both for the first who pays."""
    for reward_type, data in (("points", {"points": 50}), ("product_unlock", {"plan": "basic", "days": 30})):
        body = {"name": "First", "threshold": 1, "reward_type": reward_type, "reward_data": data}
        new = NewMilestone.model_validate(body)
        with tenant.transaction("admin") as connection:
            milestone_catalogue.create(connection, tenant.id, ids.new_id(), new)


def _restrict(tenant: Tenant) -> None:
    (key,) = tenant.rows("SELECT id FROM api_keys WHERE company_id = %(company_id)s AND scope = 'admin'")
    few = NewRestriction(limit=3)
    with tenant.transaction("admin") as connection:
        restrictions.put(connection, tenant.id, REFERRER, "photos", key["id"], ids.new_id(), few)


def _redeem_a_coupon(tenant: Tenant, referral_code: str) -> None:
    body = {"type": "period", "plan": "premium", "duration_days": 30, "code": "HERS", "referral_code": referral_code}
    (key,) = tenant.rows("SELECT id FROM api_keys WHERE company_id = %(company_id)s AND scope = 'admin'")
    with tenant.transaction("admin") as connection:
        coupons.create(connection, tenant.id, [ids.new_id()], key["id"], NewCoupon.model_validate(body))
    with tenant.transaction("app") as connection:
        coupon_redemptions.redeem(connection, tenant.id, REFEREE, ids.new_id(), EnteredCoupon(code="HERS"))


def _carry_a_promotion_code(tenant: Tenant) -> None:
    at = datetime.now(UTC)
    shown = IdentityLinked(("cus_9",), REFERRER, None, "SUMMER", at)
    promotions = [PromotionUsed(("cus_9",), REFERRER, "promo_1", at), PromotionCodeTold(("promo_1",), "WINTER")]
    with tenant.transaction("webhook") as connection:
        inbox.apply(connection, tenant.id, "stripe", [shown, *promotions])


def _pay(tenant: Tenant) -> None:
    at = datetime.now(UTC) - timedelta(minutes=1)
    endpoint_id = ids.parse("whe", tenant.line["stripe_endpoint"].rpartition("/")[2])
    assert endpoint_id is not None
    event = KeptEvent(
        id=ids.new_id(), company_id=tenant.id, endpoint_company_id=tenant.id, endpoint_id=endpoint_id,
        provider="stripe", event_id="evt_1", type="invoice.paid", livemode=False, headers={}, body=b"{}",
    )  # fmt: skip
    objects = ("cus_1", "in_1", "pi_1")
    facts = (
        IdentityLinked(objects, REFEREE, None, None, at),
        PaymentSucceeded("in_1", objects, REFEREE, None, None, "usd", 1900, 1900, at, None),
        ObjectsLinked(objects),
        EmailSeen(("ch_1",), EMAIL),
        SubscriptionChanged(
            "sub_1", ("cus_1", "sub_1"), None, None, None, "active", ("price_1",), None,
            cancel_at_period_end=False, ended_at=None, at=at,
        ),
        TakenBack("dispute", "dp_1", ("pi_1",), 1900, "usd", "warning", at, at),
    )  # fmt: skip
    with tenant.transaction("webhook") as connection:
        receipt = inbox.receive(connection, event, facts)
    assert receipt.outcome == "applied"
