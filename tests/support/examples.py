"""What each example event leads to, wherever its function runs: what it answers, and which rows it stores."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg

from local import events, scene
from tests.support import rows
from tests.support.companies import Company

Invoke = Callable[[str, dict[str, Any]], Any]
"""Runs a function, named by its logical id, on an event and answers its result."""

SIGNED_UP = {"users": 1, "codes": 1, "signups": 1, "outbox_events": 1, "activity": 1}
REFERRED = {
    "referrals": 1, "judgements": 1, "awards": 2, "entries": 2, "lots": 2, "wallets": 1, "scores": 1,
    "outbox_events": 3,
}  # fmt: skip
QUALIFIED = {"payments": 1, "awards": 1, "entries": 1, "lots": 1, "outbox_events": 3}
SEEN = {"user_fingerprints": 1}
DONE_ONCE = {"idempotent_answers": 1}
KEPT = {"inbox_events": 1}
GIVEN = {"access_grants": 1, "grant_intervals": 1, "grant_schedules": 1, "outbox_events": 1, "activity": 1}


@dataclass(frozen=True)
class Row:
    """What an event leads to: the status, a part of the body, where a redirect leads, and how many rows are new.

    `fresh`: it shows what no job has seen yet.
    """

    status: int | None
    shows: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stores: Mapping[str, int] = field(default_factory=dict[str, int])
    leads_to: str = ""
    fresh: bool = False


def receipt(outcome: str) -> dict[str, Any]:
    return {"received": True, "duplicate": False, "outcome": outcome}


def together(*parts: Mapping[str, int]) -> dict[str, int]:
    """The sum of several sets of rows."""
    return {table: sum(part.get(table, 0) for part in parts) for table in set().union(*parts)}


TABLE: dict[str, Row] = {
    "administer_access__change_feature": Row(
        200, {"id": "export_zip", "name": "Backup", "limit_type": "boolean", "active": False}, {"outbox_events": 1}
    ),
    "administer_access__change_plan": Row(
        200,
        {"id": "premium", "stripe_price_id_monthly": "price_1PremiumMonthly", "whop_plan_ids": ["plan_premium"]},
        {"plan_prices": 2, "outbox_events": 1},
    ),
    "administer_access__create_feature": Row(
        201,
        {"id": "voice_minutes", "limit_type": "count", "reset_period": "monthly", "default_limit": 0, "active": True},
        together({"features": 1, "outbox_events": 1}, DONE_ONCE),
    ),
    "administer_access__change_coupon": Row(200, {"code": "WELCOME-26", "active": False}, {"outbox_events": 1}),
    "administer_access__create_coupon": Row(
        201,
        {"code": "SPRING-26", "type": "period", "plan": "premium", "max_redemptions": 500, "redemption_count": 0},
        together({"coupons": 1, "outbox_events": 1}, DONE_ONCE),
    ),
    "administer_access__create_coupons": Row(
        201, {"has_more": False}, together({"coupons": 3, "outbox_events": 3}, DONE_ONCE)
    ),
    "administer_access__create_plan": Row(
        201,
        {"id": "team", "price_yearly_cents": 29000, "active": True, "former_stripe_price_ids": []},
        together({"plans": 1, "plan_prices": 3, "outbox_events": 1}, DONE_ONCE),
    ),
    "administer_access__list_features": Row(200, {"has_more": False}),
    "administer_access__end_grant": Row(
        200,
        {"plan": "basic", "source": "coupon", "status": "ended", "remaining_seconds": 0},
        {"outbox_events": 1, "activity": 1},
    ),
    "administer_access__give_plan": Row(
        201,
        {"plan": "premium", "source": "admin", "status": "active", "remaining_days": 30, "paused_by": None},
        together(GIVEN, DONE_ONCE),
    ),
    "administer_access__list_coupon_redemptions": Row(200, {"has_more": False}),
    "administer_access__list_coupons": Row(200, {"has_more": False}),
    "administer_access__list_plans": Row(200, {"has_more": False}),
    "administer_access__read_coupon": Row(200, {"code": "WELCOME-26", "redemption_count": 1}),
    "administer_access__put_limit": Row(200, {"id": "basic", "limits": {"photos": 100}}, {"outbox_events": 1}),
    "administer_access__list_restrictions": Row(200, {"data": [], "has_more": False}),
    "administer_access__remove_limit": Row(204, stores={"plan_limits": -1, "outbox_events": 1}),
    "administer_access__restrict": Row(
        200,
        {"feature": "photos", "limit": 0, "reason": "reported three times"},
        {"restrictions": 1, "outbox_events": 1},
    ),
    "administer_campaigns__change": Row(
        200,
        {
            "name": "Summer",
            "status": "active",
            "ends_at": "2030-06-01T00:00:00.000000Z",
            "rules": {"awards": None, "tiers": None, "points_cap": 50_000, "per_user_cap": None},
            "reserved_points": 0,
        },
        {"outbox_events": 1},
    ),
    "administer_campaigns__create": Row(
        201,
        {"name": "Winter 2027", "status": "draft", "rules": {"points_cap": 100_000}, "total_referrals": 0},
        together({"campaigns": 1, "outbox_events": 1}, DONE_ONCE),
    ),
    "administer_campaigns__list": Row(200, {"has_more": False}),
    "administer_campaigns__read": Row(200, {"name": "Summer", "status": "draft", "prizes": []}),
    "review_referrals__add_ranges": Row(
        200,
        {"ip_type": "tor", "count": 1},
        together({"ip_ranges": 1, "ip_range_lists": 1, "outbox_events": 1}, DONE_ONCE),
    ),
    "review_referrals__change_pattern": Row(
        200, {"type": "device_pattern", "score_impact": 45, "active": False}, {"outbox_events": 1}
    ),
    "review_referrals__create_pattern": Row(
        201,
        {"type": "email_domain", "match": "exact", "value": "bulk-mail.example", "severity": "high", "active": True},
        together({"fraud_patterns": 1, "outbox_events": 1}, DONE_ONCE),
    ),
    "review_referrals__list_patterns": Row(200, {"has_more": False}),
    "review_referrals__list_ranges": Row(200, {"data": [], "has_more": False}),
    "review_referrals__preview_pattern": Row(200, {"evaluated": True, "reason": None, "matched": 0}),
    "review_referrals__read_pattern": Row(200, {"type": "device_pattern", "match": "regex", "value": "headless"}),
    "review_referrals__replace_ranges": Row(
        200, {"ip_type": "vpn", "count": 2}, {"ip_ranges": 2, "ip_range_lists": 1, "outbox_events": 1}
    ),
    "administer_account__change_endpoint": Row(200, {"provider": "stripe", "scope": "company"}),
    "administer_account__change_settings": Row(
        200,
        {"destination_url": "https://acme.example/welcome", "trial_duration_days": 30, "post_trial_plan": "disabled"},
        {"outbox_events": 1},
    ),
    "administer_account__clock": Row(200, {"now": "2027-02-01T00:00:00.000000Z"}),
    "administer_account__endpoint": Row(201, stores=together({"provider_endpoints": 1}, DONE_ONCE)),
    "administer_account__issue_key": Row(
        201,
        {"name": "Billing service", "kind": "secret", "scope": "write", "last_used_at": None},
        together({"api_keys": 1}, DONE_ONCE),
    ),
    "administer_account__list_endpoints": Row(200, {"has_more": False}),
    "administer_account__list_keys": Row(200, {"has_more": False}),
    "administer_account__read_clock": Row(200, {"now": None}),
    "administer_account__read_settings": Row(200, {"trial_duration_days": 14, "post_trial_plan": "free"}),
    "administer_account__revoke_key": Row(204),
    "administer_account__turn_endpoint_off": Row(204),
    "administer_campaigns__change_milestone": Row(
        200, {"threshold": 5, "reward_type": "points", "reward_data": {"points": 500}}, {"outbox_events": 1}
    ),
    "administer_campaigns__create_milestone": Row(
        201,
        {"threshold": 10, "reward_type": "product_unlock", "auto_apply": True, "active": True},
        together({"milestones": 1, "outbox_events": 1}, DONE_ONCE),
    ),
    "administer_campaigns__fulfil_milestone": Row(
        200,
        {"user_id": "ida", "status": "claimed", "note": "sent by mail", "qualified_count": 1},
        together({"outbox_events": 1, "activity": 1}, DONE_ONCE),
    ),
    "administer_campaigns__list_milestone_holders": Row(200, {"has_more": False}),
    "administer_campaigns__list_milestones": Row(200, {"has_more": False}),
    "administer_campaigns__read_milestone": Row(200, {"name": "A mug", "threshold": 1, "reward_type": "custom"}),
    "administer_program__fail": Row(
        200,
        {"kind": "reward", "user_id": "hal", "status": "failed", "note": "sold out", "balance_after": 20},
        together({"entries": 1, "allocations": 1, "outbox_events": 1, "activity": 1}, DONE_ONCE),
    ),
    "administer_program__fulfil": Row(
        200,
        {"kind": "reward", "user_id": "hal", "status": "fulfilled", "note": "sent by mail", "balance_after": 0},
        together({"outbox_events": 1}, DONE_ONCE),
    ),
    "administer_program__list_redemptions": Row(200, {"has_more": False}),
    "administer_program__backtest": Row(200, {"complete": True, "not_simulated": ["fraud", "limits", "timezone"]}),
    "administer_program__change_code": Row(
        200, {"type": "auto", "user_id": "ada", "active": False, "max_uses": 10, "uses": 1}, {"outbox_events": 1}
    ),
    "administer_program__change_option": Row(
        200, {"kind": "quota", "cost_points": 25, "stock": 500, "active": True}, {"outbox_events": 1}
    ),
    "administer_program__create_code": Row(
        201,
        {"type": "custom", "user_id": "ada", "max_uses": 100, "uses": 0, "metadata": {"event": "meetup"}},
        together({"codes": 1, "rate_windows": 1, "outbox_events": 1, "activity": 1}, DONE_ONCE),
    ),
    "administer_program__create_reserved_code": Row(422, {"code": "invalid_request"}),
    "administer_program__give_points": Row(
        201,
        {"type": "ADMIN_GRANT", "delta": 50, "balance_after": 155, "note": "for her talk at the meetup"},
        together({"entries": 1, "entry_notes": 1, "lots": 1, "outbox_events": 1, "activity": 1}, DONE_ONCE),
    ),
    "administer_program__list_codes": Row(200, {"has_more": False}),
    "administer_program__offer": Row(
        201,
        {"kind": "quota", "feature": "ai_calls", "quantity": 20, "cost_points": 30, "stock": 1000, "active": True},
        together({"redemption_options": 1, "outbox_events": 1}, DONE_ONCE),
    ),
    "administer_program__read": Row(200, {"version": 3, "program": {"schema_version": 1, "timezone": "UTC"}}),
    "administer_program__refund": Row(
        200,
        {"kind": "quota", "user_id": "ada", "cost_points": 30, "status": "refunded", "balance_after": 135},
        together({"entries": 1, "allocations": 1, "outbox_events": 1, "activity": 1}, DONE_ONCE),
    ),
    "administer_program__replace": Row(
        200,
        {"version": 4, "program": {"timezone": "Europe/Berlin", "recurring_months": [2, 24], "l2_months": [1, 6]}},
        {"program_versions": 1, "outbox_events": 1},
    ),
    "administer_program__replace_by_nonsense": Row(422, {"code": "invalid_request"}),
    "administer_program__take_points": Row(
        201,
        {"type": "ADMIN_GRANT", "delta": -40, "balance_after": 65, "note": "given twice"},
        # out of two lots: the referral's 5 points are older
        together({"entries": 1, "entry_notes": 1, "allocations": 2, "outbox_events": 1, "activity": 1}, DONE_ONCE),
    ),
    "administer_program__versions": Row(200, {"has_more": False}),
    "answer_unknown_route__anything": Row(404, {"code": "route_not_found", "status": 404}),
    "attribute_signup__activate": Row(  # within five minutes of the signup: it will count later
        200, {"referral": {"referee": "ben", "stage": "registered"}}, {"activations": 1, "activity": 1}
    ),
    "attribute_signup__in_base64": Row(201, {"user": {"external_id": "fay", "username": "Fay"}}, SIGNED_UP),
    "attribute_signup__of_a_known_user": Row(
        200, {"user": {"external_id": "ben", "username": None}, "attribution": {"outcome": "attributed"}}
    ),
    "attribute_signup__with_a_pasted_link": Row(
        201,
        {"attribution": {"outcome": "attributed", "source": "code"}, "referral": {"referrer": "ada"}},
        together(SIGNED_UP, REFERRED, SEEN),
    ),
    "attribute_signup__with_click": Row(
        201,
        {"attribution": {"outcome": "attributed", "source": "click"}, "referral": {"referrer": "ada"}},
        together(SIGNED_UP, REFERRED),
    ),
    "attribute_signup__with_code": Row(
        201,
        {
            "user": {"external_id": "cleo", "email": "cleo@example.net", "balance": 25},
            "attribution": {"outcome": "attributed", "source": "code", "click_id": None},
            "referral": {"referrer": "ada", "referee": "cleo", "app_id": "web"},
        },
        together(SIGNED_UP, REFERRED, SEEN, DONE_ONCE),
    ),
    "attribute_signup__with_unknown_code": Row(
        201, {"attribution": {"outcome": "rejected", "reason": "unknown_code"}, "referral": None}, SIGNED_UP
    ),
    "audit_ledger__hourly": Row(
        None,
        {"job": "audit_ledger", "set_aside": [], "complete": True, "skipped": None},
        # two signups earned points for two people, one a payment; Ada was given some twice, and spent some, as Hal did
        {"seals": 10, "chain_heads": 1},
    ),
    "check_access__consume": Row(
        200,
        {"feature": "weight_entries", "allowed": True, "used": 2, "limit": None, "source": "grant"},
        together({"usage_counters": 1, "usages": 1, "outbox_events": 1}, DONE_ONCE),
    ),
    # a counter at 0 is the lock of this user and feature, and says nothing
    "check_access__consume_what_is_off": Row(422, {"code": "feature_disabled"}, {"usage_counters": 1}),
    "check_access__entitlement": Row(200, {"feature": "ai_calls", "allowed": True, "source": "grant", "limit": 3}),
    "check_access__entitlements": Row(200, {"has_more": False}),
    "check_access__return": Row(
        200,
        {"feature": "photos", "used": 1, "returnable": 1},
        together({"usage_returns": 1, "outbox_events": 1}, DONE_ONCE),
    ),
    "check_access__uses": Row(200, {"has_more": False}),
    "advance_referrals__quarterly": Row(None, {"job": "advance_referrals", "complete": True, "skipped": None}),
    "replay_webhooks__often": Row(None, {"job": "replay_webhooks", "set_aside": [], "complete": True, "skipped": None}),
    "reconcile_payments__quarter_daily": Row(
        None, {"job": "reconcile_payments", "set_aside": [], "complete": True, "skipped": None}
    ),
    "enforce_retention__nightly": Row(
        None, {"job": "enforce_retention", "set_aside": [], "complete": True, "skipped": None}
    ),
    "release_awards__quarterly": Row(None, {"job": "release_awards", "complete": True, "skipped": None}),
    "expire_access__quarterly": Row(None, {"job": "expire_access", "set_aside": [], "complete": True, "skipped": None}),
    "expire_points__hourly": Row(None, {"job": "expire_points", "set_aside": [], "complete": True, "skipped": None}),
    "migrate_database__migrate": Row(None, {"applied": []}),
    "migrate_database__open_company": Row(None, {"applied": []}),
    "receive_stripe_webhook__charge_refunded_before_2022_11": Row(
        200, receipt("parked"), together({"takebacks": 1, "object_links": 6}, KEPT)
    ),
    "receive_stripe_webhook__checkout_of_a_subscription": Row(
        200, receipt("applied"), together({"identity_links": 4, "object_emails": 4}, KEPT)
    ),
    "receive_stripe_webhook__checkout_session_completed": Row(
        200, receipt("applied"), together({"identity_links": 3, "touches": 3, "object_emails": 3}, QUALIFIED, KEPT)
    ),
    "receive_stripe_webhook__dispute_closed": Row(200, receipt("parked"), together({"takebacks": 1}, KEPT)),
    "receive_stripe_webhook__invoice_paid_basil": Row(
        200, receipt("applied"), together({"identity_links": 3}, QUALIFIED, KEPT)
    ),
    "receive_stripe_webhook__invoice_paid_before_basil": Row(
        200, receipt("applied"), together({"identity_links": 5}, QUALIFIED, KEPT)
    ),
    "receive_stripe_webhook__invoice_payment_paid": Row(200, receipt("applied"), together({"object_links": 2}, KEPT)),
    "receive_stripe_webhook__of_a_connected_account": Row(200, receipt("ignored"), KEPT),
    "receive_stripe_webhook__payment_intent_succeeded": Row(
        200, receipt("applied"), together({"identity_links": 3, "object_links": 2}, QUALIFIED, KEPT)
    ),
    "receive_stripe_webhook__probe": Row(200),
    "receive_stripe_webhook__promotion_code_created": Row(
        200, receipt("applied"), together({"promotion_codes": 1}, KEPT)
    ),
    "receive_stripe_webhook__refund_created": Row(200, receipt("parked"), together({"takebacks": 1}, KEPT)),
    "receive_stripe_webhook__subscription_deleted": Row(
        200, receipt("applied"), together({"identity_links": 2, "subscriptions": 1, "outbox_events": 1}, KEPT)
    ),
    "receive_stripe_webhook__thin_event": Row(200, receipt("failed"), KEPT),
    "receive_stripe_webhook__unknown_type": Row(200, receipt("ignored"), KEPT),
    "receive_whop_webhook__free_purchase": Row(200, receipt("applied"), together({"object_emails": 4}, KEPT)),
    "receive_whop_webhook__dispute_updated": Row(200, receipt("parked"), together({"takebacks": 1}, KEPT)),
    "receive_whop_webhook__membership_activated": Row(
        200, receipt("applied"), together({"identity_links": 3, "subscriptions": 1, "outbox_events": 1}, KEPT)
    ),
    "receive_whop_webhook__membership_deactivated": Row(
        200, receipt("applied"), together({"identity_links": 3, "subscriptions": 1, "outbox_events": 1}, KEPT)
    ),
    "receive_whop_webhook__payment_succeeded_dated": Row(
        200, receipt("applied"), together({"identity_links": 4}, QUALIFIED, KEPT)
    ),
    "receive_whop_webhook__payment_succeeded_of_a_stranger": Row(
        200, receipt("parked"), together({"payments": 1, "object_emails": 4, "outbox_events": 1}, KEPT)
    ),
    "receive_whop_webhook__payment_succeeded_v1": Row(
        200, receipt("applied"), together({"identity_links": 4}, QUALIFIED, KEPT)
    ),
    "receive_whop_webhook__payment_succeeded_v5": Row(
        200, receipt("applied"), together({"identity_links": 3}, QUALIFIED, KEPT)
    ),
    "receive_whop_webhook__probe": Row(200),
    "receive_whop_webhook__refund_created_dated": Row(200, receipt("parked"), together({"takebacks": 1}, KEPT)),
    "receive_whop_webhook__unknown_type": Row(200, receipt("ignored"), KEPT),
    "redeem_points__balance": Row(200, {"user_id": "ada", "balance": 105, "total_earned": 135, "total_spent": -30}),
    "redeem_points__options": Row(200, {"has_more": False}),
    "redeem_points__quota": Row(
        201,
        {"kind": "quota", "quantity": 1, "cost_points": 30, "status": "fulfilled", "balance_after": 75},
        together(
            {"redemptions": 1, "quota_grants": 1, "entries": 1, "allocations": 2, "outbox_events": 1, "activity": 1},
            DONE_ONCE,
        ),
    ),
    "redeem_points__redemptions": Row(200, {"has_more": False}),
    "redeem_points__unlock": Row(
        201,
        {
            "kind": "unlock",
            "status": "fulfilled",
            "balance_after": 65,
            "grant": {"plan": "premium", "status": "active"},
        },
        together(
            {
                "redemptions": 1,
                "access_grants": 1,
                "grant_intervals": 1,
                "entries": 1,
                "allocations": 2,
                "outbox_events": 2,
                "activity": 2,
            },
            DONE_ONCE,
        ),
    ),
    "redeem_points__statement": Row(
        200, {"user_id": "ada", "opening": 0, "earned": 135, "spent": 30, "expired": 0, "closing": 105, "entries": 4}
    ),
    "redeem_points__transactions": Row(200, {"has_more": False}),
    "serve_users__all_referrals": Row(200, {"has_more": False}),
    "serve_users__awards": Row(200, {"has_more": False}),
    "report_insight__integrity": Row(200, {"ok": True, "head": None}, fresh=True),
    "report_insight__leaderboard": Row(200, {"has_more": False}),
    "serve_users__change": Row(
        200,
        {"external_id": "gil", "username": "Gil", "email_verified": True, "stripe_customer_id": "cus_gil"},
        # whose e-mail is verified has a trial from then on
        together(GIVEN, {"verified_emails": 1, "identity_marks": 3, "outbox_events": 1, "activity": 1}),
    ),
    "serve_users__claim_milestone": Row(
        200,
        {"name": "A mug", "status": "claimed", "reward_data": {"colour": "blue"}, "qualified_count": 1},
        together({"rate_windows": 1, "outbox_events": 1, "activity": 1}, DONE_ONCE),
    ),
    "serve_users__circle": Row(200, {"has_more": False}),
    "serve_users__explain_award": Row(
        200,
        {
            "award": {"event": "registered", "user_id": "ada"},
            "trace": {"points": 5, "multiplier_bps": 10_000},
            "share": {"numerator": 1, "denominator": 1},
            "due_points": 5,
        },
    ),
    "serve_users__attribution": Row(200, {"outcome": "none", "candidates": [], "fraud": None, "late": []}),
    "serve_users__checks": Row(200, {"judgements": [], "fingerprints": []}),
    "serve_users__explain_referral": Row(
        200,
        {"referral": {"referrer": "ada", "referee": "ben"}, "attribution": {"by": "signup", "winner": "code"}},
    ),
    "serve_users__grants": Row(200, {"has_more": False}),
    "serve_users__redeem_coupon": Row(
        201,
        {"coupon": {"redemption_count": 2}, "grant": {"plan": "basic", "source": "coupon", "status": "active"}},
        together(GIVEN, {"coupon_redemptions": 1, "identity_marks": 1, "outbox_events": 1, "activity": 1}, DONE_ONCE),
    ),
    "serve_users__late_attribution": Row(
        200,
        {
            "user": {"external_id": "gil", "balance": 25},
            "attribution": {"outcome": "attributed", "source": "code"},
            "referral": {"referrer": "ada", "referee": "gil"},
        },
        together(REFERRED, {"activity": 1}),
    ),
    "review_referrals__change_review": Row(
        200, {"referee": "max", "assigned_to": "Dana", "priority": "high", "notes": "Asked both of them."}
    ),
    "review_referrals__decide_on_review": Row(
        200,
        {"referee": "max", "status": "approved", "notes": "Two sisters who share a tablet."},
        {"entries": 2, "lots": 2, "wallets": 2, "scores": 1, "outbox_events": 3},
    ),
    "review_referrals__decide_on_reviews": Row(
        200, {"decided": 1, "skipped": []}, together({"outbox_events": 3}, DONE_ONCE)
    ),
    "review_referrals__list_reviews": Row(200, {"has_more": False}),
    "review_referrals__read_review": Row(200, {"referee": "max", "referrer": "lea", "status": "pending"}),
    "serve_users__activity": Row(200, {"has_more": False}),
    "serve_users__milestones": Row(200, {"has_more": False}),
    "serve_users__login": Row(
        201, {"action": "login", "app_id": "web"}, {"activity": 1, "logins": 1, "user_fingerprints": 1}
    ),
    "serve_users__stats": Row(
        200,
        {
            "last_login": None,
            "login_count": 0,
            "counts": {"photos": 2},
            "total_data_points": 2,
            "total_earned_from_referrals": 5,
        },
    ),
    "serve_users__read": Row(200, {"external_id": "ada", "username": "Ada", "balance": 105}),
    "serve_users__unknown": Row(404, {"code": "user_not_found"}),
    "track_click__check_code": Row(200, {"valid": True, "referrer": {"display_name": "Ada"}}, {"rate_windows": 1}),
    "track_click__follow": Row(302, leads_to="utm_source=newsletter&gw_click=clk_", stores={"clicks": 1}),
    "track_click__follow_again": Row(302, leads_to="gw_click=clk_", stores={"clicks": 1}),
    "track_click__follow_with_slash": Row(302, leads_to="utm_source=newsletter&gw_click=clk_", stores={"clicks": 1}),
    "track_click__head": Row(302),
    "track_click__link_preview": Row(302),
    "track_click__prefetch": Row(503),
    "track_click__report": Row(201, stores={"clicks": 1}),
    "track_click__report_by_crawler": Row(201, {"id": None}),
    "track_click__unknown_code": Row(302, leads_to="utm_source=podcast"),
}


APART = frozenset({
    "administer_access__create_coupon", "administer_access__create_coupons", "administer_access__create_feature",
    "administer_access__create_plan", "administer_account__endpoint", "administer_account__issue_key",
    "administer_campaigns__create", "administer_campaigns__create_milestone", "administer_program__backtest",
    "administer_program__create_reserved_code", "administer_program__offer", "administer_program__replace_by_nonsense",
    "advance_referrals__quarterly", "answer_unknown_route__anything", "attribute_signup__in_base64",
    "attribute_signup__of_a_known_user", "attribute_signup__with_unknown_code", "check_access__consume_what_is_off",
    "enforce_retention__nightly", "expire_access__quarterly", "expire_points__hourly", "migrate_database__migrate",
    "migrate_database__open_company", "receive_stripe_webhook__dispute_closed",
    "receive_stripe_webhook__of_a_connected_account", "receive_stripe_webhook__promotion_code_created",
    "receive_stripe_webhook__refund_created", "receive_stripe_webhook__thin_event",
    "receive_stripe_webhook__unknown_type", "receive_whop_webhook__dispute_updated",
    "receive_whop_webhook__refund_created_dated", "receive_whop_webhook__unknown_type",
    "reconcile_payments__quarter_daily", "release_awards__quarterly", "track_click__check_code", "track_click__follow",
    "track_click__follow_again", "track_click__follow_with_slash", "track_click__head", "track_click__report",
    "track_click__report_by_crawler",
})  # fmt: skip
"""Examples that change at most what no other example looks at."""


class Scenes:
    """Scenes for examples: one for all those that only ask or are apart, a new one for each other.

    It takes far more work to set a scene than to play an example on it.
    """

    def __init__(self, opener: psycopg.Connection, base_url: str) -> None:
        self._opener = opener
        self._url = base_url
        self._common: dict[str, object] | None = None

    def of(self, name: str) -> dict[str, object]:
        """The values of the placeholders for an example."""
        event = json.loads((events.EVENTS / f"{name}.json").read_text(encoding="utf-8"))
        asks = event.get("routeKey", "").startswith("GET ") and not TABLE[name].stores
        if TABLE[name].fresh or not (asks or name in APART):
            return self._prepare()
        if self._common is None:
            self._common = self._prepare()
        return self._common

    def _prepare(self) -> dict[str, object]:
        company = Company.write(self._opener, self._url)
        company.close()
        return scene.prepare(company.line)


def play(name: str, values: Mapping[str, object], superuser: psycopg.Connection, invoke: Invoke) -> None:
    """Run an example on its scene and check what it led to."""
    event, expected = events.load(name, values), TABLE[name]
    company_id = UUID(hex=str(values["company"]).removeprefix("cmp_"))
    before = rows.count(superuser, company_id)
    result = invoke(events.logical_id(name), event)
    stored = rows.count(superuser, company_id)
    stored.subtract(before)
    shown = json.loads(result["body"] or "{}") if "statusCode" in result else result
    assert result.get("statusCode") == expected.status, shown
    assert part_of(shown, expected.shows) == expected.shows
    assert {table: change for table, change in stored.items() if change} == expected.stores
    if expected.status == 302:
        assert urlsplit(result["headers"]["location"]).query.startswith(expected.leads_to)
        assert ("gw_click" in result["headers"]["location"]) == ("clicks" in expected.stores) == bool(result["cookies"])


def part_of(whole: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """As much of an answer as is expected of it, however deep."""
    return {
        name: part_of(whole[name], value) if isinstance(value, Mapping) and whole[name] else whole[name]
        for name, value in like.items()
    }
