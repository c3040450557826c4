"""Referrers with many referrals: people who come by one code and pay, are refunded, and come back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from tests.support import stripe_objects
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid


@dataclass
class Referrer:
    """Somebody with a code, and what happens to the people who come by it. One sale a person and month.

    `now`: when sales are paid, later months after it; as the company's clock says, where that stands still.
    """

    company: Company
    name: str = "ada"
    now: datetime | None = None
    code: str = ""

    def __post_init__(self) -> None:
        if not self.code:
            self.code = self.company.sign_up(self.name)["user"]["referral_code"]

    @classmethod
    def known(cls, company: Company, name: str, now: datetime | None = None) -> Self:
        """Somebody who has signed up before."""
        return cls(company, name, now, company.ok("GET", f"/v1/users/{name}")["referral_code"])

    def bring(self, person: str, **fields: object) -> Any:  # noqa: ANN401 - JSON
        """A signup by the code; its answer."""
        return self.company.sign_up(person, **{"referral_code": self.code, **fields})

    def qualify(self, person: str) -> None:
        """Bring somebody who pays."""
        self.bring(person)
        self.pay(person)

    def pay(self, person: str, month: int = 1) -> None:
        """A sale of theirs."""
        sale = f"{person}_{month}"
        at = self.now + timedelta(days=30) * (month - 1) if self.now else None
        paid = invoice_paid(f"evt_in_{sale}", f"in_{sale}", user=person, customer=f"cus_{person}", paid_at=at)
        done = self.company.deliver(paid)
        assert done.json["outcome"] == "applied", done.raw
        value = stripe_objects.invoice_payment(sale)
        linked = self.company.deliver(stripe_objects.event("invoice_payment.paid", value, id=f"evt_link_{sale}"))
        assert linked.json["outcome"] == "applied", linked.raw

    def refund(self, person: str, month: int = 1, *, status: str = "succeeded", amount: int = 1900) -> None:
        """All of a sale given back, or a part; or, `failed`, that not."""
        sale = f"{person}_{month}"
        value = stripe_objects.refund(sale, status=status, amount=amount, **self._dated())
        done = self.company.deliver(stripe_objects.event("refund.updated", value, id=f"evt_re_{sale}_{status}"))
        assert done.json["outcome"] == "applied", done.raw

    def _dated(self) -> dict[str, object]:
        return {"created": self.now} if self.now else {}

    def profile(self) -> tuple[int, str]:
        """How many referrals count, and the tier that this is."""
        user = self.company.ok("GET", f"/v1/users/{self.name}")
        return user["qualified_count"], user["referral_tier"]

    def awards(self, user: str | None = None, **wanted: object) -> list[dict[str, Any]]:
        """The awards of somebody, oldest first."""
        page = self.company.ok("GET", f"/v1/users/{user or self.name}/awards?limit=100")
        assert not page["has_more"]
        return [each for each in reversed(page["data"]) if wanted.items() <= each.items()]


FLAT = [{"name": "bronze", "from": 0, "multiplier_bps": 10_000}]
"""A table of one tier, which multiplies nothing."""


def amend(company: Company, **changed: Mapping[str, Any] | object) -> None:
    """A new version of the program: what is given is replaced or, of a section, merged."""
    program = company.ok("GET", "/v1/program")["program"]
    for name, value in changed.items():
        program[name] = {**program[name], **value} if isinstance(value, Mapping) else value
    company.ok("PUT", "/v1/program", program)
