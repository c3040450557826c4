"""The frame of scheduled work: lease, batches, deadline, summary.

A job is a function that does one batch in one transaction and says what became of it. The frame calls it until there
is nothing left or the time is nearly up, commits each batch, sets aside what cannot be done, and writes one row about
the run. A run that is killed, late, doubled or concurrent changes nothing: what a batch has committed is done, and the
next run finds what is left.

A job that waits for others on the network must not do so inside a transaction: it goes in steps, which make their own.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.types.json import Jsonb

from goodword.core import clock, database, faults, ids
from goodword.core.errors import Unavailable
from goodword.core.observability import logger

MARGIN_SECONDS = 15
"""How long before the function's end no further batch is begun."""

STEP_MARGIN_SECONDS = 75
"""The same for steps, which may wait for somebody else."""

LEASE_SECONDS = 90
"""How long a run keeps others out after its latest batch; longer than any one batch, or step, may take."""


class Context(Protocol):
    """What a job needs of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is stopped."""
        ...


class Setback(NamedTuple):
    """An item that could not be done, and why (a code, never data)."""

    company_id: UUID
    item: str
    error: str


class Batch(NamedTuple):
    """What one batch did: counts by name, what was set aside, and whether there may be more."""

    counts: Mapping[str, int]
    more: bool
    setbacks: Sequence[Setback] = ()


def attempt(connection: Connection, work: Callable[..., None], *args: object) -> str | None:
    """Do a part of a batch; the error that stood in the way, and then nothing of it is done.

    A fault that passes is raised: the whole batch is tried again.
    """
    try:
        with connection.transaction():
            work(connection, *args)
    except psycopg.Error as fault:
        if fault.sqlstate is None or fault.sqlstate in database.TRANSIENT:
            raise
        return fault.sqlstate
    except ValueError as fault:
        return type(fault).__name__
    return None


def batch_of_users(counted: str, sum_of: str, rows: Sequence[tuple[UUID, UUID, int, str | None]]) -> Batch:
    """What was done for users, by a row for each: company, user, how much, and why it could not be done."""
    return Batch(
        counts={
            counted: sum(error is None for *_, error in rows),
            sum_of: sum(amount for _, _, amount, error in rows if error is None),
        },
        more=bool(rows),
        setbacks=[
            Setback(company_id, ids.public("usr", user_id), error)
            for company_id, user_id, _, error in rows
            if error is not None
        ],
    )


@dataclass
class Summary:
    """What a run did. `complete` is false when time ran out first."""

    job: str
    batches: int = 0
    counts: dict[str, int] = field(default_factory=dict[str, int])
    set_aside: list[str] = field(default_factory=list[str])
    complete: bool = True
    skipped: str | None = None

    def add(self, batch: Batch) -> None:
        """Count a batch in."""
        self.batches += 1
        for name, count in batch.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self.set_aside += [f"{setback.item}: {setback.error}" for setback in batch.setbacks]

    def as_answer(self) -> dict[str, object]:
        """The function's result."""
        return {
            "job": self.job,
            "batches": self.batches,
            **self.counts,
            "set_aside": self.set_aside,
            "complete": self.complete,
            "skipped": self.skipped,
        }


_TAKE_LEASE = """
    INSERT INTO job_leases AS lease (job, holder, held_until)
    VALUES (%(job)s, %(holder)s, clock_timestamp() + %(length)s)
    ON CONFLICT ON CONSTRAINT job_leases_pk DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
        WHERE lease.held_until < clock_timestamp() OR lease.holder = excluded.holder
    RETURNING holder
"""
_GIVE_LEASE_BACK = "DELETE FROM job_leases WHERE job = %(job)s AND holder = %(holder)s"
_RECORD_RUN = """
    INSERT INTO job_runs (job, id, started_at, finished_at, summary)
    VALUES (%(job)s, %(id)s, %(started_at)s, clock_timestamp(), %(summary)s)
    ON CONFLICT ON CONSTRAINT job_runs_pk DO NOTHING
"""
# a minute, then ever more rarely, up to a day
_SET_ASIDE = """
    INSERT INTO job_setbacks AS known (company_id, job, item, error, next_attempt_at)
    VALUES (%(company_id)s, %(job)s, %(item)s, %(error)s, clock_timestamp() + interval '1 minute')
    ON CONFLICT ON CONSTRAINT job_setbacks_pk DO UPDATE SET error = excluded.error, attempts = known.attempts + 1,
        next_attempt_at = clock_timestamp()
            + least(interval '1 minute' * 2 ^ least(known.attempts, 12), interval '1 day')
"""


def run(job: str, context: Context, batch: Callable[[Connection], Batch]) -> dict[str, object]:
    """Run a job to its end or to its deadline; the function's result. Raises Fault, which has been logged."""
    return _run(job, context, MARGIN_SECONDS, lambda lease: database.transact(_one, job, batch, lease))


def together(*batches: Callable[[Connection], Batch]) -> Callable[[Connection], Batch]:
    """One batch of each, in one transaction, until none of them has more."""

    def all_of_them(connection: Connection) -> Batch:
        done = [batch(connection) for batch in batches]
        counts = {name: count for each in done for name, count in each.counts.items()}
        setbacks = [setback for each in done for setback in each.setbacks]
        return Batch(counts, any(each.more for each in done), setbacks)

    return all_of_them


def in_turn(*batches: Callable[[Connection], Batch]) -> Callable[[Connection], Batch]:
    """A batch of the first that has something to do: each in a transaction without the others' locks."""

    def first_of_them(connection: Connection) -> Batch:
        counts: dict[str, int] = {}
        for batch in batches:
            done = batch(connection)
            counts |= done.counts
            if done.more:
                return done._replace(counts=counts)
        return Batch(counts, more=False)

    return first_of_them


def run_steps(job: str, context: Context, steps: Iterator[Batch]) -> dict[str, object]:
    """The same for a job that goes in steps."""

    def step(lease: Mapping[str, object]) -> Batch:
        database.once(_take_lease, lease)
        return next(steps, Batch(counts={}, more=False))

    return _run(job, context, STEP_MARGIN_SECONDS, step)


def _run(job: str, context: Context, margin: int, once: Callable[[Mapping[str, object]], Batch]) -> dict[str, object]:
    with faults.without_values(job=job):
        return _run_under_lease(job, context, margin, once)


def _run_under_lease(
    job: str, context: Context, margin: int, once: Callable[[Mapping[str, object]], Batch]
) -> dict[str, object]:
    run_id, started_at = ids.new_id(), clock.real_now()
    summary = Summary(job)
    lease = {"job": job, "holder": run_id, "length": timedelta(seconds=LEASE_SECONDS)}
    if not database.once(_take_lease, lease):
        summary.skipped = "another run holds the lease"
        return summary.as_answer()
    try:
        _work(summary, context, margin, lambda: once(lease))
    finally:
        with suppress(Unavailable):  # it ends by itself, and must not hide why the run has failed
            database.once(_give_lease_back, lease)
    database.once(_record, run_id, started_at, summary)
    logger.info("job finished", extra=summary.as_answer())
    return summary.as_answer()


def _work(summary: Summary, context: Context, margin: int, once: Callable[[], Batch]) -> None:
    more = True
    while more:
        if context.get_remaining_time_in_millis() < margin * 1000:
            summary.complete = False
            return
        began = time.perf_counter()
        done = once()
        summary.add(done)
        more = done.more
        logger.info(
            "batch done",
            extra={"job": summary.job, "batch": summary.batches, "seconds": round(time.perf_counter() - began, 3)}
            | dict(done.counts),
        )


def _take_lease(connection: Connection, lease: Mapping[str, object]) -> bool:
    """Whether the lease is this run's, for another while."""
    return connection.execute(_TAKE_LEASE, lease).fetchone() is not None


def _give_lease_back(connection: Connection, lease: Mapping[str, object]) -> None:
    connection.execute(_GIVE_LEASE_BACK, lease)


def _one(connection: Connection, job: str, batch: Callable[[Connection], Batch], lease: Mapping[str, object]) -> Batch:
    connection.execute(_TAKE_LEASE, lease)
    done = batch(connection)
    for setback in done.setbacks:
        connection.execute(
            _SET_ASIDE,
            {"company_id": setback.company_id, "job": job, "item": setback.item, "error": setback.error},
        )
    return done


def _record(connection: Connection, run_id: UUID, started_at: datetime, summary: Summary) -> None:
    connection.execute(
        _RECORD_RUN,
        {"job": summary.job, "id": run_id, "started_at": started_at, "summary": Jsonb(summary.as_answer())},
    )
