"""Brings the schema up to date, invoked by the deploy; with {"open_company": {…}} it then opens a company.

Answers {"applied": [names]} and, for a new company, its id and its keys, which are shown this once.
"""

from collections.abc import Mapping

from goodword.accounts.companies import NewCompany
from goodword.core import database, faults, ids
from goodword.core.settings import settings
from goodword.migrations import migrate
from goodword.program import onboarding


def lambda_handler(event: Mapping[str, object], context: object) -> dict[str, object]:
    """Apply what is missing, and open a company if asked to."""
    with faults.without_values(job="migrate_database"):
        fields = event.get("open_company")
        company = None if fields is None else NewCompany.model_validate(fields)
        role_prefix = settings().database_user.removesuffix("_migrator")
        applied = database.once(migrate, role_prefix)
        return {"applied": applied} | ({} if company is None else _opened(company))


def _opened(company: NewCompany) -> dict[str, object]:
    opened = database.transact(onboarding.open_company, company)
    return {
        "company": ids.public("cmp", opened.id),
        "secret_key": opened.secret_key,
        "publishable_key": opened.publishable_key,
    }
