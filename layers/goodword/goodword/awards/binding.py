"""Binding: the row of a referral is written once, under the terms that it keeps. Only `settlement` changes it."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.awards import engine
from goodword.awards.screenings import Screening
from goodword.core import query
from goodword.program.versions import Terms


class NewReferral(NamedTuple):
    """A pair to be bound, with what it was bound by. `touched_at`: when the click or the code was used."""

    id: UUID
    referrer_id: UUID
    referee_id: UUID
    code_id: UUID
    click_id: UUID | None
    source: str
    app_id: str | None
    campaign_id: UUID | None
    touched_at: datetime
    registered_at: datetime
    trace: Mapping[str, object]
    screening: Screening = Screening()


_BIND = "SELECT bind_referral(%(referral)s)"


def row(company_id: UUID, new: NewReferral, terms: Terms) -> dict[str, object]:
    """The row of a new referral, as the SQL function `bind_referral` writes it."""
    return {
        **new._asdict(),
        **new.screening.as_row(),
        "company_id": company_id,
        "program_version": terms.version,
        "lapses_at": engine.lapses_at(terms.program, new.registered_at),
    }


def bind(connection: Connection, company_id: UUID, new: NewReferral, terms: Terms) -> None:
    """Write a new referral. Needs: the locks of the referee and, after a signup, of the company's bindings."""
    query.do(connection, _BIND, referral=query.as_json(row(company_id, new, terms)))
