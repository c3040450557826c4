"""A scene: the people and things of a company that the example events are about, made over HTTP."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from goodword.payments import signatures
from local.client import Client

Make = Callable[[str, dict[str, object]], Any]
"""A POST that must succeed; its JSON."""


class SceneError(Exception):
    """The scene cannot be set; the message is one line that says what was refused."""


def prepare(line: Mapping[str, str]) -> dict[str, object]:
    """Ada, Ben whom she brought, Gil whom nobody did; points of hers, and what they bought, a coupon, a use, a click.

    Hal waits for a reward, Ida, whose friend Kim has paid, for what a milestone promises, and a campaign is drafted.
    Max, whom Lea brought, is suspected of being her.
    Answers the values of the placeholders.
    `line` is that of a company nobody has used yet, on a running server. Raises SceneError.
    """
    client = Client(line["url"], line["secret_key"])

    def make(path: str, body: dict[str, object], headers: dict[str, str] | None = None) -> Any:  # noqa: ANN401
        answer = client.send("POST", path, body, headers=headers)
        if answer.status not in (200, 201):
            raise SceneError(f"POST {path} answered {answer.status}: {answer.raw.decode()}")
        return answer.json

    code = make("/v1/signups", {"user": {"external_id": "ada", "username": "Ada"}})["user"]["referral_code"]
    brought = make("/v1/signups", {"user": {"external_id": "ben"}, "referral_code": code})
    make("/v1/signups", {"user": {"external_id": "gil"}})
    make("/v1/users/ada/points", {"points": 100, "note": "for a start"}, {"idempotency-key": "start"})
    make("/v1/users/ada/points", {"points": 30, "note": "for photos", "priority": 1}, {"idempotency-key": "photos-1"})
    photos = {"kind": "quota", "name": "5 photos", "feature": "photos", "quantity": 5, "cost_points": 30}
    bought = {"option_id": make("/v1/redemption-options", photos)["id"]}
    option = {"kind": "quota", "name": "20 AI calls", "feature": "ai_calls", "quantity": 20, "cost_points": 30}
    welcome = {"type": "period", "plan": "basic", "duration_days": 30, "code": "WELCOME-26"}
    coupon_id = make("/v1/coupons", welcome)["id"]
    redeemed = make("/v1/users/ada/coupons", {"code": "WELCOME-26"}, {"idempotency-key": "welcome"})
    unlock = {"kind": "unlock", "name": "Premium for a month", "plan": "premium", "days": 30, "cost_points": 40}
    mug = {"kind": "reward", "name": "A mug", "cost_points": 20, "stock": 50}
    make("/v1/signups", {"user": {"external_id": "hal"}})
    make("/v1/users/hal/points", {"points": 20, "note": "for a bug he found"}, {"idempotency-key": "hal"})
    waits = {"option_id": make("/v1/redemption-options", mug)["id"]}
    summer: dict[str, object] = {"starts_at": "2026-06-01T00:00:00Z", "ends_at": "2030-09-01T00:00:00Z"}
    mugs = {"name": "A mug", "threshold": 1, "reward_type": "custom", "reward_data": {"colour": "blue"}}
    milestone_id = make("/v1/milestones", mugs)["id"]
    idas = make("/v1/signups", {"user": {"external_id": "ida"}})["user"]["referral_code"]
    make("/v1/signups", {"user": {"external_id": "kim"}, "referral_code": idas})
    _pay(client, line, "kim")
    headless = {"type": "device_pattern", "value": "headless", "score_impact": 30}
    client.send("PATCH", f"/v1/milestones/{milestone_id}", {"active": False})  # the examples give it to nobody else
    values = {
        **line,
        "review_id": _suspect(client, make),
        "milestone_id": milestone_id,
        "pattern_id": make("/v1/fraud-patterns", headless)["id"],
        "campaign_id": make("/v1/campaigns", {"name": "Summer", **summer})["id"],
        "coupon_id": coupon_id,
        "grant_id": redeemed["grant"]["id"],
        "code": code,
        "referral_id": brought["referral"]["id"],
        "award_id": brought["awards"][0]["id"],
        "click_id": make("/v1/clicks", {"code": code})["id"],
        "option_id": make("/v1/redemption-options", option)["id"],
        "redemption_id": make("/v1/users/ada/redemptions", bought, {"idempotency-key": "photos-2"})["id"],
        "key_id": make("/v1/api-keys", {"name": "Reports", "scope": "read"})["id"],
        "usage_id": make("/v1/users/ada/usage", {"feature": "photos", "quantity": 2})["usage_id"],
        "unlock_id": make("/v1/redemption-options", unlock)["id"],
        "reward_id": make("/v1/users/hal/redemptions", waits, {"idempotency-key": "mug"})["id"],
        "endpoint_id": line["stripe_endpoint"].rpartition("/")[2],
        "whop_endpoint_id": line["whop_endpoint"].rpartition("/")[2],
    }
    client.close()
    return values


def _suspect(client: Client, make: Make) -> str:
    """Two people with one tablet, under a program that is put back afterwards; the id of the review."""
    program = client.send("GET", "/v1/program").json["program"]
    signals = {**program["fraud"]["signals"], "same_device": program["fraud"]["thresholds"]["review"]}
    client.send("PUT", "/v1/program", {**program, "fraud": {**program["fraud"], "signals": signals}})
    tablet: dict[str, object] = {"device_fingerprint": "tablet"}
    leas = make("/v1/signups", {"user": {"external_id": "lea"}, **tablet})["user"]["referral_code"]
    make("/v1/signups", {"user": {"external_id": "max"}, "referral_code": leas, **tablet})
    client.send("PUT", "/v1/program", program)
    (review,) = client.send("GET", "/v1/reviews?referrer=lea").json["data"]
    return review["id"]


def _pay(client: Client, line: Mapping[str, str], user: str) -> None:
    """Tell of a user's payment as Stripe does."""
    now = int(time.time())
    invoice = {
        "id": f"in_{user}", "object": "invoice", "customer": f"cus_{user}", "currency": "usd", "status": "paid",
        "amount_paid": 1900, "total": 1900, "total_excluding_tax": 1900, "created": now,
        "billing_reason": "subscription_create", "status_transitions": {"paid_at": now},
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": f"sub_{user}", "metadata": {"goodword_user": user}},
        },
    }  # fmt: skip
    event = {
        "id": f"evt_{user}", "object": "event", "type": "invoice.paid", "livemode": False, "created": now,
        "api_version": "2026-10-28.endive", "data": {"object": invoice},
    }  # fmt: skip
    raw = json.dumps(event).encode()
    headers = {"stripe-signature": signatures.sign(raw, line["stripe_secret"], now)}
    answer = client.send("POST", urlsplit(line["stripe_endpoint"]).path, raw=raw, headers=headers)
    if answer.status != 200 or answer.json["outcome"] != "applied":  # noqa: PLR2004 - HTTP's own
        raise SceneError(f"a payment answered {answer.status}: {answer.raw.decode()}")
