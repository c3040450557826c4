"""The demo story: a click, signups, a first use, a paid invoice, a Whop order, what they earn, and a redemption.

What is earned are points, a milestone with the first referral that qualifies, and with it the tier of silver.

Everything goes over HTTP through the real handlers, what Stripe and Whop say with real signatures. Time is the test
company's own clock, moved forward between the steps.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from goodword.payments import signatures
from goodword.payments.whop import signatures as whop_signatures
from local.client import Answer, Client

ADA, BEN, CLEO = "ada", "ben", "cleo"
GIFT = 20
EARNED, COST, BOUGHT = (5 + 10 + 25) + GIFT + (8 + 38), 30, 20
"""What Ada earns with Ben, by her milestone, and with Cleo; what she pays for her AI calls, and how many she gets."""


class StepFailed(Exception):
    """A step did not give what it should."""


class Story:
    """The steps, in order; each one checks what it got before the next begins. The company is one nobody has used."""

    def __init__(self, base_url: str, line: dict[str, str]) -> None:
        self._line = line
        self._app = Client(base_url, line["secret_key"])
        self._browser = Client(base_url)
        self._now = datetime.now(UTC).replace(microsecond=0)

    def play(self) -> None:
        """All steps. Raises StepFailed."""
        self._clock(timedelta())
        self._tell("the company makes silver, and a gift, of the first referral that pays", self._reward)
        self._tell("Ada signs up and gets a referral code", self._ada_signs_up)
        self._tell("somebody follows Ada's link", self._click)
        self._tell("Ben signs up, and the click names Ada as his referrer", self._ben_signs_up)
        self._clock(timedelta(minutes=10))
        self._tell("ten minutes later Ben uses the app for the first time", self._activate)
        self._clock(timedelta(days=2))
        self._tell("two days later Ben pays his first invoice, and Stripe says so", self._pay)
        self._tell("Stripe says it once more: nothing happens twice", self._pay_again)
        self._tell("Ada has reached the milestone, and is silver", self._milestone)
        self._tell("Cleo signs up with Ada's code", self._cleo_signs_up)
        self._clock(timedelta(days=2))
        self._tell("two days after that Cleo buys on Whop, and Whop says so", self._order)
        self._tell("Ada buys 20 AI calls with 30 points", self._redeem)
        self._tell("Ada makes one of them", self._use)
        self._table()
        self._company()

    def close(self) -> None:
        """End both connections."""
        self._app.close()
        self._browser.close()

    def _tell(self, what: str, step: Callable[[], str]) -> None:
        _say(f"  · {what} …")
        _say(f"      {step()}")

    def _clock(self, ahead: timedelta) -> None:
        self._now += ahead
        _expect(self._app.send("PUT", "/v1/test-clock", {"now": self._now.isoformat()}), 200)

    def _reward(self) -> str:
        program = _expect(self._app.send("GET", "/v1/program"), 200)["program"]
        program["tiers"] = [
            {"name": "bronze", "from": 0, "multiplier_bps": 10_000},
            {"name": "silver", "from": 1, "multiplier_bps": 15_000},
        ]
        version = _expect(self._app.send("PUT", "/v1/program", program), 200)["version"]
        gift = {
            "name": "First friend", "threshold": 1, "reward_type": "points", "reward_data": {"points": GIFT},
        }  # fmt: skip
        _expect(self._app.send("POST", "/v1/milestones", gift), 201)
        return f"program version {version}: silver from 1 on, {GIFT} points once"

    def _milestone(self) -> str:
        (reached,) = _expect(self._app.send("GET", f"/v1/users/{ADA}/milestones"), 200)["data"]
        ada = _expect(self._app.send("GET", f"/v1/users/{ADA}"), 200)
        _check((reached["status"], ada["referral_tier"], ada["qualified_count"]) == ("granted", "silver", 1), reached)
        return f"{reached['name']} {reached['status']}, {GIFT} points; the next awards are multiplied by 1.5"

    def _ada_signs_up(self) -> str:
        body = {"user": {"external_id": ADA, "username": "Ada", "email": f"{ADA}@example.com"}}
        user = _expect(self._app.send("POST", "/v1/signups", body), 201)["user"]
        self._code = user["referral_code"]
        return f"code {self._code}, {user['referral_url']}"

    def _click(self) -> str:
        answer = self._browser.send("GET", f"/r/{self._code}?utm_source=newsletter")
        _expect(answer, 302)
        location = answer.headers["location"]
        self._click_id = parse_qs(urlsplit(location).query)["gw_click"][0]
        return f"302 to {location}"

    def _ben_signs_up(self) -> str:
        user = {"external_id": BEN, "username": "Ben", "email": f"{BEN}@example.org"}
        answer = _expect(self._app.send("POST", "/v1/signups", {"user": user, "click_id": self._click_id}), 201)
        _check(answer["attribution"]["outcome"] == "attributed", answer["attribution"])
        return _awards(answer["awards"], registered=5, welcome=25)

    def _activate(self) -> str:
        answer = _expect(self._app.send("POST", "/v1/activations", {"user_id": BEN, "app_id": "chat"}), 200)
        return _awards(answer["awards"], registered=5, welcome=25, activated=10)

    def _pay(self) -> str:
        answer = self._deliver()
        _check(answer == {"received": True, "duplicate": False, "outcome": "applied"}, answer)
        circle = _expect(self._app.send("GET", f"/v1/users/{ADA}/referrals"), 200)["data"]
        _check([each["stage"] for each in circle] == ["qualified"], circle)
        return f"19.00 USD paid; Ben's referral is {circle[0]['stage']}"

    def _pay_again(self) -> str:
        answer = self._deliver()
        _check(answer == {"received": True, "duplicate": True, "outcome": "applied"}, answer)
        return "answered 200, duplicate"

    def _deliver(self) -> dict[str, Any]:
        invoice = {
            "id": "in_story", "object": "invoice", "customer": "cus_story", "currency": "usd",
            "status": "paid", "amount_paid": 1900, "total": 1900, "total_excluding_tax": 1900,
            "billing_reason": "subscription_create", "created": int(self._now.timestamp()),
            "status_transitions": {"paid_at": int(self._now.timestamp())},
            "parent": {
                "type": "subscription_details",
                "subscription_details": {"subscription": "sub_story", "metadata": {"goodword_user": BEN}},
            },
        }  # fmt: skip
        event = {
            "id": "evt_story", "object": "event", "type": "invoice.paid", "livemode": False,
            "created": int(self._now.timestamp()), "api_version": "2026-10-28.endive", "data": {"object": invoice},
        }  # fmt: skip
        raw = json.dumps(event).encode()
        signed = signatures.sign(raw, self._line["stripe_secret"], int(time.time()))
        path = urlsplit(self._line["stripe_endpoint"]).path
        return _expect(self._browser.send("POST", path, raw=raw, headers={"stripe-signature": signed}), 200)

    def _cleo_signs_up(self) -> str:
        body = {"user": {"external_id": CLEO}, "referral_code": self._code}
        answer = _expect(self._app.send("POST", "/v1/signups", body), 201)
        _check(answer["attribution"]["source"] == "code", answer["attribution"])
        return _awards(answer["awards"], registered=8, welcome=25)

    def _order(self) -> str:
        at = self._now.isoformat()
        payment = {
            "id": "pay_story", "status": "paid", "created_at": at, "paid_at": at, "currency": "usd",
            "total": "34.51", "tax_amount": "5.51", "billing_reason": "subscription_create",
            "user": {"id": "user_story", "username": "cleo", "email": f"{CLEO}@example.net"},
            "membership": {"id": "mem_story", "status": "active"}, "metadata": {"goodword_user": CLEO},
        }  # fmt: skip
        event = {
            "id": "msg_story", "api_version": "v1", "timestamp": at, "type": "payment.succeeded",
            "company_id": "biz_demo", "data": payment,
        }  # fmt: skip
        raw = json.dumps(event).encode()
        signed = whop_signatures.sign(raw, self._line["whop_secret"], event["id"], int(time.time()))
        path = urlsplit(self._line["whop_endpoint"]).path
        answer = _expect(self._browser.send("POST", path, raw=raw, headers=signed), 200)
        _check(answer == {"received": True, "duplicate": False, "outcome": "applied"}, answer)
        cleo = _expect(self._app.send("GET", f"/v1/users/{CLEO}"), 200)
        _check(cleo["username"] == "cleo", cleo)
        newest = _expect(self._app.send("GET", f"/v1/users/{ADA}/referrals"), 200)["data"][0]
        _check((newest["referee"], newest["stage"]) == (CLEO, "qualified"), newest)
        _check(newest["revenue"] == [{"currency": "usd", "amount": 2900}], newest)
        return f"34.51 USD paid, 5.51 of it tax; Cleo's referral is {newest['stage']}"

    def _redeem(self) -> str:
        option = {
            "kind": "quota",
            "name": "20 AI calls",
            "feature": "ai_calls",
            "quantity": BOUGHT,
            "cost_points": COST,
        }
        option_id = _expect(self._app.send("POST", "/v1/redemption-options", option), 201)["id"]
        answer = _expect(
            self._app.send(
                "POST",
                f"/v1/users/{ADA}/redemptions",
                {"option_id": option_id},
                headers={"idempotency-key": "story"},
            ),
            201,
        )
        _check(answer["balance_after"] == EARNED - COST, answer)
        return f"{answer['status']}, {answer['balance_after']} points left"

    def _use(self) -> str:
        usage = {"feature": "ai_calls"}
        answer = _expect(self._app.send("POST", f"/v1/users/{ADA}/usage", usage), 200)
        _check(answer["allowed"] and answer["remaining"] == BOUGHT - 1, answer)
        return f"allowed, {answer['remaining']} left"

    def _table(self) -> None:
        rows = [("who", "what", "points", "balance")]
        for name, user_id in (("Ada", ADA), ("Ben", BEN), ("Cleo", CLEO)):
            entries = _expect(self._app.send("GET", f"/v1/users/{user_id}/transactions"), 200)["data"]
            rows += [
                (name, _words(entry["type"]), f"{entry['delta']:+d}", str(entry["balance_after"]))
                for entry in reversed(entries)
            ]
            balance = _expect(self._app.send("GET", f"/v1/users/{user_id}/balance"), 200)
            _check(balance["balance"] == entries[0]["balance_after"], balance)
        _draw(rows)

    def _company(self) -> None:
        """Where the story has happened, so that whoever read it can look around."""
        key = self._line["secret_key"]
        _say(f"It happened in a company of its own, to the users {ADA}, {BEN} and {CLEO}:")
        _say(f"  curl -H 'Authorization: Bearer {key}' {self._line['url']}/v1/users/{ADA}/balance\n")


def play(base_url: str, line: dict[str, str]) -> bool:
    """Play the story against a running server; True when every step was right."""
    story = Story(base_url, line)
    _say("\nThe story of a referral")
    try:
        story.play()
    except StepFailed as failed:
        _say(f"      WRONG: {failed}")
        return False
    finally:
        story.close()
    return True


def _expect(answer: Answer, status: int) -> Any:  # noqa: ANN401 - whatever the API answered
    _check(answer.status == status, f"{answer.status} {answer.raw.decode(errors='replace')}")
    return answer.json


def _check(right: bool, got: object) -> None:  # noqa: FBT001 - it reads as a sentence
    if not right:
        raise StepFailed(str(got))


def _awards(given: list[dict[str, Any]], **expected: int) -> str:
    _check({award["event"]: award["points"] for award in given} == expected, given)
    _check(all(award["status"] == "paid" for award in given), given)
    return ", ".join(f"{award['event']} +{award['points']}" for award in given)


def _words(entry_type: str) -> str:
    return entry_type.replace("_", " ").capitalize()


def _draw(rows: list[tuple[str, str, str, str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    _say("")
    for index, (who, what, points, balance) in enumerate(rows):
        _say(f"  {who:<{widths[0]}}  {what:<{widths[1]}}  {points:>{widths[2]}}  {balance:>{widths[3]}}")
        if index == 0:
            _say("  " + "  ".join("─" * width for width in widths))
    _say("")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
