"""Campaigns: what may be asked of one, what of it may change until when, and its row.

A draft may change in all. What its referrals earn, and since when, stays from the first of them on; how much and for
how long, until the end (docs/rules.md, Campaigns). Its answer, which counts who has joined, is `campaign_answers`' of
the awards.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from goodword.campaigns.terms import CampaignAwards
from goodword.core.errors import Conflict, NotFound, invalid_fields
from goodword.core.fields import MOST_AT_ONCE, UNCHANGED, GivenInstant, LongText, RequestModel, Text, given_fields
from goodword.program.document import Tiers

CampaignStatus = Literal["draft", "active", "ended", "archived"]

MOST_PRIZES = 100
LAST_RANK = 10_000
"""The last rank that can win: all prizes of a campaign are paid in one transaction."""

Rank = Annotated[int, Field(ge=1, le=LAST_RANK)]
PrizePoints = Annotated[int, Field(ge=1, le=1_000_000_000)]
CapPoints = Annotated[int, Field(ge=1, le=MOST_AT_ONCE)]
VerificationDays = Annotated[int, Field(ge=0, le=90)]


class Prize(RequestModel):
    """Points for everybody on the ranks of a range, both ends included."""

    rank_from: Rank
    rank_to: Rank
    points: PrizePoints

    @field_validator("rank_to")
    @classmethod
    def _in_order(cls, rank_to: int, info: ValidationInfo) -> int:
        if rank_to < info.data.get("rank_from", rank_to):
            raise ValueError("must not be lower than rank_from")
        return rank_to


def _apart(prizes: list[Prize]) -> list[Prize]:
    in_order = sorted(prizes, key=lambda prize: prize.rank_from)
    if any(higher.rank_to >= lower.rank_from for higher, lower in pairwise(in_order)):
        raise ValueError("must not give two prizes to one rank")
    return prizes


Prizes = Annotated[list[Prize], Field(max_length=MOST_PRIZES), AfterValidator(_apart)]


class CampaignRules(RequestModel):
    """What a campaign says in place of the program, and the most points that its referrals earn in all and anybody."""

    awards: CampaignAwards | None = None
    tiers: Tiers | None = None
    points_cap: CapPoints | None = None
    per_user_cap: CapPoints | None = None


class NewCampaign(RequestModel):
    """The body of POST /v1/campaigns. It is a draft until it is said to be active."""

    name: Text
    description: LongText | None = None
    starts_at: GivenInstant
    ends_at: GivenInstant
    rules: CampaignRules = Field(default_factory=CampaignRules)
    prizes: Prizes = Field(default_factory=list[Prize])
    verification_days: VerificationDays = 0

    @field_validator("ends_at")
    @classmethod
    def _after_its_start(cls, ends_at: datetime, info: ValidationInfo) -> datetime:
        starts_at: datetime | None = info.data.get("starts_at")
        if starts_at is not None and ends_at <= starts_at:
            raise ValueError("must be later than starts_at")
        return ends_at


class CampaignChange(RequestModel):
    """The body of PATCH /v1/campaigns/{id}: what is left out stays, inside `rules` too; `prizes` are all there are."""

    name: Text = UNCHANGED
    description: LongText | None = None
    starts_at: GivenInstant = UNCHANGED
    ends_at: GivenInstant = UNCHANGED
    status: CampaignStatus = UNCHANGED
    rules: CampaignRules = UNCHANGED
    prizes: Prizes = UNCHANGED
    verification_days: VerificationDays = UNCHANGED


Fields = dict[str, Any]
"""Columns of a campaign by their names, as the database takes and gives them."""

CampaignEvent = Literal["campaign.updated", "campaign.activated", "campaign.archived"]

_OF_A_DRAFT = {"starts_at", "awards", "tiers"}
_UNTIL_THE_END = {"ends_at", "points_cap", "per_user_cap", "prizes", "verification_days"}
_JSON = ("awards", "tiers", "prizes")

# The id was made before the first attempt: an attempt repeated after a lost connection finds its own row.
_INSERT = """
    INSERT INTO campaigns (company_id, id, name, description, starts_at, ends_at, awards, tiers, points_cap,
        per_user_cap, prizes, verification_days, created_at, updated_at)
    SELECT %(company_id)s, %(id)s, %(name)s, %(description)s, %(starts_at)s, %(ends_at)s, %(awards)s, %(tiers)s,
        %(points_cap)s, %(per_user_cap)s, %(prizes)s, %(verification_days)s, now, now
    FROM (SELECT company_now(%(company_id)s) AS now OFFSET 0) AS clock
    ON CONFLICT ON CONSTRAINT campaigns_pk DO NOTHING
"""

_HOLD = """
    SELECT name, description, starts_at, ends_at, awards, tiers, points_cap, per_user_cap, prizes, verification_days,
        activated_at, archived_at, change_id, now, campaign_status(campaigns, now) AS status
    FROM campaigns CROSS JOIN LATERAL (SELECT company_now(campaigns.company_id) AS now OFFSET 0) AS clock
    WHERE company_id = %(company_id)s AND id = %(id)s FOR NO KEY UPDATE OF campaigns
"""

# Whoever joins or earns while there is no cap holds the campaign shared (reserve_in_campaign), and is waited for.
_HOLD_ALONE = "SELECT FROM campaigns WHERE company_id = %(company_id)s AND id = %(id)s FOR UPDATE"

# A statement of its own, after the campaign is held: it sees all that was reserved while there was no cap.
_CHANGE = """
    UPDATE campaigns SET name = %(name)s, description = %(description)s, starts_at = %(starts_at)s,
        ends_at = %(ends_at)s, awards = %(awards)s, tiers = %(tiers)s, points_cap = %(points_cap)s,
        per_user_cap = %(per_user_cap)s, prizes = %(prizes)s, verification_days = %(verification_days)s,
        activated_at = %(activated_at)s, archived_at = %(archived_at)s, change_id = %(change_id)s, updated_at = %(now)s,
        reserved_points = CASE WHEN %(counts_anew)s THEN coalesce((
            SELECT sum(reserved) FROM scores WHERE scores.company_id = campaigns.company_id
                AND board = campaigns.id::text), 0) ELSE reserved_points END
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

_EXISTS = "SELECT 1 FROM campaigns WHERE company_id = %(company_id)s AND id = %(id)s"


def create(connection: Connection, company_id: UUID, campaign_id: UUID, new: NewCampaign) -> None:
    """Write a new draft."""
    columns = _columns({name: getattr(new, name) for name in NewCampaign.model_fields}, CampaignRules.model_fields)
    connection.execute(_INSERT, _as_parameters(columns) | {"company_id": company_id, "id": campaign_id})


def change(
    connection: Connection, company_id: UUID, campaign_id: UUID, change_id: UUID, wanted: CampaignChange
) -> CampaignEvent | None:
    """Change a campaign; what has happened by it, None for nothing.

    `change_id` was made before the first attempt, so that a repeated one knows its own. Raises NotFound, Conflict for
    what may not change any more, and Refused for dates that cannot be. Locks: the campaign.
    """
    scope = {"company_id": company_id, "id": campaign_id}
    given = given_fields(wanted)
    rules = wanted.rules.model_fields_set if "rules" in given else ()
    status: CampaignStatus | None = given.pop("status", None)
    columns = _columns(given, rules)
    stored = connection.cursor(row_factory=dict_row).execute(_HOLD, scope).fetchone()
    if stored is None:
        raise unknown()
    if stored["change_id"] == change_id or not (given or status):
        return None
    changed = {name: value for name, value in columns.items() if value != stored[name]}
    _check(changed, stored)
    columns = {**stored, **changed}
    columns |= _moved(columns, status) if status else {}
    is_first_cap = stored["points_cap"] is None and columns["points_cap"] is not None
    if is_first_cap:
        connection.execute(_HOLD_ALONE, scope)
    connection.execute(_CHANGE, _as_parameters(columns) | scope | {"change_id": change_id, "counts_anew": is_first_cap})
    return "campaign.activated" if status == "active" else "campaign.archived" if status else "campaign.updated"


def require(connection: Connection, company_id: UUID, campaign_id: UUID) -> None:
    """See to it that there is this campaign. Raises NotFound."""
    if connection.execute(_EXISTS, {"company_id": company_id, "id": campaign_id}).fetchone() is None:
        raise unknown()


def unknown() -> NotFound:
    """The answer where there is no such campaign."""
    return NotFound("campaign_not_found", "There is no such campaign.")


def _columns(given: Mapping[str, Any], rules: Collection[str]) -> Fields:
    """Fields of a request as columns, those of its rules beside the others."""
    columns = {name: value for name, value in given.items() if name != "rules"}
    columns |= {name: getattr(given["rules"], name) for name in rules}
    return {name: _as_json(value) if name in _JSON else value for name, value in columns.items()}


def _as_json(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A model, or several, as the database gives it back."""
    if isinstance(value, CampaignAwards):
        return value.model_dump(mode="json")
    return None if value is None else [each.model_dump(mode="json", by_alias=True) for each in value]


def _as_parameters(columns: Fields) -> Fields:
    return {name: Jsonb(value) if name in _JSON and value is not None else value for name, value in columns.items()}


def _check(changed: Fields, stored: Fields) -> None:
    """Refuse what may not change any more, and dates that cannot be."""
    status, ends_at = stored["status"], changed.get("ends_at", stored["ends_at"])
    if status != "draft" and changed.keys() & _OF_A_DRAFT:
        raise Conflict("campaign_active", "What its referrals earn, and since when, can change in a draft only.")
    if status not in {"draft", "active"} and changed.keys() & _UNTIL_THE_END:
        raise Conflict("campaign_ended", "The campaign is over: its end, its caps and its prizes stay as they are.")
    if ends_at <= changed.get("starts_at", stored["starts_at"]):
        raise invalid_fields(("ends_at", "must be later than starts_at"))
    if "ends_at" in changed and status == "active" and ends_at < stored["now"]:
        raise invalid_fields(("ends_at", "must not be before now"))


def _moved(campaign: Fields, status: CampaignStatus) -> Fields:
    """What makes a campaign one of another status. Raises Conflict for one that it cannot have."""
    before, now = campaign["status"], campaign["now"]
    if (before, status) == ("draft", "active"):
        if campaign["ends_at"] <= now:
            raise invalid_fields(("ends_at", "must be later than now for the campaign to be active"))
        return {"activated_at": now}
    if status == "archived" and before in {"draft", "ended"}:
        return {"archived_at": now}
    raise Conflict("campaign_status", f"A campaign that is {before} cannot become {status}.")
