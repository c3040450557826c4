"""Tellers: client processes that post straight on the database as the deployment's own roles, with no HTTP between.

Each carries out a plan of orders over a connection of its own per role. All of them begin at the same moment: they wait
at a lock which the test holds until everybody is there.
"""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from goodword.access import usage
from goodword.access.usage import Usage
from goodword.core import ids
from goodword.points import ledger, redemptions
from goodword.points.ledger import PointsAdjustment
from goodword.points.redemptions import NewRedemption, RewardDecision
from local.setup import Prepared
from tests.support.tenants import Tenant
from tests.support.waiting import wait_until_blocked

Rows = list[tuple[Any, ...]]

APPLICATION = "teller"
_GATE = 4_711

POST = "SELECT unnest(post_entries(%(company_id)s, %(postings)s)) AS entry_id"
EXPIRE = "SELECT points FROM expire_due_lots(500)"


class Order(NamedTuple):
    """One use case of one role. `what` names its effect: two orders of one name are the same order, sent twice.

    Everything that it is called with was made with the order, so that it may be sent to another process, and again.
    """

    what: str
    role: str
    work: Callable[..., Any]
    arguments: tuple[object, ...]

    def carry_out(self, connection: Connection) -> Rows:
        """The rows that are answered; a use case that answers by itself answers one."""
        answer = self.work(connection, *self.arguments)
        return answer if isinstance(answer, list) else [tuple(answer)]


def post(tenant: Tenant, what: str, *postings: Mapping[str, object]) -> Order:
    """Earnings, reversals and reinstatements, booked in one call; users are uuids."""
    full = [{**each, "user_id": str(each["user_id"])} for each in postings]
    return Order(what, "app", _post, (tenant.id, full))


def adjust(tenant: Tenant, key: str, user: str, points: int, expires_at: object = None) -> Order:
    """Points given to a user, or taken."""
    adjustment = PointsAdjustment.model_construct(points=points, note="by hand", expires_at=expires_at)
    return Order(key, "admin", ledger.adjust, (tenant.trip(key, user, adjustment), user, ids.new_id(), adjustment))


def redeem(tenant: Tenant, key: str, user: str, option: UUID) -> Order:
    """Points spent."""
    new = NewRedemption(option_id=ids.public("opt", option))
    return Order(key, "app", redemptions.redeem, (tenant.trip(key, user, new), user, ids.new_id(), new))


def refund(tenant: Tenant, key: str, redemption: UUID) -> Order:
    """The points of a redemption given back."""
    return Order(key, "admin", redemptions.refund, (tenant.trip(key, redemption), redemption))


def fail(tenant: Tenant, key: str, redemption: UUID) -> Order:
    """A reward that cannot be given."""
    decision = RewardDecision()
    trip = tenant.trip(key, redemption, decision)
    return Order(key, "admin", redemptions.fail, (trip, redemption, decision))


def consume(tenant: Tenant, key: str, user: str) -> Order:
    """One use of a feature."""
    wanted = Usage(feature="ai_calls")
    return Order(key, "app", usage.consume, (tenant.trip(key, user, wanted), user, ids.new_id(), wanted))


def expire() -> Order:
    """The job that books what has expired, of all companies."""
    return Order("expiry", "jobs", _expire, ())


def _post(connection: Connection, company_id: UUID, postings: Sequence[Mapping[str, object]]) -> Rows:
    return connection.execute(POST, {"company_id": company_id, "postings": Jsonb(postings)}).fetchall()


def _expire(connection: Connection) -> Rows:
    return connection.execute(EXPIRE).fetchall()


def url_of(prepared: Prepared, role: str) -> str:
    """Where a teller connects as a role."""
    return make_conninfo(
        host=prepared.parameters["DatabaseHost"],
        port=prepared.parameters["DatabasePort"],
        dbname=prepared.parameters["DatabaseName"],
        user=f"{prepared.parameters['DatabaseRolePrefix']}_{role}",
        passfile=prepared.environment["PGPASSFILE"],
        application_name=APPLICATION,
    )


def be_patient(connection: Connection) -> None:
    """Let a role wait as long as it takes: many clients on a busy machine are no fault."""
    connection.execute("SET lock_timeout = 0")
    connection.execute("SET statement_timeout = 0")


class Window:
    """A place where tellers work: the database, and the lock they begin at."""

    def __init__(self, prepared: Prepared, superuser: Connection) -> None:
        self._prepared = prepared
        self._superuser = superuser

    def serve(self, plans: Sequence[Sequence[Order]]) -> list[list[Rows]]:
        """Let one teller carry out each plan, all beginning at once; what each heard, in the order of its plan.

        A teller whose connection is lost in the middle of an order sends that order again. Any other fault is raised.
        """
        urls = {role: url_of(self._prepared, role) for role in {order.role for plan in plans for order in plan}}
        context = multiprocessing.get_context("forkserver")  # a fork of this process would share its connections
        context.set_forkserver_preload([__name__])
        with ProcessPoolExecutor(len(plans), context) as tellers:
            self._superuser.execute("SELECT pg_advisory_lock(%s)", (_GATE,))
            try:
                working = [tellers.submit(_carry_out, urls, list(plan)) for plan in plans]
                wait_until_blocked(self._superuser, clients=len(plans))
            finally:
                self._superuser.execute("SELECT pg_advisory_unlock(%s)", (_GATE,))
            return [each.result() for each in working]


def _carry_out(urls: Mapping[str, str], orders: Sequence[Order]) -> list[Rows]:
    tills = {role: _Till(url) for role, url in urls.items()}
    gate = tills[orders[0].role]
    gate.carry_out(Order("wait", orders[0].role, _wait, ()))
    heard = [tills[order.role].carry_out(order) for order in orders]
    for till in tills.values():
        till.close()
    return heard


def _wait(connection: Connection) -> Rows:
    connection.execute("SELECT pg_advisory_lock_shared(%(gate)s)", {"gate": _GATE})
    connection.execute("SELECT pg_advisory_unlock_shared(%(gate)s)", {"gate": _GATE})
    return []


class _Till:
    """One role's connection, made anew whenever it is lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    def carry_out(self, order: Order) -> Rows:
        while True:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(self._url, autocommit=True, prepare_threshold=None)
                    be_patient(self._connection)
                return order.carry_out(self._connection)
            except psycopg.OperationalError:
                if self._connection is not None and not self._connection.closed:
                    raise
                self._connection = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
