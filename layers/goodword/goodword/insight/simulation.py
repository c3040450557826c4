"""One referral under a draft of the program: what it would have been awarded, by the engine that awards.

Pure. What was decided on other people stays as it is stored: who was referred, rejections that are no cap's, how many
referrals counted. An award that is due under the draft just as it was under its own terms is what it was.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from goodword.awards import decisions, engine, tiers
from goodword.awards.caps import Headroom
from goodword.awards.decisions import BUDGET_EXHAUSTED, Decision
from goodword.awards.differences import REASONS_OF_PAYMENTS
from goodword.awards.due import AwardEvent, AwardKey, Due
from goodword.awards.known import KnownReferral
from goodword.awards.stored import StoredAward
from goodword.core import money
from goodword.program.document import Caps, Program

CountedBefore: TypeAlias = Callable[[UUID, datetime], int]
"""How many referrals of a referrer counted before an instant."""


class Span(NamedTuple):
    """From an instant on, until before another."""

    since: datetime
    until: datetime

    def holds(self, at: datetime) -> bool:
        """Whether an instant lies in it."""
        return self.since <= at < self.until


class Given(NamedTuple):
    """An award that was made, or would have been, at an instant whose day is that of `zone`, the referral's.

    `is_decided`: caps are not asked again.
    """

    event: AwardEvent
    user_id: UUID
    points: int
    reversed_points: int
    made_at: datetime
    zone: str
    is_decided: bool = True


def awarded(referral: KnownReferral, span: Span) -> list[Given]:
    """What was awarded on occasions of the span; not what was rejected."""
    given = [award for award in referral.awards if award.status != "rejected" and span.holds(award.due_at)]
    return [_as_stored(referral, award) for award in given]


def drafted(referral: KnownReferral, draft: Program, span: Span, counted_before: CountedBefore) -> Iterator[Given]:
    """What would have been awarded, under a draft that is what it is for this referral, its campaign included."""
    stored = {award.key: award for award in referral.awards}
    pinned = {due.key: due for due in referral.standing().due}
    drafts = {due.key: due for due in _standing(referral, draft, stored).due}
    for due in drafts.values():
        if span.holds(due.due_at) and (given := _given(referral, draft, due, pinned, stored, counted_before)):
            yield given
    for award in referral.awards:
        is_gone = award.key not in pinned and award.key not in drafts
        keeps_terms = getattr(draft.awards, award.event) == getattr(referral.program.awards, award.event)
        if is_gone and keeps_terms and award.status != "rejected" and span.holds(award.due_at):
            yield _as_stored(referral, award)


def _as_stored(referral: KnownReferral, award: StoredAward) -> Given:
    zone = referral.program.timezone
    return Given(award.event, award.user_id, award.points, award.reversed_points, award.created_at, zone)


def _standing(referral: KnownReferral, draft: Program, stored: Mapping[AwardKey, StoredAward]) -> engine.Standing:
    """What should stand under the draft. Retention counts as if the job had been there, unless it has not yet."""
    waits = any(due.event == "retained" and due.key not in stored for due in referral.standing(time_passes=True).due)
    return referral._replace(program=draft).standing(time_passes=not waits)


def _given(
    referral: KnownReferral, draft: Program, due: Due, pinned: Mapping[AwardKey, Due],
    stored: Mapping[AwardKey, StoredAward], counted_before: CountedBefore,
) -> Given | None:  # fmt: skip
    """The award for what is due under the draft; None where it earns nothing."""
    award = stored.get(due.key)
    if award is None and due.key in pinned:
        return None  # nobody has come by for it, or there was nobody to give it to
    known = award or _counterpart(due, stored)
    decision = _again(draft, due, known) if known else _anew(referral, draft, due, counted_before)
    if decision is None or due.reason or decision.rejected not in {None, BUDGET_EXHAUSTED}:
        return None
    keeps_caps = draft.caps == referral.program.caps
    if decision.rejected and (keeps_caps or _is_the_campaigns(referral)):
        return None
    is_decided = known is not None and keeps_caps  # the program's; those of a campaign are never asked again
    made_at = known.created_at if known else due.due_at
    if award and pinned.get(due.key) == due and award.multiplier_bps == decision.multiplier_bps:
        return _as_stored(referral, award)._replace(is_decided=is_decided)
    points = decision.points(due)
    left = 0 if referral.screening.risk == "rejected" else money.rounded(points * due.share)
    return Given(due.event, decision.user_id, points, points - left, made_at, referral.program.timezone, is_decided)


def _is_the_campaigns(referral: KnownReferral) -> bool:
    """Whether a campaign has a cap of its own, whose decision stays the campaign's."""
    caps = referral.campaign_caps
    return caps is not None and (caps.points is not None or caps.per_user_points is not None)


def _counterpart(due: Due, stored: Mapping[AwardKey, StoredAward]) -> StoredAward | None:
    """The award that was made on the same occasion where the draft names it otherwise: by a month, or by a payment."""
    same = (award for award in stored.values() if award.event == due.event and award.app_id == due.app_id)
    return next((award for award in same if due.payment_id and award.payment_id == due.payment_id), None)


def _again(draft: Program, due: Due, award: StoredAward) -> Decision:
    """The stored decision, with the tier that the draft has for as many counted referrals."""
    is_kept = award.status == "rejected" and award.reason not in REASONS_OF_PAYMENTS
    rejected = award.reason if is_kept else None
    if award.counted is None:
        return Decision(award.user_id, rejected=rejected)
    tier = tiers.of_award(draft, due.event, award.counted)
    return Decision(award.user_id, tier.multiplier_bps, tier.name, rejected, award.counted)


def _anew(referral: KnownReferral, draft: Program, due: Due, counted_before: CountedBefore) -> Decision | None:
    """A decision that was never taken. Caps are asked when all awards stand in their order."""
    own = referral.progress.qualified_at
    counted = counted_before(referral.people.referrer_id, due.due_at)
    is_in_it = referral.counts and own is not None and own < due.due_at
    people = referral.people._replace(others=counted - is_in_it)
    headroom = Headroom(Caps(), None, {}, referral.at, referral.today)
    return decisions.decide(draft, people, headroom, referral.screening.risk, due)
