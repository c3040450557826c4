"""One good request for every route, with every field a body may have: what bad requests are made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from goodword.core.http import Route
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tools import openapi

ADA = "ada"
OF_ADA = ("/usage/{usage_id}", "/grants/{id}", "/{id}/claim", "/users/{user_id}/fulfil")
"""Things that are in the path beside the user whose they are."""


@dataclass(frozen=True)
class Good:
    """A request that is answered with success; `{…}` in it are filled in by `Asked`. `idempotent`: takes a key.

    `instead` are the fields that cannot stand beside those of the body.
    """

    path: str
    body: dict[str, Any] | None = None
    idempotent: bool = False
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    instead: tuple[str, ...] = ()


PROGRAM: dict[str, Any] = {
    "schema_version": 1, "timezone": "Europe/Berlin",
    "attribution": {"window_days": 90, "model": "last_touch", "signup_grace_days": 7},
    "awards": {
        "registered": {"points": 5, "hold_days": 1}, "welcome": {"points": 25}, "activated": {"points": 10},
        "qualified": {"points": 25}, "recurring": {"bps": 1000}, "l2": {"points": 5},
        "retained": {"points": 15}, "cross_app": {"points": 5},
    },
    "points_per_unit": {"usd": 100, "eur": 110}, "recurring_months": [2, 12], "l2_months": [1, 6],
    "tiers": [{"name": "bronze", "from": 0, "multiplier_bps": 10_000}],
    "timing": {
        "activation_min_minutes": 5, "qualification_min_hours": 24, "retention_days": 30,
        "pending_expiry_days": 90, "risk_hold_hours": 48, "review_days": 7,
    },
    "apps": ["chat", "calendar"], "expects_activations": False,
    "fraud": {
        "signals": {"same_ip": 30}, "thresholds": {"hold": 30, "review": 60, "reject": 90},
        "windows": {"shared_days": 30}, "on_registration_limit": "review",
    },
    "limits": {"code_creations_per_hour": 10},
    "caps": {"per_user_points": 1000, "per_user_per_day_points": 100}, "points_expiry_months": 12,
}  # fmt: skip

REQUESTS: dict[str, Good] = {
    "GET /r/{code}": Good("/r/{code}"),
    "GET /r/{code+}": Good("/r/{code}/"),
    "HEAD /r/{code}": Good("/r/{code}"),
    "HEAD /r/{code+}": Good("/r/{code}/"),
    "POST /v1/clicks": Good(
        "/v1/clicks",
        {
            "code": "{code}", "landing_url": "https://shop.example/", "referrer_url": "https://news.example/",
            "device_fingerprint": "fp", "app_id": "web", "previous_click_id": "clk_0",
        },
    ),
    "GET /v1/codes/{code}": Good("/v1/codes/{code}"),
    "POST /v1/signups": Good(
        "/v1/signups",
        {
            "user": {
                "external_id": "ben", "email": "ben@example.com", "email_verified": False, "username": "Ben",
                "avatar_url": "https://img.example/ben.png", "whop_user_id": "user_1", "stripe_customer_id": "cus_1",
                "created_at": "2026-01-15T12:00:00Z",
            },
            "referral_code": "{code}", "click_id": "clk_0", "coupon_code": "COUPON", "invite_code": "INVITE",
            "app_id": "web", "ip": "203.0.113.7", "ip_type": "residential", "ip_country": "DE", "ip_asn": 3320,
            "user_agent": "Firefox/140", "device_fingerprint": "fp",
        },
        idempotent=True,
    ),
    "POST /v1/activations": Good(
        "/v1/activations", {"user_id": ADA, "app_id": "web", "occurred_at": "2026-01-15T12:00:00Z"}, idempotent=True
    ),
    "POST /webhooks/stripe/{endpoint_id}": Good("/webhooks/stripe/{stripe_endpoint_id}"),
    "GET /webhooks/stripe/{endpoint_id}": Good("/webhooks/stripe/{stripe_endpoint_id}"),
    "POST /webhooks/whop/{endpoint_id}": Good("/webhooks/whop/{whop_endpoint_id}"),
    "GET /webhooks/whop/{endpoint_id}": Good("/webhooks/whop/{whop_endpoint_id}"),
    "GET /v1/redemption-options": Good("/v1/redemption-options"),
    "POST /v1/users/{user_id}/redemptions": Good(
        "/v1/users/{user_id}/redemptions", {"option_id": "{option_id}", "quantity": 1}, idempotent=True
    ),
    "GET /v1/users/{user_id}/redemptions": Good("/v1/users/{user_id}/redemptions"),
    "GET /v1/users/{user_id}/balance": Good("/v1/users/{user_id}/balance"),
    "GET /v1/users/{user_id}/transactions": Good("/v1/users/{user_id}/transactions"),
    "GET /v1/users/{user_id}/statement": Good(
        "/v1/users/{user_id}/statement", query={"from": "2026-01-01", "to": "2026-02-01T00:00:00Z"}
    ),
    "GET /v1/users/{user_id}/entitlements": Good("/v1/users/{user_id}/entitlements"),
    "GET /v1/users/{user_id}/entitlements/{feature}": Good("/v1/users/{user_id}/entitlements/photos"),
    "POST /v1/users/{user_id}/usage": Good(
        "/v1/users/{user_id}/usage", {"feature": "photos", "quantity": 1}, idempotent=True
    ),
    "POST /v1/users/{user_id}/usage/{usage_id}/return": Good(
        "/v1/users/{user_id}/usage/{usage_id}/return", {"quantity": 1}, idempotent=True
    ),
    "GET /v1/users/{user_id}/usage": Good("/v1/users/{user_id}/usage", query={"feature": "photos"}),
    "GET /v1/users/{user_id}": Good("/v1/users/{user_id}"),
    "PATCH /v1/users/{user_id}": Good(
        "/v1/users/{user_id}",
        {
            "email": "ada@example.com", "email_verified": False, "username": "Ada",
            "avatar_url": "https://img.example/ada.png", "whop_user_id": "user_ada", "stripe_customer_id": "cus_ada",
        },
    ),
    "GET /v1/users/{user_id}/referrals": Good("/v1/users/{user_id}/referrals"),
    "GET /v1/users/{user_id}/awards": Good("/v1/users/{user_id}/awards"),
    "POST /v1/users/{user_id}/activity": Good(
        "/v1/users/{user_id}/activity",
        {
            "action": "login", "details": {"screen": "home"}, "app_id": "web", "ip": "203.0.113.7", "ip_type": "vpn",
            "ip_country": "DE", "ip_asn": 3320, "user_agent": "Firefox/140", "device_fingerprint": "fp",
        },
        idempotent=True,
    ),
    "GET /v1/users/{user_id}/activity": Good("/v1/users/{user_id}/activity"),
    "GET /v1/users/{user_id}/attribution": Good("/v1/users/{user_id}/attribution"),
    "GET /v1/users/{user_id}/checks": Good("/v1/users/{user_id}/checks"),
    "GET /v1/users/{user_id}/stats": Good("/v1/users/{user_id}/stats"),
    "PUT /v1/users/{user_id}/referrer": Good(
        "/v1/users/{user_id}/referrer",
        {"referral_code": "{other_code}", "referrer_id": None, "reason": "told us on the phone"},
    ),
    "GET /v1/referrals": Good("/v1/referrals"),
    "GET /v1/referrals/{id}/explain": Good("/v1/referrals/{referral_id}/explain"),
    "GET /v1/awards/{id}/explain": Good("/v1/awards/{award_id}/explain"),
    "GET /v1/program": Good("/v1/program"),
    "PUT /v1/program": Good("/v1/program", PROGRAM),
    "POST /v1/program/backtest": Good(
        "/v1/program/backtest", {"program": PROGRAM, "from": "2026-01-01", "to": "2027-01-01T00:00:00Z"}
    ),
    "GET /v1/program/versions": Good("/v1/program/versions"),
    "POST /v1/codes": Good(
        "/v1/codes",
        {
            "type": "custom", "code": "{new_code}", "user_id": ADA, "app_id": "web",
            "destination_url": "https://shop.example/", "active": True, "max_uses": 10,
            "expires_at": "8000-01-15T12:00:00Z", "metadata": {"event": "meetup"},
        },
        idempotent=True,
        instead=("campaign_id",),
    ),
    "GET /v1/codes": Good("/v1/codes"),
    "PATCH /v1/codes/{code}": Good(
        "/v1/codes/{code}",
        {
            "active": True, "max_uses": 10, "expires_at": "8000-01-15T12:00:00Z",
            "destination_url": "https://shop.example/", "app_id": "web", "metadata": {"event": "meetup"},
        },
    ),
    "POST /v1/campaigns": Good(
        "/v1/campaigns",
        {
            "name": "Winter", "description": "twice the points", "starts_at": "2026-01-15T12:00:00Z",
            "ends_at": "8000-01-15T12:00:00Z",
            "rules": {
                "awards": {
                    "registered": {"points": 5, "hold_days": 1}, "welcome": {"points": 25}, "activated": {"points": 10},
                    "qualified": {"points": 25}, "recurring": {"bps": 1000}, "l2": {"points": 5},
                    "retained": {"points": 15}, "cross_app": {"points": 5},
                },
                "tiers": [{"name": "bronze", "from": 0, "multiplier_bps": 10_000}],
                "points_cap": 1000, "per_user_cap": 100,
            },
            "prizes": [{"rank_from": 1, "rank_to": 3, "points": 100}], "verification_days": 14,
        },
        idempotent=True,
    ),
    "GET /v1/campaigns": Good("/v1/campaigns"),
    "GET /v1/campaigns/{id}": Good("/v1/campaigns/{campaign_id}"),
    "PATCH /v1/campaigns/{id}": Good(
        "/v1/campaigns/{campaign_id}",
        {
            "name": "Winter", "description": "twice the points", "starts_at": "2026-01-15T12:00:00Z",
            "ends_at": "8000-01-15T12:00:00Z", "status": "active",
            "rules": {
                "awards": {"qualified": {"points": 25}},
                "tiers": [{"name": "bronze", "from": 0, "multiplier_bps": 10_000}],
                "points_cap": 1000, "per_user_cap": 100,
            },
            "prizes": [{"rank_from": 1, "rank_to": 3, "points": 100}], "verification_days": 14,
        },
    ),
    "POST /v1/redemption-options": Good(
        "/v1/redemption-options",
        {
            "kind": "quota", "name": "20 AI calls", "feature": "ai_calls", "quantity": 20, "days": 30,
            "cost_points": 1, "stock": 10, "per_user_limit": 5, "active": True,
        },
        idempotent=True,
        instead=("plan",),
    ),
    "GET /v1/redemption-options/{id}": Good("/v1/redemption-options/{option_id}"),
    "PATCH /v1/redemption-options/{id}": Good(
        "/v1/redemption-options/{option_id}",
        {
            "name": "1 AI call", "quantity": 1, "days": 30, "cost_points": 1, "stock": 10, "per_user_limit": 5,
            "active": True,
        },
    ),
    "GET /v1/redemptions": Good("/v1/redemptions", query={"status": "pending"}),
    "GET /v1/redemptions/{id}": Good("/v1/redemptions/{redemption_id}"),
    "POST /v1/redemptions/{id}/fulfil": Good(
        "/v1/redemptions/{reward_id}/fulfil", {"note": "sent by mail"}, idempotent=True
    ),
    "POST /v1/redemptions/{id}/fail": Good(
        "/v1/redemptions/{other_reward_id}/fail", {"note": "sold out"}, idempotent=True
    ),
    "POST /v1/users/{user_id}/points": Good(
        "/v1/users/{user_id}/points",
        {"points": 1, "note": "thanks", "expires_at": "8000-01-15T12:00:00Z", "priority": 50},
        idempotent=True,
    ),
    "POST /v1/redemptions/{id}/refund": Good("/v1/redemptions/{redemption_id}/refund", idempotent=True),
    "POST /v1/features": Good(
        "/v1/features",
        {
            "id": "voice_minutes", "name": "Voice minutes", "description": "Minutes of speech", "category": "ai",
            "limit_type": "quota", "reset_period": "monthly", "default_limit": 10, "active": True,
        },
        idempotent=True,
    ),
    "GET /v1/features": Good("/v1/features"),
    "GET /v1/features/{feature}": Good("/v1/features/photos"),
    "PATCH /v1/features/{feature}": Good(
        "/v1/features/export_zip",
        {
            "name": "Backup", "description": "A whole backup", "category": "export", "limit_type": "boolean",
            "reset_period": "never", "default_limit": 0, "active": True,
        },
    ),
    "POST /v1/plans": Good(
        "/v1/plans",
        {
            "id": "team", "name": "Team", "description": "For teams", "price_monthly_cents": 2900,
            "price_yearly_cents": 29000, "currency": "eur", "stripe_price_id_monthly": "price_1",
            "stripe_price_id_yearly": "price_2", "former_stripe_price_ids": ["price_0"],
            "whop_plan_ids": ["plan_0"], "active": True, "sort_order": 5,
        },
        idempotent=True,
    ),
    "GET /v1/plans": Good("/v1/plans"),
    "GET /v1/plans/{plan_id}": Good("/v1/plans/{plan_id}"),
    "PATCH /v1/plans/{plan_id}": Good(
        "/v1/plans/{plan_id}",
        {
            "name": "Team", "description": "For teams", "price_monthly_cents": 2900, "price_yearly_cents": 29000,
            "currency": "eur", "stripe_price_id_monthly": "price_3", "stripe_price_id_yearly": "price_4",
            "former_stripe_price_ids": ["price_5"], "whop_plan_ids": ["plan_5"], "active": True, "sort_order": 5,
        },
    ),
    "PUT /v1/plans/{plan_id}/limits/{feature}": Good("/v1/plans/{plan_id}/limits/photos", {"limit": 20}),
    "DELETE /v1/plans/{plan_id}/limits/{feature}": Good("/v1/plans/{plan_id}/limits/ai_calls"),
    "GET /v1/users/{user_id}/restrictions": Good("/v1/users/{user_id}/restrictions"),
    "PUT /v1/users/{user_id}/restrictions/{feature}": Good(
        "/v1/users/{user_id}/restrictions/photos", {"limit": 100, "reason": "a good customer"}
    ),
    "DELETE /v1/users/{user_id}/restrictions/{feature}": Good("/v1/users/{user_id}/restrictions/photos"),
    "GET /v1/settings": Good("/v1/settings"),
    "PATCH /v1/settings": Good(
        "/v1/settings",
        {
            "trial_duration_days": 7, "trial_plan": "basic", "post_trial_plan": "free",
            "require_email_verification": False, "self_registration_enabled": True, "require_invite": False,
            "invite_email_must_match": True, "destination_url": "https://shop.example/", "whop_company_id": None,
            "not_disposable_domains": ["mail.example"],
        },
    ),
    "POST /v1/coupons": Good(
        "/v1/coupons",
        {
            "type": "period", "plan": "premium", "duration_days": 30, "code": "SPRING-26", "max_redemptions": 500,
            "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2030-01-01T00:00:00Z", "active": True,
            "description": "for the spring", "referral_code": "{code}",
        },
        idempotent=True,
        instead=("count",),
    ),
    "GET /v1/coupons": Good("/v1/coupons"),
    "GET /v1/coupons/{id}": Good("/v1/coupons/{coupon_id}"),
    "PATCH /v1/coupons/{id}": Good(
        "/v1/coupons/{coupon_id}",
        {
            "active": True, "description": "for the spring", "max_redemptions": 500,
            "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2030-01-01T00:00:00Z", "referral_code": "{code}",
        },
    ),
    "GET /v1/coupons/{id}/redemptions": Good("/v1/coupons/{coupon_id}/redemptions"),
    "POST /v1/users/{user_id}/grants": Good(
        "/v1/users/{user_id}/grants", {"plan": "premium", "days": 30, "reason": "by hand"},
        idempotent=True,
    ),
    "POST /v1/users/{user_id}/grants/{id}/end": Good(
        "/v1/users/{user_id}/grants/{grant_id}/end", {"reason": "by hand"}, idempotent=True
    ),
    "GET /v1/users/{user_id}/grants": Good("/v1/users/{user_id}/grants"),
    "POST /v1/users/{user_id}/coupons": Good("/v1/users/{user_id}/coupons", {"code": "HERS"}, idempotent=True),
    "POST /v1/milestones": Good(
        "/v1/milestones",
        {
            "name": "Friend", "description": "For the first", "threshold": 1, "reward_type": "points",
            "reward_data": {"points": 50}, "auto_apply": True, "active": True,
        },
        idempotent=True,
    ),
    "GET /v1/milestones": Good("/v1/milestones"),
    "GET /v1/milestones/{id}": Good("/v1/milestones/{milestone_id}"),
    "PATCH /v1/milestones/{id}": Good(
        "/v1/milestones/{milestone_id}",
        {
            "name": "Friend", "description": "For the first", "threshold": 1, "reward_type": "points",
            "reward_data": {"points": 50}, "auto_apply": True, "active": True,
        },
    ),
    "GET /v1/milestones/{id}/users": Good("/v1/milestones/{milestone_id}/users", query={"status": "granted"}),
    "POST /v1/milestones/{id}/users/{user_id}/fulfil": Good(
        "/v1/milestones/{milestone_id}/users/{user_id}/fulfil", {"note": "sent by mail"}, idempotent=True
    ),
    "GET /v1/users/{user_id}/milestones": Good("/v1/users/{user_id}/milestones"),
    "POST /v1/users/{user_id}/milestones/{id}/claim": Good(
        "/v1/users/{user_id}/milestones/{milestone_id}/claim", idempotent=True
    ),
    "GET /v1/reviews": Good(
        "/v1/reviews",
        query={"status": "pending", "priority": "low", "check_type": "velocity_limit", "referrer": "dan"},
    ),
    "GET /v1/reviews/{id}": Good("/v1/reviews/{review_id}"),
    "PATCH /v1/reviews/{id}": Good(
        "/v1/reviews/{review_id}", {"assigned_to": "Dana", "priority": "high", "notes": "Asked both of them."}
    ),
    "POST /v1/reviews/{id}/decision": Good(
        "/v1/reviews/{review_id}/decision",
        {"decision": "escalate", "note": "Odd.", "assigned_to": "Dana"},
        idempotent=True,
    ),
    "POST /v1/reviews/decisions": Good(
        "/v1/reviews/decisions", {"ids": ["{review_id}"], "decision": "escalate", "note": "Odd."}, idempotent=True
    ),
    "POST /v1/fraud-patterns": Good(
        "/v1/fraud-patterns",
        {
            "type": "email_domain", "match": "exact", "value": "spam.example", "severity": "high", "score_impact": 30,
            "description": "bought in bulk", "active": True,
        },
        idempotent=True,
    ),
    "GET /v1/fraud-patterns": Good("/v1/fraud-patterns"),
    "GET /v1/fraud-patterns/{id}": Good("/v1/fraud-patterns/{pattern_id}"),
    "PATCH /v1/fraud-patterns/{id}": Good(
        "/v1/fraud-patterns/{pattern_id}",
        {"severity": "low", "score_impact": 10, "description": "seen twice", "active": True},
    ),
    "POST /v1/fraud-patterns/preview": Good(
        "/v1/fraud-patterns/preview", {"type": "ip_range", "match": "cidr", "value": "203.0.113.0/24"}
    ),
    "GET /v1/ip-ranges": Good("/v1/ip-ranges"),
    "PUT /v1/ip-ranges/{ip_type}": Good("/v1/ip-ranges/vpn", {"cidrs": ["203.0.113.0/24", "2001:db8::/32"]}),
    "POST /v1/ip-ranges/{ip_type}": Good("/v1/ip-ranges/tor", {"cidrs": ["203.0.113.7"]}, idempotent=True),
    "GET /v1/leaderboard": Good("/v1/leaderboard", query={"period": "2027-01"}),
    "GET /v1/integrity": Good("/v1/integrity"),
    "GET /v1/test-clock": Good("/v1/test-clock"),
    "PUT /v1/test-clock": Good("/v1/test-clock", {"now": "2027-01-15T12:00:00Z"}),
    "POST /v1/api-keys": Good(
        "/v1/api-keys",
        {"name": "Reports", "kind": "secret", "scope": "read", "expires_at": "8000-01-15T12:00:00Z"},
        idempotent=True,
    ),
    "GET /v1/api-keys": Good("/v1/api-keys"),
    "DELETE /v1/api-keys/{id}": Good("/v1/api-keys/{spare_key_id}"),
    "POST /v1/provider-endpoints": Good(
        "/v1/provider-endpoints",
        {"provider": "stripe", "secrets": ["whsec_0123456789"], "api_key": "rk_test_0123456789", "scope": "company"},
        idempotent=True,
    ),
    "GET /v1/provider-endpoints": Good("/v1/provider-endpoints", query={"limit": "20"}),
    "PATCH /v1/provider-endpoints/{id}": Good(
        "/v1/provider-endpoints/{spare_endpoint_id}", {"secrets": ["whsec_9876543210"], "api_key": "rk_test_9876543210"}
    ),
    "DELETE /v1/provider-endpoints/{id}": Good("/v1/provider-endpoints/{spare_endpoint_id}"),
    "GET /v1/inbox": Good("/v1/inbox", query={"status": "failed", "provider": "stripe", "limit": "20"}),
    "POST /v1/inbox/{id}/replay": Good("/v1/inbox/{inbox_event_id}/replay", idempotent=True),
    "POST /v1/inbox/{id}/discard": Good("/v1/inbox/{inbox_event_id}/discard", idempotent=True),
}  # fmt: skip

ROUTES: dict[str, Route] = {
    key: route
    for function in openapi.served_functions()
    for key, route in openapi.routes_of(function.folder).items()
    if key != "$default"
}


class Asked:
    """A company of which everything may be asked: Ada with a code, points, and what she can buy, has and has used.

    She brought Cy, who has paid, so that she has reached a milestone and claimed it; Dan came by himself and has a code
    too, by which Eve came, who is reviewed. One event has failed; an endpoint and a key are not needed.
    """

    def __init__(self, company: Company) -> None:
        self.company = company
        code = company.sign_up(ADA)["user"]["referral_code"]
        company.ok("POST", f"/v1/users/{ADA}/points", {"points": 100, "note": "x"}, key="asked")
        option = {"kind": "quota", "name": "x", "feature": "ai_calls", "quantity": 1, "cost_points": 1}
        option_id = company.ok("POST", "/v1/redemption-options", option)["id"]
        referral = company.sign_up("cy", referral_code=code)
        bought = company.ok("POST", f"/v1/users/{ADA}/redemptions", {"option_id": option_id}, key="asked-2")
        coupon = {"type": "period", "plan": "basic", "duration_days": 30}
        given = {"plan": "basic", "days": 30, "reason": "by hand"}
        company.ok("POST", "/v1/coupons", coupon | {"code": "HERS"})
        used = company.ok("POST", f"/v1/users/{ADA}/usage", {"feature": "photos", "quantity": 2})
        reward = {"kind": "reward", "name": "A mug", "cost_points": 1}
        mug = {"option_id": company.ok("POST", "/v1/redemption-options", reward)["id"]}
        rewards = [company.ok("POST", f"/v1/users/{ADA}/redemptions", mug, key=f"mug-{each}") for each in range(2)]
        spare = {"provider": "whop", "secrets": ["ws_0123456789"]}
        mugs = {"name": "A mug", "threshold": 1, "reward_type": "custom", "reward_data": {"colour": "blue"}}
        milestone_id = company.ok("POST", "/v1/milestones", mugs)["id"]
        company.deliver(invoice_paid("evt_cy", "in_cy", user="cy"))
        company.ok("POST", f"/v1/users/{ADA}/milestones/{milestone_id}/claim")
        company.deliver({"object": "v2.core.event", "id": "evt_thin", "type": "v1.invoice.paid"})
        (failed,) = company.ok("GET", "/v1/inbox?status=failed")["data"]
        spam = {"type": "device_pattern", "value": "headless", "score_impact": 5}
        dates = {"starts_at": "2026-01-15T12:00:00Z", "ends_at": "8000-01-15T12:00:00Z"}
        dans = company.sign_up("dan")["user"]["referral_code"]
        self._values = {
            "review_id": _review(company, dans),
            "campaign_id": company.ok("POST", "/v1/campaigns", {"name": "Summer", **dates})["id"],
            "coupon_id": company.ok("POST", "/v1/coupons", coupon)["id"],
            "grant_id": company.ok("POST", f"/v1/users/{ADA}/grants", given)["id"],
            "milestone_id": milestone_id,
            "pattern_id": company.ok("POST", "/v1/fraud-patterns", spam)["id"],
            "code": code,
            "new_code": f"NEW-{code}",
            "other_code": dans,
            "referral_id": referral["referral"]["id"],
            "award_id": referral["awards"][0]["id"],
            "user_id": ADA,
            "plan_id": "premium",
            "option_id": option_id,
            "redemption_id": bought["id"],
            "usage_id": used["usage_id"],
            "reward_id": rewards[0]["id"],
            "other_reward_id": rewards[1]["id"],
            "inbox_event_id": failed["id"],
            "spare_endpoint_id": company.ok("POST", "/v1/provider-endpoints", spare)["id"],
            "spare_key_id": company.ok("POST", "/v1/api-keys", {"name": "x", "scope": "read"})["id"],
            "stripe_endpoint_id": company.line["stripe_endpoint"].rpartition("/")[2],
            "whop_endpoint_id": company.line["whop_endpoint"].rpartition("/")[2],
        }

    def path(self, key: str, query: Mapping[str, str] | None = None, **instead: str) -> str:
        """The path and query of the good request to a route, with some parameters replaced or added."""
        path = REQUESTS[key].path.format(**{**self._values, **instead})
        parameters = "&".join(f"{name}={value}" for name, value in {**REQUESTS[key].query, **(query or {})}.items())
        return f"{path}?{parameters}" if parameters else path

    def body(self, key: str) -> dict[str, Any]:
        """The body of the good request to a route."""
        body = REQUESTS[key].body
        assert body is not None
        return self._filled(body)

    def _filled(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, dict):
            return {name: self._filled(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self._filled(member) for member in value]
        return value.format(**self._values) if isinstance(value, str) and value.startswith("{") else value


def _review(company: Company, code: str) -> str:
    """Somebody comes by a code that nobody may come by, for as long as it takes; the id of the review."""
    program = company.ok("GET", "/v1/program")["program"]
    limits = {**program["limits"], "registrations_per_code_per_day": 0}
    company.ok("PUT", "/v1/program", {**program, "limits": limits})
    company.sign_up("eve", referral_code=code)
    company.ok("PUT", "/v1/program", program)
    (review,) = company.ok("GET", "/v1/reviews")["data"]
    return review["id"]
