"""Choosing: the first valid candidate is screened, and wins unless that speaks too much against the person."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.fraud import screening
from goodword.fraud.evidence import ScreenedPerson
from goodword.fraud.screening import Bringer, Screened
from goodword.program.versions import Terms
from goodword.referral import candidates
from goodword.referral.attribution import Candidate, Verdict
from goodword.referral.expected import Expected


class Chosen(NamedTuple):
    """Who wins, with the verdicts on all candidates and what screening has come to, if there was anybody to screen."""

    winner: Candidate | None
    verdicts: list[Verdict]
    screened: Screened | None = None


def choose(
    connection: Connection, company_id: UUID, judged: Sequence[Verdict], person: ScreenedPerson, terms: Terms, *,
    expected: Expected | None = None, overrides: bool = False,
) -> Chosen:  # fmt: skip
    """Choose among judged candidates. What was `expected` is used where it came true.

    `overrides`: somebody who may has decided that nothing found stands in the way. Somebody who is refused is not
    judged against a second referrer. The winner's use is counted where uses are capped, so it is to be bound.

    Locks: the registrations of the referrer, and the code, where its uses are capped.
    """
    verdicts = list(judged)
    for position, (candidate, reason) in enumerate(judged):
        if reason is not None or candidate.referrer is None or candidate.code_id is None:
            continue
        is_exempt = candidate.campaign_id is not None or candidate.source == "invite"
        bringer = Bringer(candidate.referrer.id, candidate.code_id, is_exempt)
        known = expected.evidence_of(candidate.code_id, terms.program) if expected else None
        screened = screening.screen(connection, company_id, person, bringer, terms, known)
        if screened.refusal is not None and overrides:
            screened = screened.approved()
        if screened.refusal is not None:
            verdicts[position] = Verdict(candidate, screened.refusal)
            return Chosen(None, verdicts, screened)
        if candidates.use(connection, company_id, candidate, terms.at):
            return Chosen(candidate, verdicts, screened)
        verdicts[position] = Verdict(candidate, "code_used_up")
    return Chosen(None, verdicts)
