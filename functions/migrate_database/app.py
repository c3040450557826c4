"""Brings the schema up to date, invoked by the deploy; with {"open_company": {…}} it then opens a company.

Answers {"applied": [names]} and, for a new company, its id and its keys, which are shown this once.
"""

from collections.abc import Mapping

from goodword.accounts.companies import NewCompany
from goodword.core import database, ids
from goodword.core.settings import settings
from goodword.migrations import migrate
from goodword.referral import onboarding


def lambda_handler(event: Mapping[str, object], context: object) -> dict[str, object]:
    """Apply what is missing."""
    role_prefix = settings().database_user.removesuffix("_migrator")
    applied = database.once(lambda connection: migrate(connection, role_prefix))
    if "open_company" not in event:
        return {"applied": applied}
    company = NewCompany.model_validate(event["open_company"])
    opened = database.transact(lambda connection: onboarding.open_company(connection, company))
    return {
        "applied": applied,
        "company": ids.public("cmp", opened.id),
        "secret_key": opened.secret_key,
        "publishable_key": opened.publishable_key,
    }
