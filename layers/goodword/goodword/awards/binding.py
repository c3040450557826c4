"""Binding: the row of a referral is written once, under the terms that it keeps. Only `settlement` changes it."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from goodword.awards import engine
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
    touched_at: datetime
    registered_at: datetime
    trace: Mapping[str, object]


_BIND = """
    INSERT INTO referrals (company_id, id, referrer_id, referee_id, code_id, click_id, source, app_id, program_version,
        touched_at, registered_at, lapses_at, advances_at, trace, updated_at)
    VALUES (%(company_id)s, %(id)s, %(referrer_id)s, %(referee_id)s, %(code_id)s, %(click_id)s, %(source)s,
        %(app_id)s, %(program_version)s, %(touched_at)s, %(registered_at)s, %(lapses_at)s, %(lapses_at)s, %(trace)s,
        %(registered_at)s)
"""


def bind(connection: Connection, company_id: UUID, new: NewReferral, terms: Terms) -> None:
    """Write a new referral. Needs: the locks of the referee and, after a signup, of the company's bindings."""
    values = new._asdict() | {
        "company_id": company_id,
        "program_version": terms.version,
        "lapses_at": engine.lapses_at(terms.program, new.registered_at),
        "trace": Jsonb(to_jsonable_python(new.trace)),
    }
    connection.execute(_BIND, values)
