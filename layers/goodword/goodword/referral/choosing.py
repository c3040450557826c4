"""Choosing: the first valid candidate is screened, and wins unless that speaks too much against the person."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.fraud import screening
from goodword.fraud.evidence import Reach, ScreenedPerson
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

    `overrides`: somebody who may has decided that nothing found stands in the way.

    Somebody who is refused is not judged against a second referrer. The winner's use is counted where uses are capped,
    so it is to be bound. Locks: the code, where its uses are capped, and the registrations of the referrer.
    """
    winner, verdicts = candidates.choose(connection, company_id, judged, terms.at)
    if winner is None or winner.referrer is None or winner.code_id is None:
        return Chosen(None, verdicts)
    is_exempt = winner.campaign_id is not None or winner.source == "invite"
    bringer = Bringer(winner.referrer.id, winner.code_id, is_exempt)
    known = None
    if expected and (expected.code_id, expected.reach) == (winner.code_id, Reach.of(terms.program)):
        known = expected.evidence
    screened = screening.screen(connection, company_id, person, bringer, terms, known)
    if screened.refusal is not None and overrides:
        screened = screened.approved()
    if screened.refusal is None:
        return Chosen(winner, verdicts, screened)
    candidates.give_back(connection, company_id, winner)
    refused = [
        Verdict(verdict.candidate, screened.refusal) if verdict.candidate is winner else verdict for verdict in verdicts
    ]
    return Chosen(None, refused, screened)
