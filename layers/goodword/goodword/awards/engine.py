"""The award engine: from the SET of facts known about a referral to what should stand.

Pure. The engine knows neither the order in which facts arrived nor how often: settlement locks a referral, asks here
what should stand by all of its facts, and books the difference (docs/rules.md, Facts in any order). What depends on
other people is left to `decisions`. The engine's sources are docs/rules.md, Stages, Awards, and Payments.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from goodword.awards.due import AwardEvent, AwardRecipient, Due, hold_until
from goodword.awards.history import Facts, Payment, Use
from goodword.awards.paid import Paid
from goodword.program.document import AwardTerms, Program

Stage = Literal["registered", "activated", "qualified", "retained", "expired", "cancelled"]


class Progress(NamedTuple):
    """How far a referral has come: what settlement writes into its row."""

    stage: Stage
    activated_at: datetime | None
    qualified_at: datetime | None
    retained_at: datetime | None
    expired_at: datetime | None
    next_at: datetime | None


class Standing(NamedTuple):
    """What should stand: the stage, when it was reached, and every award that is due.

    `disputed` says that money behind the referral is in dispute; `first_paid_at` is when the first payment that counts
    was made, and `used` whether an app is known to have been used. `next_at` is when all this may change by itself,
    which may have passed where a job has not come by yet.
    """

    stage: Stage
    activated_at: datetime | None = None
    qualified_at: datetime | None = None
    retained_at: datetime | None = None
    expired_at: datetime | None = None
    disputed: bool = False
    first_paid_at: datetime | None = None
    used: bool = False
    next_at: datetime | None = None
    due: tuple[Due, ...] = ()

    @property
    def progress(self) -> Progress:
        """How far the referral has come."""
        return Progress(
            self.stage, self.activated_at, self.qualified_at, self.retained_at, self.expired_at, self.next_at
        )


class Counting(NamedTuple):
    """The facts that count: uses with when each takes effect, those that have by now, and payments, the first first."""

    uses: Sequence[tuple[Use, datetime]]
    effective: Sequence[tuple[Use, datetime]]
    paid: Sequence[Payment]


def lapses_at(program: Program, registered_at: datetime) -> datetime:
    """When a referral that nothing happened to expires."""
    return registered_at + timedelta(days=program.timing.pending_expiry_days)


def standing(program: Program, facts: Facts, at: datetime, *, processed_at: datetime | None = None) -> Standing:
    """What should stand at `at`, whatever order the facts came in.

    A retention comes into being only where the job has come by after its due time: `processed_at` is when it did last.
    """
    lapse = lapses_at(program, facts.registered_at)
    uses, effective, payments = counting(program, facts, at)
    paid = Paid(program, facts, payments)
    retention = paid.retention()
    is_retained = retention is not None and processed_at is not None and retention.due_at <= processed_at
    has_begun = bool(payments or effective)
    is_expired = not has_begun and at >= lapse
    due = [
        _fixed(program, "registered", "referrer", facts.registered_at),
        _fixed(program, "welcome", "referee", facts.registered_at),
        *_for_uses(program, facts, effective),
        *paid.due(),
    ]
    instants = [effective_at for _, effective_at in uses if effective_at > at]
    if not has_begun and not is_expired:
        instants.append(lapse)
    if retention and is_retained:
        due.append(paid.due_for(retention))
    elif retention:
        instants.append(retention.due_at)
    return Standing(
        stage=_stage(
            expired=is_expired,
            cancelled=paid.cancelled,
            retained=is_retained,
            qualified=bool(payments),
            activated=bool(effective),
        ),
        activated_at=effective[0][1] if effective else None,
        qualified_at=paid.qualified_at,
        retained_at=retention.due_at if retention and is_retained else None,
        expired_at=lapse if is_expired else None,
        disputed=paid.disputed,
        first_paid_at=payments[0].paid_at if payments else None,
        used=bool(uses),
        next_at=min(instants, default=None),
        due=tuple(each for each in due if each and (each.base_points > 0 or each.reason)),
    )


def _stage(*, expired: bool, cancelled: bool, retained: bool, qualified: bool, activated: bool) -> Stage:
    if expired:
        return "expired"
    if cancelled:
        return "cancelled"
    if retained:
        return "retained"
    return "qualified" if qualified else "activated" if activated else "registered"


def counts_from(program: Program, facts: Facts) -> datetime:
    """From when on payments count: the touch, or before it by no more than the attribution window."""
    return facts.touched_at - timedelta(days=program.attribution.window_days)


def counting(program: Program, facts: Facts, at: datetime) -> Counting:
    """What counts at `at`. Where nothing does before the referral expires, nothing that comes later does."""
    lapse = lapses_at(program, facts.registered_at)
    oldest = counts_from(program, facts)
    uses = first_uses(program, facts)
    effective = [use for use in uses if use[1] <= at]
    paid = sorted(
        (payment for payment in facts.payments if payment.paid_at >= oldest),
        key=lambda payment: (payment.paid_at, payment.key),
    )
    moments = [*(payment.paid_at for payment in paid[:1]), *(effective_at for _, effective_at in effective[:1])]
    if not moments or min(moments) >= lapse:
        return Counting([use for use in uses if use[1] < lapse], [], [])
    return Counting(uses, effective, paid)


def first_uses(program: Program, facts: Facts) -> list[tuple[Use, datetime]]:
    """Every first use of an app, with when it takes effect: too early a use counts when the minimum has passed."""
    earliest = facts.registered_at + timedelta(minutes=program.timing.activation_min_minutes)
    uses = sorted(facts.uses, key=lambda use: (use.occurred_at, use.app_id))
    return [(use, max(use.occurred_at, earliest)) for use in uses]


def _for_uses(program: Program, facts: Facts, uses: Sequence[tuple[Use, datetime]]) -> Iterable[Due | None]:
    """The first use activates; the first use of each further app is worth its own award."""
    for number, (use, effective_at) in enumerate(uses):
        trace = {"app_id": use.app_id or None, "occurred_at": use.occurred_at, "effective_at": effective_at}
        if number == 0:
            yield _fixed(program, "activated", "referrer", effective_at, trace)
            continue
        if use.app_id in {"", facts.app_id, uses[0][0].app_id}:
            continue
        if program.apps is None or use.app_id in program.apps:
            yield _fixed(program, "cross_app", "referrer", effective_at, trace, app_id=use.app_id)


def _fixed(
    program: Program,
    event: AwardEvent,
    recipient: AwardRecipient,
    due_at: datetime,
    trace: Mapping[str, object] | None = None,
    app_id: str = "",
) -> Due | None:
    terms: AwardTerms = getattr(program.awards, event)
    if terms.points is None:
        return None  # a program takes no percentage where no money comes with the event
    trace = {"points": terms.points, **(trace or {})}
    return Due(event, recipient, terms.points, due_at, trace, app_id=app_id, hold_until=hold_until(terms, due_at))
