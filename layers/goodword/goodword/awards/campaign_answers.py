"""Campaigns as clients see them: as they stand now, with how many referrals have joined."""

from typing import LiteralString
from uuid import UUID

from psycopg import Connection
from pydantic import Field, Json

from goodword.campaigns import campaigns
from goodword.campaigns.campaigns import CampaignChange, CampaignRules, CampaignStatus, NewCampaign, Prize
from goodword.core import ids, outbox, paging, query
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import CampaignId
from goodword.core.paging import Page, PageQuery


class Campaign(AnswerModel):
    """A campaign. `reserved_points` is how much of its `points_cap` is taken, null without one.

    `total_referrals` are all who have joined, cancelled ones too; `ranked_at` is when the final ranking was made and
    the prizes were paid.
    """

    id: CampaignId
    name: str
    description: str | None
    starts_at: Instant
    ends_at: Instant
    status: CampaignStatus
    rules: Json[CampaignRules]
    prizes: Json[list[Prize]]
    verification_days: int
    total_referrals: int
    reserved_points: int | None
    ranked_at: Instant | None
    created_at: Instant
    updated_at: Instant


class CampaignList(Page[Campaign]):
    """A page of campaigns, newest first."""


class CampaignQuery(PageQuery):
    """How GET /v1/campaigns is asked."""

    after: str | None = Field(default=None, pattern=r"^cam_[0-9a-f]{32}$")


_COLUMNS: LiteralString = """
    SELECT id, name, description, starts_at, ends_at,
        campaign_status(campaigns, company_now(campaigns.company_id)) AS status,
        jsonb_build_object('awards', awards, 'tiers', tiers, 'points_cap', points_cap, 'per_user_cap', per_user_cap
            )::text AS rules,
        prizes::text AS prizes, verification_days, (
            SELECT count(*) FROM referrals
            WHERE referrals.company_id = campaigns.company_id AND referrals.campaign_id = campaigns.id
        ) AS total_referrals,
        CASE WHEN points_cap IS NOT NULL THEN reserved_points END AS reserved_points, ranked_at, created_at, updated_at
    FROM campaigns WHERE company_id = %(company_id)s
"""

_ONE: LiteralString = f"{_COLUMNS} AND id = %(id)s"

_PAGE: LiteralString = f"""
    {_COLUMNS}
        AND (%(after)s::uuid IS NULL OR (created_at, id) < (
            SELECT created_at, id FROM campaigns WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
"""  # noqa: S608 - of constants

_IS_CAMPAIGN = "SELECT 1 FROM campaigns WHERE company_id = %(company_id)s AND id = %(after)s"


def create(connection: Connection, company_id: UUID, campaign_id: UUID, new: NewCampaign) -> Campaign:
    """Make a draft of a campaign."""
    campaigns.create(connection, company_id, campaign_id, new)
    return _announced(connection, company_id, campaign_id, "campaign.created", campaign_id)


def change(
    connection: Connection, company_id: UUID, campaign_id: UUID, event_id: UUID, wanted: CampaignChange
) -> Campaign:
    """Change a campaign, or say that it is active or archived. Raises as `campaigns.change`."""
    event = campaigns.change(connection, company_id, campaign_id, event_id, wanted)
    if event is None:
        return find(connection, company_id, campaign_id)
    return _announced(connection, company_id, campaign_id, event, event_id)


def find(connection: Connection, company_id: UUID, campaign_id: UUID) -> Campaign:
    """One campaign. Raises NotFound."""
    campaign = query.one(connection, Campaign, _ONE, company_id=company_id, id=campaign_id)
    if campaign is None:
        raise campaigns.unknown()
    return campaign


def listed(connection: Connection, company_id: UUID, page: CampaignQuery) -> CampaignList:
    """A page of the company's campaigns. Raises Refused for an `after` that is none of them."""
    values = {"company_id": company_id, "after": ids.parse("cam", page.after) if page.after else None}
    rows = query.every(connection, Campaign, _PAGE, **values, limit=page.limit)
    if page.after and not rows:
        paging.refuse_unknown(connection, _IS_CAMPAIGN, "is no campaign of this company", **values)
    return CampaignList.of(rows, page.limit)


def _announced(connection: Connection, company_id: UUID, campaign_id: UUID, event: str, event_id: UUID) -> Campaign:
    """A campaign as it has become, once the company's systems are told of it."""
    campaign = find(connection, company_id, campaign_id)
    free_text = {"name": True, "description": True, "rules": {"tiers"}}  # the feed has none
    data = campaign.model_dump(mode="json", exclude=free_text)
    outbox.announce(connection, company_id, [outbox.Event(event, data, event_id)], campaign.updated_at)
    return campaign
