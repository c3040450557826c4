"""What the OpenAPI document says of a route besides its models: its name for programs, its section, an example.

An example is the body of an event of events/, which the tests send; what is left open in it is filled in alike each
time, so that the document changes only with what it tells.
"""

from functools import cache
from typing import NamedTuple

from local import events

CLICKS, SIGNUPS, USERS, POINTS = "Clicks", "Signups and uses", "Users", "Points"
ACCESS, PROGRAM, CAMPAIGNS, GROWTH, REVIEWS, FRAUD, PLANS, ACCOUNT, WEBHOOKS = (
    "Access",
    "Program and codes",
    "Campaigns",
    "Milestones and leaderboards",
    "Reviews",
    "Fraud",
    "Features and plans",
    "Account",
    "Webhooks in",
)


class Operation(NamedTuple):
    """`name` is the operationId, `section` the heading of docs/api.md, `example` an event."""

    name: str
    section: str
    example: str | None = None


OPERATIONS = {
    "GET /r/{code}": Operation("follow_link", CLICKS),
    "HEAD /r/{code}": Operation("look_at_link", CLICKS),
    "POST /v1/clicks": Operation("report_click", CLICKS, "track_click__report"),
    "GET /v1/codes/{code}": Operation("check_code", CLICKS),
    "POST /v1/signups": Operation("sign_up", SIGNUPS, "attribute_signup__with_click"),
    "POST /v1/activations": Operation("activate", SIGNUPS, "attribute_signup__activate"),
    "GET /v1/users/{user_id}": Operation("get_user", USERS),
    "PATCH /v1/users/{user_id}": Operation("change_user", USERS, "serve_users__change"),
    "GET /v1/users/{user_id}/referrals": Operation("list_referrals_of_user", USERS),
    "GET /v1/users/{user_id}/awards": Operation("list_awards_of_user", USERS),
    "GET /v1/users/{user_id}/activity": Operation("list_activity_of_user", USERS),
    "POST /v1/users/{user_id}/activity": Operation("report_activity", USERS, "serve_users__login"),
    "GET /v1/users/{user_id}/stats": Operation("get_stats_of_user", USERS),
    "PUT /v1/users/{user_id}/referrer": Operation("set_referrer", USERS, "serve_users__late_attribution"),
    "GET /v1/users/{user_id}/attribution": Operation("get_attribution_of_user", USERS),
    "GET /v1/users/{user_id}/checks": Operation("get_checks_of_user", USERS),
    "GET /v1/referrals": Operation("list_referrals", USERS),
    "GET /v1/referrals/{id}/explain": Operation("explain_referral", USERS),
    "GET /v1/awards/{id}/explain": Operation("explain_award", USERS),
    "GET /v1/users/{user_id}/balance": Operation("get_balance", POINTS),
    "GET /v1/users/{user_id}/transactions": Operation("list_transactions", POINTS),
    "GET /v1/users/{user_id}/statement": Operation("get_statement", POINTS),
    "POST /v1/users/{user_id}/points": Operation("adjust_points", POINTS, "administer_program__give_points"),
    "GET /v1/redemption-options": Operation("list_redemption_options", POINTS),
    "POST /v1/redemption-options": Operation("create_redemption_option", POINTS, "administer_program__offer"),
    "GET /v1/redemption-options/{id}": Operation("get_redemption_option", POINTS),
    "PATCH /v1/redemption-options/{id}": Operation(
        "change_redemption_option", POINTS, "administer_program__change_option"
    ),
    "POST /v1/users/{user_id}/redemptions": Operation("redeem", POINTS, "redeem_points__quota"),
    "GET /v1/users/{user_id}/redemptions": Operation("list_redemptions_of_user", POINTS),
    "GET /v1/redemptions": Operation("list_redemptions", POINTS),
    "GET /v1/redemptions/{id}": Operation("get_redemption", POINTS),
    "POST /v1/redemptions/{id}/fulfil": Operation("fulfil_redemption", POINTS, "administer_program__fulfil"),
    "POST /v1/redemptions/{id}/fail": Operation("fail_redemption", POINTS, "administer_program__fail"),
    "POST /v1/redemptions/{id}/refund": Operation("refund_redemption", POINTS),
    "GET /v1/users/{user_id}/entitlements": Operation("list_entitlements", ACCESS),
    "GET /v1/users/{user_id}/entitlements/{feature}": Operation("get_entitlement", ACCESS),
    "POST /v1/users/{user_id}/usage": Operation("use_feature", ACCESS, "check_access__consume"),
    "GET /v1/users/{user_id}/grants": Operation("list_grants", ACCESS),
    "POST /v1/users/{user_id}/coupons": Operation("redeem_coupon", ACCESS, "serve_users__redeem_coupon"),
    "POST /v1/users/{user_id}/usage/{usage_id}/return": Operation("return_usage", ACCESS, "check_access__return"),
    "GET /v1/users/{user_id}/usage": Operation("list_usages", ACCESS),
    "GET /v1/program": Operation("get_program", PROGRAM),
    "PUT /v1/program": Operation("replace_program", PROGRAM, "administer_program__replace"),
    "POST /v1/program/backtest": Operation("try_program", PROGRAM, "administer_program__backtest"),
    "GET /v1/program/versions": Operation("list_program_versions", PROGRAM),
    "POST /v1/codes": Operation("create_code", PROGRAM, "administer_program__create_code"),
    "GET /v1/codes": Operation("list_codes", PROGRAM),
    "PATCH /v1/codes/{code}": Operation("change_code", PROGRAM, "administer_program__change_code"),
    "POST /v1/campaigns": Operation("create_campaign", CAMPAIGNS, "administer_campaigns__create"),
    "GET /v1/campaigns": Operation("list_campaigns", CAMPAIGNS),
    "GET /v1/campaigns/{id}": Operation("get_campaign", CAMPAIGNS),
    "PATCH /v1/campaigns/{id}": Operation("change_campaign", CAMPAIGNS, "administer_campaigns__change"),
    "GET /v1/users/{user_id}/milestones": Operation("list_milestones_of_user", GROWTH),
    "POST /v1/users/{user_id}/milestones/{id}/claim": Operation("claim_milestone", GROWTH),
    "GET /v1/leaderboard": Operation("get_leaderboard", GROWTH),
    "POST /v1/milestones": Operation("create_milestone", GROWTH, "administer_campaigns__create_milestone"),
    "GET /v1/milestones": Operation("list_milestones", GROWTH),
    "GET /v1/milestones/{id}": Operation("get_milestone", GROWTH),
    "PATCH /v1/milestones/{id}": Operation("change_milestone", GROWTH, "administer_campaigns__change_milestone"),
    "GET /v1/milestones/{id}/users": Operation("list_milestone_holders", GROWTH),
    "POST /v1/milestones/{id}/users/{user_id}/fulfil": Operation(
        "fulfil_milestone", GROWTH, "administer_campaigns__fulfil_milestone"
    ),
    "GET /v1/reviews": Operation("list_reviews", REVIEWS),
    "GET /v1/reviews/{id}": Operation("get_review", REVIEWS),
    "PATCH /v1/reviews/{id}": Operation("change_review", REVIEWS, "review_referrals__change_review"),
    "POST /v1/reviews/{id}/decision": Operation("decide_on_review", REVIEWS, "review_referrals__decide_on_review"),
    "POST /v1/reviews/decisions": Operation("decide_on_reviews", REVIEWS, "review_referrals__decide_on_reviews"),
    "POST /v1/fraud-patterns": Operation("create_fraud_pattern", FRAUD, "review_referrals__create_pattern"),
    "GET /v1/fraud-patterns": Operation("list_fraud_patterns", FRAUD),
    "GET /v1/fraud-patterns/{id}": Operation("get_fraud_pattern", FRAUD),
    "PATCH /v1/fraud-patterns/{id}": Operation("change_fraud_pattern", FRAUD, "review_referrals__change_pattern"),
    "POST /v1/fraud-patterns/preview": Operation("preview_fraud_pattern", FRAUD, "review_referrals__preview_pattern"),
    "GET /v1/ip-ranges": Operation("list_ip_ranges", FRAUD),
    "PUT /v1/ip-ranges/{ip_type}": Operation("replace_ip_ranges", FRAUD, "review_referrals__replace_ranges"),
    "POST /v1/ip-ranges/{ip_type}": Operation("add_ip_ranges", FRAUD, "review_referrals__add_ranges"),
    "POST /v1/features": Operation("create_feature", PLANS, "administer_access__create_feature"),
    "GET /v1/features": Operation("list_features", PLANS),
    "GET /v1/features/{feature}": Operation("get_feature", PLANS),
    "PATCH /v1/features/{feature}": Operation("change_feature", PLANS, "administer_access__change_feature"),
    "POST /v1/plans": Operation("create_plan", PLANS, "administer_access__create_plan"),
    "GET /v1/plans": Operation("list_plans", PLANS),
    "GET /v1/plans/{plan_id}": Operation("get_plan", PLANS),
    "PATCH /v1/plans/{plan_id}": Operation("change_plan", PLANS, "administer_access__change_plan"),
    "PUT /v1/plans/{plan_id}/limits/{feature}": Operation("set_plan_limit", PLANS, "administer_access__put_limit"),
    "DELETE /v1/plans/{plan_id}/limits/{feature}": Operation("remove_plan_limit", PLANS),
    "GET /v1/users/{user_id}/restrictions": Operation("list_restrictions", PLANS),
    "PUT /v1/users/{user_id}/restrictions/{feature}": Operation("restrict", PLANS, "administer_access__restrict"),
    "DELETE /v1/users/{user_id}/restrictions/{feature}": Operation("remove_restriction", PLANS),
    "POST /v1/coupons": Operation("create_coupons", PLANS, "administer_access__create_coupon"),
    "GET /v1/coupons": Operation("list_coupons", PLANS),
    "GET /v1/coupons/{id}": Operation("get_coupon", PLANS),
    "PATCH /v1/coupons/{id}": Operation("change_coupon", PLANS, "administer_access__change_coupon"),
    "GET /v1/coupons/{id}/redemptions": Operation("list_coupon_redemptions", PLANS),
    "POST /v1/users/{user_id}/grants": Operation("give_plan", PLANS, "administer_access__give_plan"),
    "POST /v1/users/{user_id}/grants/{id}/end": Operation("end_grant", PLANS, "administer_access__end_grant"),
    "GET /v1/settings": Operation("get_settings", ACCOUNT),
    "PATCH /v1/settings": Operation("change_settings", ACCOUNT, "administer_account__change_settings"),
    "GET /v1/test-clock": Operation("get_test_clock", ACCOUNT),
    "PUT /v1/test-clock": Operation("set_test_clock", ACCOUNT, "administer_account__clock"),
    "POST /v1/api-keys": Operation("create_api_key", ACCOUNT, "administer_account__issue_key"),
    "GET /v1/api-keys": Operation("list_api_keys", ACCOUNT),
    "DELETE /v1/api-keys/{id}": Operation("revoke_api_key", ACCOUNT),
    "POST /v1/provider-endpoints": Operation("create_provider_endpoint", ACCOUNT, "administer_account__endpoint"),
    "GET /v1/provider-endpoints": Operation("list_provider_endpoints", ACCOUNT),
    "PATCH /v1/provider-endpoints/{id}": Operation(
        "change_provider_endpoint", ACCOUNT, "administer_account__change_endpoint"
    ),
    "DELETE /v1/provider-endpoints/{id}": Operation("delete_provider_endpoint", ACCOUNT),
    "GET /v1/inbox": Operation("list_inbox", ACCOUNT),
    "POST /v1/inbox/{id}/replay": Operation("replay_inbox_event", ACCOUNT),
    "POST /v1/inbox/{id}/discard": Operation("discard_inbox_event", ACCOUNT),
    "GET /v1/integrity": Operation("check_integrity", ACCOUNT),
    "POST /webhooks/stripe/{endpoint_id}": Operation(
        "receive_stripe_webhook", WEBHOOKS, "receive_stripe_webhook__invoice_paid_basil"
    ),
    "GET /webhooks/stripe/{endpoint_id}": Operation("show_stripe_webhook", WEBHOOKS),
    "POST /webhooks/whop/{endpoint_id}": Operation(
        "receive_whop_webhook", WEBHOOKS, "receive_whop_webhook__payment_succeeded_v1"
    ),
    "GET /webhooks/whop/{endpoint_id}": Operation("show_whop_webhook", WEBHOOKS),
}

PARAMETERS = {
    "user_id": "The app's own id of the user.",
    "code": "A referral code, without regard to case.",
    "plan_id": "The id of the plan.",
    "feature": "The key of the feature.",
    "usage_id": "The id of the use.",
    "endpoint_id": "The id of the endpoint, as its URL has it.",
    "id": "The id of the thing.",
    "ip_type": "The kind of the addresses.",
    "limit": "How many items a page holds.",
    "after": "The last item of the page before.",
    "as_of": "The balance as it was then: an instant, or a day of the company's calendar.",
    "from": "Where it begins, included: an instant, or a day of the company's calendar.",
    "to": "Where it ends, not included: an instant, or a day of the company's calendar.",
    "level": "1: whom the user brought; 2: whom these brought.",
    "stage": "Only referrals that are at this stage.",
    "flagged": "Only referrals that are flagged, or that are not.",
    "campaign_id": "Only what is of this campaign.",
    "priority": "Only what has this priority.",
    "check_type": "Only what has a check of this type.",
    "referrer": "Only what is about referrals of this user.",
    "assigned_to": "Only what is assigned to them.",
    "period": "The board of this month, as 2026-01.",
    "event": "Only awards of this event.",
    "status": "Only what has this status.",
    "type": "Only what is of this type.",
    "active": "Only what is active, or what is not.",
    "provider": "Only what this provider sent.",
}
"""What a parameter of a path or a query means, by its name."""

_LATER = 1_798_761_600  # 2027-01-01
_HEX = "0123456789abcdef" * 2
_VALUES: dict[str, object] = {
    "now": _LATER, "now_iso": "2027-01-01T00:00:00.000000Z", "in_a_month": _LATER + 30 * 86_400, "code": "7K2M9QXA",
    "secret_key": "gw_test_…", "publishable_key": "gw_pub_…", "stripe_signature": "", "whop_timestamp": "",
    "whop_signature": "", "whop_signature_v5": "", **{
        f"{name}_id": f"{prefix}_{_HEX}"
        for name, prefix in {
            "click": "clk", "option": "opt", "unlock": "opt", "redemption": "red", "reward": "red", "usage": "use",
            "referral": "ref", "award": "awd", "endpoint": "whe", "whop_endpoint": "whe", "coupon": "cpn",
            "grant": "grt", "key": "key", "campaign": "cam", "milestone": "mil", "pattern": "pat", "review": "rvw",
        }.items()
    },
}  # fmt: skip


@cache
def example(name: str) -> object:
    """The body of an event."""
    return events.body_of(events.load(name, _VALUES))
