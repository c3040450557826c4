"""A referred person's story played through the database: facts recorded and settled as the functions do it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from goodword.awards import advancing, settlement
from goodword.awards.due import AwardKey
from goodword.awards.engine import Standing
from goodword.facts import keep
from goodword.facts.kinds import Fact, IdentityLinked, ObjectsLinked, PaymentSucceeded, SubscriptionChanged, TakenBack
from goodword.fraud.first_payments import FirstPayments
from goodword.referral import activations
from goodword.referral.activations import Activation
from tests.support import stories
from tests.support.everything import sign_up
from tests.support.stories import DAY, END, REGISTERED, Back, Outcome, Report, Sale, Subscribed, Use
from tests.support.tenants import Tenant

numbers = count(1)


@dataclass(frozen=True)
class Named:
    """The link of the customer to the person."""


@dataclass(frozen=True)
class Joined:
    """The link of a sale's invoice to its payment intent, by which its refunds find it."""

    sale: int


@dataclass(frozen=True)
class Part:
    """The payment of a sale as its payment intent tells it: tax and all, until the sale itself is known."""

    sale: Sale


@dataclass(frozen=True)
class Job:
    """What only jobs book."""


@dataclass(frozen=True)
class Spend:
    """The referrer spends, or cannot."""

    points: int


@dataclass(frozen=True)
class SignUp:
    """The person signs up."""


Fragment = Report | Named | Joined | Part
Step = Fragment | Job | Spend | SignUp


@dataclass
class Play:
    """One referred person, ben, whom ada brought, whom zoe brought; all with names of their own."""

    tenant: Tenant
    app_id: str | None = None
    ada_uses: bool = True
    name: str = field(default_factory=lambda: f"{next(numbers)}x")
    now: datetime = REGISTERED - 10 * DAY
    spent: int = 0

    def __post_init__(self) -> None:
        self.at(self.now)
        zoe = sign_up(self.tenant, f"zoe{self.name}").user.referral_code
        self.code = sign_up(self.tenant, f"ada{self.name}", referral_code=zoe).user.referral_code
        self.at(REGISTERED - DAY)
        if self.ada_uses:
            self._use("ada", "chat", self.now)
        self.began = {name: self._wallet(name) for name in ("zoe", "ada")}

    @property
    def person(self) -> str:
        """The person's external id."""
        return f"ben{self.name}"

    def user(self, name: str) -> UUID:
        """The id of ada, ben or zoe."""
        (row,) = self.tenant.rows(
            "SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = %(external_id)s",
            external_id=name + self.name,
        )
        return row["id"]

    def at(self, now: datetime) -> None:
        """Move the clock."""
        self.now = now
        self.tenant.set_clock(now)

    def take(self, step: SignUp | Use | Job | Spend) -> None:
        """Do it as its function does."""
        match step:
            case SignUp():
                self.at(REGISTERED)
                sign_up(self.tenant, self.person, referral_code=self.code, app_id=self.app_id)
            case Use(app_id, used_at):
                self.at(max(self.now, used_at))  # nobody reports a use in the future
                self._use("ben", app_id, used_at)
            case Job():
                self.pass_time()
            case Spend(points):
                done = self.tenant.adjust(f"ada{self.name}", -points).status == 201
                self.spent += points if done else 0

    def run(self, steps: Sequence[tuple[Step, int | None]]) -> None:
        """Do one after the other; time goes on from the signup."""
        event = list[Fragment]()
        for step, hours in steps:
            if not isinstance(step, SignUp | Use | Job | Spend):
                event.append(step)
                if hours is None:
                    continue
            if event:
                self.tell(*event)
                event.clear()
            if isinstance(step, SignUp | Use | Job | Spend):
                self.take(step)
            if hours and self.now >= REGISTERED:
                self.at(min(self.now + timedelta(hours=hours), END))
        if event:
            self.tell(*event)

    def tell(self, *pieces: Fact | Fragment) -> None:
        """One event of the provider."""
        found = [self._fact(each) for each in pieces]
        with self.tenant.transaction("webhook") as connection:
            concerned, _ = keep(connection, self.tenant.id, "stripe", found)
            settlement.settle(connection, self.tenant.id, sorted(concerned), FirstPayments())

    def pass_time(self) -> None:
        """What the jobs do when they come by for this person."""
        with self.tenant.transaction("jobs") as connection:
            ben = connection.execute(
                "SELECT id FROM users WHERE company_id = %s AND external_id = %s", (self.tenant.id, self.person)
            ).fetchall()
            settlement.settle(
                connection, self.tenant.id, [id_ for (id_,) in ben], settlement.AS_JUDGED, time_passes=True
            )

    def run_jobs(self) -> None:
        """The jobs themselves, which find for whom they have to come by."""
        for job in (advancing.advance, advancing.release):
            settled = 1
            while settled:  # not while there is more: a company that another test has spoilt has always more
                with self.tenant.transaction("jobs") as connection:
                    settled = job(connection).counts["referrals"]

    def referral(self) -> dict[str, Any]:
        """The referral's row."""
        (row,) = self.tenant.rows(
            """
            SELECT r.* FROM referrals r JOIN users u ON u.company_id = r.company_id AND u.id = r.referee_id
            WHERE r.company_id = %(company_id)s AND u.external_id = %(ben)s
            """,
            ben=self.person,
        )
        return row

    def awards(self) -> list[dict[str, Any]]:
        """The awards of the referral, with the keys of their payments."""
        return self.tenant.rows(
            """
            SELECT a.*, p.payment_key FROM awards a
            LEFT JOIN payments p ON p.company_id = a.company_id AND p.id = a.payment_id
            WHERE a.company_id = %(company_id)s AND a.referral_id = %(referral_id)s ORDER BY event, occasion, app_id
            """,
            referral_id=self.referral()["id"],
        )

    def outcome(self, standing: Standing) -> dict[AwardKey, Outcome]:
        """What stands in the database; of what is due no more, nothing may be left."""
        found, due = dict[AwardKey, Outcome](), {each.key: each for each in standing.due}
        for row in self.awards():
            key = (row["event"], row["app_id"], row["occasion"])
            if key not in due:
                assert row["status"] == "rejected" or row["points"] == row["reversed_points"], row
                continue
            status = stories.settled(row["status"], disputed=standing.disputed)
            found[key] = Outcome(row["points"], row["reversed_points"], status, row["period"], row["due_at"])
        return found

    def gained(self, name: str) -> int:
        """What somebody has, less what is owed, since before the person came; spending does not count."""
        return self._wallet(name) - self.began[name] + (self.spent if name == "ada" else 0)

    def _wallet(self, name: str) -> int:
        (row,) = self.tenant.rows(
            """
            SELECT coalesce(sum(balance - debt), 0)::bigint AS worth FROM wallets
            WHERE company_id = %(company_id)s AND user_id = %(user_id)s
            """,
            user_id=self.user(name),
        )
        return row["worth"]

    def _use(self, name: str, app_id: str, at: datetime) -> None:
        with self.tenant.transaction("app") as connection:
            use = {"user_id": name + self.name, "app_id": app_id or None, "occurred_at": at.isoformat()}
            activations.activate(connection, self.tenant.id, Activation.model_validate(use))

    def _fact(self, piece: Fact | Fragment) -> Fact:
        customer = f"cus_{self.name}"
        match piece:
            case Named():
                fact = IdentityLinked((customer,), self.person, None, None, REGISTERED)
            case Joined(sale):
                fact = ObjectsLinked((f"in_{self.name}{sale}", f"pi_{self.name}{sale}"))
            case Part(sale):
                key = f"pi_{self.name}{sale.number}"
                fact = PaymentSucceeded(
                    key, (customer, key), None, None, None, sale.currency, sale.gross, sale.gross,
                    sale.paid_at + timedelta(seconds=1), None, stands_in_for=key,
                )  # fmt: skip
            case Sale():
                key = piece.key(self.name)
                fact = PaymentSucceeded(
                    key, (customer, key), None, None, None, piece.currency, piece.gross, piece.net, piece.paid_at,
                    piece.period_start, is_proration=piece.is_proration,
                )  # fmt: skip
            case Back():
                key = f"{piece.kind}_{self.name}{piece.number}"
                fact = TakenBack(
                    piece.kind, key, (f"ch_{self.name}{piece.sale}", f"pi_{self.name}{piece.sale}"), piece.amount, None,
                    piece.status, piece.began_at, piece.at,
                )  # fmt: skip
            case Subscribed():
                key = f"sub_{self.name}{piece.number}"
                fact = SubscriptionChanged(
                    key, (customer, key), None, None, None, "ended" if piece.ended_at else "active", (), None,
                    cancel_at_period_end=False, ended_at=piece.ended_at, at=piece.at,
                )  # fmt: skip
            case Use():
                raise TypeError(piece)
            case _:
                fact = piece
        return fact
