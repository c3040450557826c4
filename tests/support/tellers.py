"""Tellers: client processes that post straight on the database as the deployment's own roles, with no HTTP between.

Each carries out a plan of orders over a connection of its own per role. All of them begin at the same moment: they wait
at a lock which the test holds until everybody is there.
"""

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from goodword.access import entitlements
from goodword.core import ids
from goodword.points import ledger, redemptions
from local.setup import Prepared
from tests.support.tenants import Tenant
from tests.support.waiting import wait_until_blocked

APPLICATION = "teller"
_GATE = 4_711

POST = "SELECT entry_id FROM post_entries(%(company_id)s, %(postings)s) ORDER BY posting"
EXPIRE = "SELECT points FROM expire_due_lots(500)"

Rows = list[tuple[Any, ...]]


class Order(NamedTuple):
    """One statement of one role. `what` names its effect: two orders of one name are the same order, sent twice."""

    what: str
    role: str
    statement: LiteralString
    parameters: Mapping[str, object]


def post(tenant: Tenant, what: str, *postings: Mapping[str, object]) -> Order:
    """Earnings, reversals and reinstatements, booked in one call; users are uuids."""
    full = [{**each, "user_id": str(each["user_id"])} for each in postings]
    return Order(what, "app", POST, {"company_id": tenant.id, "postings": Jsonb(full)})


def adjust(tenant: Tenant, key: str, user: str, points: int, expires_at: object = None) -> Order:
    """Points given to a user, or taken."""
    own = {"user_id": user, "points": points, "note": "by hand", "expires_at": expires_at, "priority": 100}
    return _one_trip(tenant, key, "admin", ledger.ADJUST, own, {"adjustment": ids.public("adj", ids.new_id())})


def redeem(tenant: Tenant, key: str, user: str, option: UUID) -> Order:
    """Points spent."""
    own = {"user_id": user, "option": option, "quantity": 1}
    return _one_trip(tenant, key, "app", redemptions.REDEEM, own, {"redemption": ids.new_id()})


def refund(tenant: Tenant, key: str, redemption: UUID) -> Order:
    """The points of a redemption given back."""
    return _one_trip(tenant, key, "admin", redemptions.REFUND, {"redemption": redemption}, {})


def consume(tenant: Tenant, key: str, user: str) -> Order:
    """One use of a feature."""
    own = {"user_id": user, "feature": "ai_calls", "quantity": 1}
    return _one_trip(tenant, key, "app", entitlements.CONSUME, own, {"usage": ids.new_id()})


def expire(tenant: Tenant) -> Order:
    """The job that books what has expired, of all companies."""
    return Order("expiry", "jobs", EXPIRE, {"company_id": tenant.id})


def _one_trip(
    tenant: Tenant, key: str, role: str, statement: LiteralString, own: Mapping[str, object], made: Mapping[str, object]
) -> Order:
    common = {
        "company_id": tenant.id, "key": key, "hash": repr(own).encode(), "request_id": "req",
        "outbox_id": ids.new_id(), "activity_id": ids.new_id(),
    }  # fmt: skip
    return Order(key, role, statement, {**common, **own, **made})


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
    gate.execute("SELECT pg_advisory_lock_shared(%(gate)s)", {"gate": _GATE})
    gate.execute("SELECT pg_advisory_unlock_shared(%(gate)s)", {"gate": _GATE})
    heard = [tills[order.role].execute(order.statement, order.parameters) for order in orders]
    for till in tills.values():
        till.close()
    return heard


class _Till:
    """One role's connection, made anew whenever it is lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    def execute(self, statement: LiteralString, parameters: Mapping[str, object]) -> Rows:
        while True:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(self._url, autocommit=True, prepare_threshold=None)
                    be_patient(self._connection)
                return self._connection.execute(statement, parameters).fetchall()
            except psycopg.OperationalError:
                if self._connection is not None and not self._connection.closed:
                    raise
                self._connection = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
