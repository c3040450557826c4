"""A mix of every kind of write, each under a key of its own, so that it may be sent again; and what must come of it."""

from collections import Counter
from dataclasses import dataclass

from psycopg import Connection

from local.client import BROWSER, Answer
from tests.support import books, rows
from tests.support.clients import Call, call, delivery
from tests.support.companies import Company
from tests.support.growth import FLAT, amend
from tests.support.stripe_objects import invoice_paid

PRICE = 3
GIVEN = 2


DONE = {200, 201, 302}


def assert_unavailable(answer: Answer) -> None:
    """503 as docs/api.md, Errors, describes it."""
    assert answer.status == 503, (answer.status, answer.raw)
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json["code"] == "database_unavailable"


@dataclass(frozen=True)
class Traffic:
    """What each client sends, one plan a client; `code` is Ada's."""

    company: Company
    code: str
    plans: list[list[Call]]

    @classmethod
    def of(cls, company: Company, superuser: Connection, *, clients: int, rounds: int) -> "Traffic":
        """Prepare a company with Ada, who can pay for everything, and the plans of the clients."""
        amend(company, tiers=FLAT)  # so that what an award is worth is the same whoever comes first
        code = company.sign_up("ada")["user"]["referral_code"]
        company.ok("POST", "/v1/users/ada/points", {"points": 100_000, "note": ""}, key="capital")
        superuser.execute(
            "UPDATE plan_limits SET limit_value = 100000 WHERE company_id = %s AND feature = 'ai_calls'", (company.id,)
        )
        body = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 1, "cost_points": PRICE}
        option = company.ok("POST", "/v1/redemption-options", body)["id"]
        plans = [
            [each for number in range(rounds) for each in _round(company, code, option, f"{client}-{number}")]
            for client in range(clients)
        ]
        return cls(company, code, plans)

    @property
    def rounds(self) -> int:
        """Rounds of all clients together."""
        return sum(1 for plan in self.plans for each in plan if each.path.endswith("/redemptions"))

    def check_heard(self, heard: list[list[Answer]]) -> Counter[int]:
        """While the database was broken a client heard success, or 503 with what belongs to it; how often which.

        Where a signup was answered with 503, its person may not be there to be activated.
        """
        for plan, answers in zip(self.plans, heard, strict=True):
            for sent, answer in zip(plan, answers, strict=True):
                allowed = {*DONE, 503} | ({404} if sent.path == "/v1/activations" else set())
                assert answer.status in allowed, (sent.path, answer.status, answer.raw)
                if answer.status == 503:
                    assert_unavailable(answer)
        return Counter(answer.status for answers in heard for answer in answers)

    def check_done_once(self, heard: list[list[Answer]], again: list[list[Answer]], superuser: Connection) -> None:
        """After everything was sent again: all is done, each thing once, and answers that were given stand."""
        for plan, firsts, seconds in zip(self.plans, heard, again, strict=True):
            for sent, first, second in zip(plan, firsts, seconds, strict=True):
                assert second.status in DONE, (sent, second.raw)
                if "idempotency-key" in sent.headers and first.status in DONE:
                    assert (second.status, second.raw) == (first.status, first.raw)
        done = self.rounds
        stored = rows.count(superuser, self.company.id)
        assert stored["users"] == stored["signups"] == stored["codes"] == done + 1
        assert stored["referrals"] == stored["payments"] == stored["inbox_events"] == done
        assert stored["redemptions"] == stored["quota_grants"] == stored["usages"] == done
        assert stored["activations"] == done
        assert stored["awards"] == 3 * done
        # three awards, a redemption and a gift each, and Ada's capital
        assert stored["entries"] == 5 * done + 1
        assert self._balance(superuser) == 100_000 + done * (5 + 25 + GIVEN - PRICE)
        clicked = sum(answer.status == 302 for part in (heard, again) for answers in part for answer in answers)
        sent = 2 * done
        assert clicked <= stored["clicks"] <= sent
        assert books.faults(superuser, self.company.id) == []

    def _balance(self, superuser: Connection) -> int:
        statement = """
            SELECT balance FROM wallets JOIN users ON users.id = wallets.user_id
            WHERE wallets.company_id = %(company_id)s AND external_id = 'ada'
        """
        return rows.find_one(superuser, statement, company_id=self.company.id)["balance"]


def _round(company: Company, code: str, option: str, name: str) -> list[Call]:
    signup = {"user": {"external_id": name}, "referral_code": code}
    event = invoice_paid(f"evt_{name}", f"in_{name}", user=name, customer=f"cus_{name}")
    event["data"]["object"]["parent"]["subscription_details"]["subscription"] = f"sub_{name}"
    return [
        Call("GET", f"/r/{code}", {"user-agent": BROWSER}),
        call(company, "POST", "/v1/signups", signup, key=f"sign-up-{name}"),
        call(company, "POST", "/v1/activations", {"user_id": name}),
        delivery(company, event),
        call(company, "POST", "/v1/users/ada/redemptions", {"option_id": option}, key=f"buy-{name}"),
        call(company, "POST", "/v1/users/ada/points", {"points": GIVEN, "note": ""}, key=f"give-{name}"),
        call(company, "POST", "/v1/users/ada/usage", {"feature": "ai_calls"}, key=f"use-{name}"),
        call(company, "GET", "/v1/users/ada/balance"),
    ]
