"""Evidence asked for ahead: by whose code a person comes is mostly known beforehand, by what they bring.

It travels with the look at them and costs no wait of its own. How far a company's signals look is not known before the
answer; it is taken to be what it was at the last signup in this process. Where the winner is another or it has changed,
what was asked for is of no use, and screening asks again.

Asking locks the registrations of the code's owner, ahead of the choice. So it is asked only of what hardly ever loses:
otherwise the winner's are locked besides, and two signups that expect each other's winner wait for one another.
"""

from typing import LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import ids, query
from goodword.core.query import Later
from goodword.fraud import evidence
from goodword.fraud.evidence import LOOKED_FOR, Evidence, Reach, ScreenedPerson
from goodword.program.document import Program

MOST_COMPANIES = 1000


class Expected(NamedTuple):
    """What is known beside a person, if they come by this code, and signals look as far as this program's."""

    code_id: UUID
    program: Program
    reach: Reach
    evidence: Evidence

    def evidence_of(self, code_id: UUID, program: Program) -> Evidence | None:
        """The evidence, if it is this code and signals look as far as was expected."""
        is_far_enough = self.program is program or self.reach == Reach.of(program)
        return self.evidence if self.code_id == code_id and is_far_enough else None


# Nobody is screened, and nothing locked, of whom something is known: what is theirs is held first then.
_BY_CODE: LiteralString = f"""
    SELECT codes.id AS code_id, known.* FROM codes
    CROSS JOIN LATERAL fraud_evidence(%(company_id)s, codes.user_id, codes.id, {LOOKED_FOR}, NULL) AS known
    WHERE codes.company_id = %(company_id)s AND codes.code = %(code)s
        AND codes.active AND codes.expires_at IS NULL AND codes.uses < coalesce(codes.max_uses, codes.uses + 1)
        AND current_setting('goodword.holds_newcomer', true) = 'on'
"""  # noqa: S608 - of constants

_BY_CLICK: LiteralString = f"""
    SELECT codes.id AS code_id, known.* FROM codes
    CROSS JOIN LATERAL fraud_evidence(%(company_id)s, codes.user_id, codes.id, {LOOKED_FOR}, NULL) AS known
    WHERE codes.company_id = %(company_id)s AND codes.uses < coalesce(codes.max_uses, codes.uses + 1) AND codes.id = (
            SELECT code_id FROM clicks WHERE company_id = %(company_id)s
                AND received_at = (SELECT %(given_at)s::timestamptz) AND id = %(click_id)s AND previous_id IS NULL)
        AND current_setting('goodword.holds_newcomer', true) = 'on'
"""  # noqa: S608 - of constants

_known: dict[UUID, tuple[Program, Reach]] = {}


def learn(company_id: UUID, program: Program) -> None:
    """Remember how far a company's signals look. A version of a program is one object in a process (`versions`)."""
    known = _known.get(company_id)
    if known is None or known[0] is not program:
        if len(_known) >= MOST_COMPANIES:
            _known.clear()
        _known[company_id] = program, Reach.of(program)


def ask(
    connection: Connection, company_id: UUID, person: ScreenedPerson, code: str | None, click_id: str | None
) -> Later[Expected | None]:
    """Ask for what is known beside a person who brings a code, or else a click, as `typed` reads them.

    Locks: the registrations of the owner, where the person is held alone.
    """
    if company_id not in _known:
        return lambda: None
    program, reach = _known[company_id]

    def expected(code_id: UUID, **known: object) -> Expected:
        return Expected(code_id, program, reach, Evidence(**known))  # pyright: ignore[reportArgumentType] - its columns

    looked_for = evidence.parameters(person, reach)
    if code is not None:
        return query.one_later(connection, expected, _BY_CODE, company_id=company_id, code=code, **looked_for)
    click = ids.parse("clk", click_id) if click_id else None
    if click is None or not ids.is_in_time(click):
        return lambda: None
    given_at = ids.time_of(click)
    return query.one_later(
        connection, expected, _BY_CLICK, company_id=company_id, click_id=click, given_at=given_at, **looked_for
    )
