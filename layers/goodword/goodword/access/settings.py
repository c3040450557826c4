"""Settings: what a company decides once for all its users. They name plans, so they stand above accounts."""

from typing import Annotated, Any
from uuid import UUID

from psycopg import Connection
from pydantic import AfterValidator, Field

from goodword.access.plans import NO_PLAN, PlanId
from goodword.accounts import companies
from goodword.core import outbox
from goodword.core.errors import invalid_fields
from goodword.core.fields import UNCHANGED, AnswerModel, Destination, Domain, Instant, RequestModel, Text, given_fields

LONGEST_TRIAL_DAYS = 3650
MOST_DOMAINS = 1000

TrialDays = Annotated[int, Field(ge=0, le=LONGEST_TRIAL_DAYS)]


def _each_once(domains: list[str]) -> list[str]:
    return list(dict.fromkeys(domains))


Domains = Annotated[list[Domain], Field(max_length=MOST_DOMAINS), AfterValidator(_each_once)]


class SettingsChange(RequestModel):
    """The body of PATCH /v1/settings: what is left out stays. A trial of 0 days is none."""

    trial_duration_days: TrialDays = UNCHANGED
    trial_plan: PlanId = UNCHANGED
    post_trial_plan: PlanId = UNCHANGED
    require_email_verification: bool = UNCHANGED
    self_registration_enabled: bool = UNCHANGED
    require_invite: bool = UNCHANGED
    invite_email_must_match: bool = UNCHANGED
    destination_url: Destination = UNCHANGED
    whop_company_id: Text | None = None
    not_disposable_domains: Domains = UNCHANGED


class CompanySettings(AnswerModel):
    """All settings. `post_trial_plan` is the plan of whoever has no other; `disabled` gives nothing at all.

    E-mails of `not_disposable_domains`, and of domains below these, are never taken for disposable ones.
    """

    trial_duration_days: int
    trial_plan: str
    post_trial_plan: str
    require_email_verification: bool
    self_registration_enabled: bool
    require_invite: bool
    invite_email_must_match: bool
    destination_url: str
    whop_company_id: str | None
    not_disposable_domains: list[str]
    created_at: Instant
    updated_at: Instant


_PLANS = "SELECT id FROM plans WHERE company_id = %(company_id)s AND id = ANY (%(ids)s)"

# Where a plan is named, and what may be said instead of one.
_NAMES_A_PLAN: dict[str, set[str]] = {"trial_plan": set(), "post_trial_plan": {NO_PLAN}}


def read(connection: Connection, company_id: UUID) -> CompanySettings:
    """The settings in force."""
    return CompanySettings.model_validate(companies.settings(connection, company_id))


def change(connection: Connection, company_id: UUID, event_id: UUID, wanted: SettingsChange) -> CompanySettings:
    """Change settings, for what happens from now on. Raises Refused for a plan that is not there.

    A whop_company_id that another company has is a violated constraint, by name.
    """
    given = given_fields(wanted)
    if not given:
        return read(connection, company_id)
    _refuse_unknown_plans(connection, company_id, given)
    settings = CompanySettings.model_validate(companies.change_settings(connection, company_id, given))
    changed = outbox.Event("settings.updated", {"fields": sorted(given)}, event_id)
    outbox.announce(connection, company_id, [changed], settings.updated_at)
    return settings


def _refuse_unknown_plans(connection: Connection, company_id: UUID, given: dict[str, Any]) -> None:
    named = {
        name: given[name] for name, instead in _NAMES_A_PLAN.items() if name in given and given[name] not in instead
    }
    known = {plan_id for (plan_id,) in connection.execute(_PLANS, {"company_id": company_id, "ids": [*named.values()]})}
    if unknown := [(name, "is no plan of this company") for name, plan_id in named.items() if plan_id not in known]:
        raise invalid_fields(*unknown)
