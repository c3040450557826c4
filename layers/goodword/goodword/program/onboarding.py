"""Opening a company: its keys, its first program, and the plans it begins with. Done by an operator, not by the API."""

from dataclasses import dataclass
from uuid import UUID

from psycopg import Connection

from goodword.access import catalogue
from goodword.accounts import api_keys, companies
from goodword.accounts.companies import NewCompany
from goodword.core import ids
from goodword.core.auth import Scope
from goodword.program import edits
from goodword.program.document import Program


@dataclass(frozen=True, slots=True)
class OpenedCompany:
    """A new company with its keys, which are shown this once."""

    id: UUID
    secret_key: str
    publishable_key: str


def open_company(connection: Connection, company: NewCompany, program: Program | None = None) -> OpenedCompany:
    """Write everything a company needs before its first request; its program is the default one unless it is given.

    `connection` is the migrator's.
    """
    company_id = ids.new_id()
    companies.insert(connection, company_id, company)
    edits.begin(connection, company_id, program or Program())
    catalogue.begin(connection, company_id)
    return OpenedCompany(
        company_id,
        secret_key=api_keys.create(connection, company_id, company.livemode, Scope.ADMIN),
        publishable_key=api_keys.create(connection, company_id, company.livemode, Scope.PUBLISHABLE),
    )
