"""A company as the database sees it: opened by the migrator, used by the deployment's own roles, with no HTTP between.

What the functions send is sent here in the same statements, over connections of the same roles; `superuser` is there to
look at rows, and to arrange what no role may.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, LiteralString, NamedTuple, Self
from uuid import UUID, uuid4

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from goodword.access import usage
from goodword.access.usage import Usage, UsageReturn
from goodword.accounts.companies import NewCompany
from goodword.awards import balances
from goodword.core import ids
from goodword.core.one_trip import OneTrip
from goodword.points import ledger, redemptions
from goodword.points.ledger import Balance, PointsAdjustment
from goodword.points.redemptions import NewRedemption
from goodword.program.document import Program
from local import setup
from tests.support.connections import AsRole
from tests.support.trust import TRUSTING

_ADD_USER = """
    INSERT INTO users (company_id, id, external_id, created_at)
    VALUES (%(company_id)s, %(id)s, %(external_id)s, clock_timestamp())
"""

_ADD_OPTION = """
    INSERT INTO redemption_options (company_id, id, kind, name, feature, quantity, days, plan, cost_points, stock,
        per_user_limit, created_at, updated_at)
    VALUES (%(company_id)s, %(id)s, %(kind)s, 'More', %(feature)s, %(quantity)s, %(days)s, %(plan)s, %(cost)s,
        %(stock)s, %(per_user_limit)s, clock_timestamp(), clock_timestamp())
"""

_POST = "SELECT unnest(post_entries(%(company_id)s, %(postings)s)) AS entry_id"

_POSTED = """
    SELECT id, user_id, type, delta, debt_delta, balance_after, debt_after, version, reference, occasion, effective_at
    FROM entries WHERE company_id = %(company_id)s AND id = ANY (%(ids)s)
"""

_EXPIRE = "SELECT count(*) FROM expire_due_lots(100) WHERE points > 0 AND error IS NULL"


class Answer(NamedTuple):
    """What a one-trip use case answered."""

    status: int
    raw: bytes
    replayed: bool

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was answered
        return json.loads(self.raw)


class Tenant:
    """One company. Users are named by external ids and known by uuids."""

    def __init__(self, line: Mapping[str, str], as_role: AsRole, superuser: Connection) -> None:
        self.line = line
        self.id = UUID(hex=line["company"].removeprefix("cmp_"))
        self.superuser = superuser
        self._as_role = as_role
        self._connections: dict[str, Connection] = {}

    @classmethod
    def open(cls, opener: Connection, as_role: AsRole, superuser: Connection) -> Self:
        """A fresh test company, opened over a kept connection."""
        company = NewCompany(name="Test", livemode=False, destination_url="https://shop.example")
        with opener.pipeline():  # a third less work
            line = setup.write_company(opener, company, "http://localhost", TRUSTING)
        return cls(line, as_role, superuser)

    def twin(self) -> "Tenant":
        """The same company over connections of its own, for a client at the same time."""
        return Tenant(self.line, self._as_role, self.superuser)

    def patient_twin(self, role: str) -> "Tenant":
        """A twin that waits for locks as long as it takes, as that role."""
        twin = self.twin()
        twin.connection(role).execute("SET lock_timeout = 0")
        twin.connection(role).execute("SET statement_timeout = 0")
        return twin

    def connection(self, role: str) -> Connection:
        """The kept connection of a role, in autocommit."""
        if role not in self._connections:
            self._connections[role] = self._as_role(role)
        return self._connections[role]

    @contextmanager
    def transaction(self, role: str) -> Iterator[Connection]:
        """One transaction of a role, as `database.transact` runs it."""
        connection = self.connection(role)
        with connection.pipeline(), connection.transaction():
            yield connection

    def set_clock(self, now: datetime | None) -> None:
        """Set the company's clock, backwards too."""
        self.superuser.execute("UPDATE companies SET test_now = %s WHERE id = %s", (now, self.id))

    def set_time_zone(self, zone: str) -> None:
        """Move the company."""
        self.superuser.execute("UPDATE companies SET time_zone = %s WHERE id = %s", (zone, self.id))

    def add_user(self, external_id: str) -> UUID:
        """A user who came by themselves."""
        user_id = ids.new_id()
        self.superuser.execute(_ADD_USER, {"company_id": self.id, "id": user_id, "external_id": external_id})
        return user_id

    def add_option(
        self, *, cost: int, feature: str = "ai_calls", quantity: int = 1, days: int | None = None,
        stock: int | None = None, per_user_limit: int | None = None,
    ) -> UUID:  # fmt: skip
        """Quota that points can buy."""
        return self._offer(
            kind="quota", feature=feature, quantity=quantity, days=days, plan=None, cost=cost, stock=stock,
            per_user_limit=per_user_limit,
        )  # fmt: skip

    def add_unlock(self, *, cost: int, plan: str = "premium", days: int = 30, stock: int | None = None) -> UUID:
        """A plan that points can buy."""
        return self._offer(
            kind="unlock", feature=None, quantity=None, days=days, plan=plan, cost=cost, stock=stock,
            per_user_limit=None,
        )  # fmt: skip

    def add_reward(self, *, cost: int, stock: int | None = None, per_user_limit: int | None = None) -> UUID:
        """A reward that points can buy."""
        return self._offer(
            kind="reward", feature=None, quantity=None, days=None, plan=None, cost=cost, stock=stock,
            per_user_limit=per_user_limit,
        )  # fmt: skip

    def _offer(self, **option: object) -> UUID:
        option_id = ids.new_id()
        self.superuser.execute(_ADD_OPTION, {"company_id": self.id, "id": option_id, **option})
        return option_id

    def grant_for_ever(self, user_id: UUID, plan: str) -> None:
        """Give a user a plan by hand, without an end."""
        grant = Jsonb({"id": str(ids.new_id()), "plan_id": plan, "source": "admin", "reason": "x"})
        with self.transaction("admin") as connection:
            connection.execute("SELECT hold_grants(%s, %s)", (self.id, user_id))
            connection.execute("SELECT make_grant(%s, %s, %s, company_now(%s))", (self.id, user_id, grant, self.id))

    def post(self, *postings: dict[str, object], role: str = "app") -> list[dict[str, Any] | None]:
        """Book in one call. A posting gives user_id and points; the rest has defaults.

        The entry of each posting, in their order; None where there was nothing to take or to give back.
        """
        full = [
            {"type": "IMPORT", "reference": uuid4().hex, **each, "user_id": str(each["user_id"])} for each in postings
        ]
        connection = self.connection(role)
        ids_ = [id_ for (id_,) in connection.execute(_POST, {"company_id": self.id, "postings": Jsonb(full)})]
        cursor = connection.cursor(row_factory=dict_row).execute(_POSTED, {"company_id": self.id, "ids": ids_})
        posted = {row.pop("id"): row for row in cursor}
        return [posted.get(id_) for id_ in ids_]

    def adjust(
        self, external_id: str, points: int, *, expires_at: datetime | None = None, priority: int = 100,
        key: str | None = None,
    ) -> Answer:  # fmt: skip
        """Give points to a user, or take some."""
        adjustment = PointsAdjustment.model_construct(
            points=points, note="by hand", expires_at=expires_at, priority=priority
        )
        trip = self.trip(key or _key(), external_id, adjustment)
        kept = ledger.adjust(self.connection("admin"), trip, external_id, ids.new_id(), adjustment)
        return Answer(*kept)

    def redeem(self, external_id: str, option_id: UUID, quantity: int = 1, *, key: str | None = None) -> Answer:
        """Spend points."""
        new = NewRedemption(option_id=ids.public("opt", option_id), quantity=quantity)
        trip = self.trip(key or _key(), external_id, new)
        return Answer(*redemptions.redeem(self.connection("app"), trip, external_id, ids.new_id(), new))

    def refund(self, redemption_id: UUID, *, key: str | None = None) -> Answer:
        """Give the points of a redemption back."""
        trip = self.trip(key or _key(), redemption_id)
        return Answer(*redemptions.refund(self.connection("admin"), trip, redemption_id))

    def consume(self, external_id: str, feature: str, quantity: int = 1, *, key: str | None = None) -> Answer:
        """Use a feature."""
        wanted = Usage.model_construct(feature=feature, quantity=quantity)
        trip = self.trip(key, external_id, wanted)
        return Answer(*usage.consume(self.connection("app"), trip, external_id, ids.new_id(), wanted))

    def give_back(
        self, external_id: str, usage_id: str, quantity: int | None = None, *, key: str | None = None
    ) -> Answer:
        """Return a use."""
        wanted = UsageReturn.model_construct(quantity=quantity)
        trip = self.trip(key, external_id, usage_id, wanted)
        kept = usage.give_back(self.connection("app"), trip, external_id, usage_id, ids.new_id(), wanted)
        return Answer(*kept)

    def trip(self, key: str | None, *request: object) -> OneTrip:
        """A request of a one-trip use case; under one key, equal ones are one request."""
        return OneTrip(self.id, key, repr(request).encode() if key else None, "req")

    def book_expiry(self) -> None:
        """Run the job until it finds nothing more to book, in any company."""
        jobs = self.connection("jobs")
        while _only(jobs.execute(_EXPIRE).fetchall()) != (0,):
            pass

    def balance(self, external_id: str, as_of: datetime | None = None) -> Balance:
        """The balance that a user sees."""
        (balance,) = self.balances((external_id, as_of))
        return balance

    def balances(self, *users: tuple[str, datetime | None]) -> list[Balance]:
        """The balances that users see at some instants, all of them in one trip."""
        connection = self.connection("app")
        with connection.pipeline():
            asked = [balances.ask(connection, self.id, user, as_of) for user, as_of in users]
            return [read() for read in asked]

    def rows(self, query: LiteralString, **parameters: object) -> list[dict[str, Any]]:
        """Rows as nobody in production sees them; `%(company_id)s` is given."""
        cursor = self.superuser.cursor(row_factory=dict_row)
        return cursor.execute(query, {"company_id": self.id, **parameters}).fetchall()

    def wallet(self, user_id: UUID) -> dict[str, Any]:
        """The wallet's row."""
        (row,) = self.rows(
            "SELECT * FROM wallets WHERE company_id = %(company_id)s AND user_id = %(user_id)s", user_id=user_id
        )
        return row

    def entries(self, user_id: UUID) -> list[dict[str, Any]]:
        """The entries, oldest first."""
        return self.rows(
            "SELECT * FROM entries WHERE company_id = %(company_id)s AND user_id = %(user_id)s ORDER BY version",
            user_id=user_id,
        )

    def remaining(self, user_id: UUID) -> list[int]:
        """What is left in each lot, oldest lot first."""
        lots = self.rows(
            "SELECT remaining FROM lots WHERE company_id = %(company_id)s AND user_id = %(user_id)s ORDER BY id",
            user_id=user_id,
        )
        return [lot["remaining"] for lot in lots]

    def changes(self, user_id: UUID) -> list[tuple[str, int, int, int, int]]:
        """Each entry's type, delta, debt_delta, balance_after and debt_after, oldest first."""
        columns = ("type", "delta", "debt_delta", "balance_after", "debt_after")
        return [tuple(entry[column] for column in columns) for entry in self.entries(user_id)]

    def lots(self, user_id: UUID) -> list[tuple[int, int, datetime | None]]:
        """Amount, remaining and expiry of each lot, oldest first."""
        rows = self.rows(
            """
            SELECT amount, remaining, nullif(expires_at, 'infinity') AS expires_at FROM lots
            WHERE company_id = %(company_id)s AND user_id = %(user_id)s ORDER BY id
            """,
            user_id=user_id,
        )
        return [(row["amount"], row["remaining"], row["expires_at"]) for row in rows]

    def burned(self, user_id: UUID) -> list[tuple[int, int, int]]:
        """(version of the entry, amount of the lot, points taken from it), in the order of entries and lots."""
        rows = self.rows(
            """
            SELECT e.version, l.amount AS lot, a.amount FROM allocations a
            JOIN entries e ON e.company_id = a.company_id AND e.id = a.entry_id
            JOIN lots l ON l.company_id = a.company_id AND l.id = a.lot_id
            WHERE a.company_id = %(company_id)s AND e.user_id = %(user_id)s ORDER BY e.version, l.id
            """,
            user_id=user_id,
        )
        return [(row["version"], row["lot"], row["amount"]) for row in rows]

    def spendable(self, user_id: UUID) -> int:
        """What a user may spend now, by the function that reads use."""
        row = self.connection("app").execute("SELECT spendable(%s, %s, company_now(%s))", (self.id, user_id, self.id))
        return _only(row.fetchall())[0]


def _key() -> str:
    return uuid4().hex


def _only(rows: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever a row holds
    (row,) = rows
    return row


def amend(tenant: Tenant, program: Program) -> int:
    """A new version of the program; its number."""
    (row,) = tenant.rows(
        """
        INSERT INTO program_versions (company_id, version, program, created_at)
        SELECT company_id, max(version) + 1, %(program)s, max(created_at) FROM program_versions
        WHERE company_id = %(company_id)s GROUP BY company_id RETURNING version
        """,
        program=Jsonb(program.model_dump(mode="json", by_alias=True)),
    )
    return row["version"]
