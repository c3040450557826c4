"""Referral codes: what a user shares. Unique over the installation, stored in upper case, never deleted.

A user gets an automatic one at signup, and may have custom ones and codes of campaigns: whoever comes by one of these
joins the campaign while it is in force, and else comes by it as by any other. `uses` are a code's referrals,
`conversions` those of them that qualified and still stand: both are counted, so that no signup waits for another. Only
under a cap are uses a number on the code, and that number is exact.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator

from goodword.accounts import activity, users
from goodword.campaigns import campaigns
from goodword.core import ids, outbox, query, rates
from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import AnswerModel, AppId, Destination, ExternalId, GivenInstant, Instant, RequestModel
from goodword.core.ids import CampaignId, CodeId
from goodword.core.paging import Page, PageQuery, refuse_unknown
from goodword.program import versions
from goodword.referral import typed

# texts that would speak for the company or for us, or that programs write where they have none
RESERVED = frozenset({
    "ADMIN", "ADMINISTRATOR", "API", "BILLING", "GOODWORD", "HELP", "LOGIN", "LOGOUT", "NONE", "NULL", "OFFICIAL",
    "ROOT", "SECURITY", "SIGNUP", "STAFF", "SUPPORT", "SYSTEM", "UNDEFINED", "WWW",
})  # fmt: skip
MOST_METADATA = 50

Type = Literal["auto", "custom", "campaign"]


def _not_reserved(text: str) -> str:
    if text.upper() in RESERVED:
        raise ValueError("is reserved")
    return text.upper()


CustomText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{3,20}$"), AfterValidator(_not_reserved)]
Uses = Annotated[int, Field(ge=1, le=1_000_000_000)]
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[^\x00]{1,40}$")]
MetadataValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]{0,500}$")]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MOST_METADATA)]


class NewCode(RequestModel):
    """The body of POST /v1/codes: a custom code for a user, or one of a user's for a campaign, which it then names."""

    type: Literal["custom", "campaign"] = "custom"
    code: CustomText
    user_id: ExternalId
    campaign_id: CampaignId | None = Field(default=None, validate_default=True)
    app_id: AppId | None = None
    destination_url: Destination | None = None
    active: bool = True
    max_uses: Uses | None = None
    expires_at: GivenInstant | None = None
    metadata: Metadata = Field(default_factory=dict[str, str])

    @field_validator("campaign_id")
    @classmethod
    def _of_its_type(cls, campaign_id: UUID | None, info: ValidationInfo) -> UUID | None:
        if info.data.get("type") == "campaign" and campaign_id is None:
            raise ValueError("must be the campaign that the code is of")
        if info.data.get("type") == "custom" and campaign_id is not None:
            raise ValueError("must not be given: a custom code is of no campaign")
        return campaign_id


_AS_IT_IS: Any = None  # of a field that is left out; the schema then names no default


class CodeChange(RequestModel):
    """The body of PATCH /v1/codes/{code}: what is left out stays; `metadata` is merged, and "" removes a key."""

    active: bool = _AS_IT_IS
    max_uses: Uses | None = None
    expires_at: GivenInstant | None = None
    destination_url: Destination | None = None
    app_id: AppId | None = None
    metadata: Metadata = Field(default_factory=dict[str, str])


class Code(AnswerModel):
    """A code as administrators see it."""

    id: CodeId
    code: str
    type: Type
    user_id: str
    app_id: str | None
    campaign_id: str | None
    destination_url: str | None
    active: bool
    max_uses: int | None
    uses: int
    clicks: int
    conversions: int
    expires_at: Instant | None
    metadata: dict[str, str]
    created_at: Instant
    updated_at: Instant


class CodeList(Page[Code]):
    """A page of codes, newest first."""


class _CodeFilter(RequestModel):
    type: Type | None = None
    user_id: ExternalId | None = None
    campaign_id: str | None = Field(default=None, pattern=r"^cam_[0-9a-f]{32}$")
    active: bool | None = None


class CodeQuery(PageQuery, _CodeFilter):
    """How GET /v1/codes is asked."""

    after: str | None = Field(default=None, pattern=r"^cod_[0-9a-f]{32}$")


# The id was made before the first attempt: an attempt repeated after a lost connection finds its own row.
_INSERT = """
    INSERT INTO codes (company_id, id, code, type, user_id, campaign_id, app_id, destination_url, active, max_uses,
        expires_at, metadata, created_at, updated_at)
    VALUES (%(company_id)s, %(id)s, %(code)s, %(type)s, %(user_id)s, %(campaign_id)s, %(app_id)s, %(destination_url)s,
        %(active)s, %(max_uses)s, %(expires_at)s, %(metadata)s, %(at)s, %(at)s)
    ON CONFLICT ON CONSTRAINT codes_pk DO NOTHING
    RETURNING id
"""

_HOLD_CAPS_ALONE = "SELECT hold_caps(%(company_id)s, true)"

# A statement of its own, after the caps are held: it must see every referral that was made without a cap.
_LOCK = """
    SELECT id, active, max_uses, uses, expires_at, destination_url, app_id, metadata, company_now(company_id) AS at,
        CASE WHEN max_uses IS NOT NULL THEN uses ELSE (
            SELECT count(*) FROM referrals WHERE referrals.company_id = codes.company_id AND code_id = codes.id
        ) END AS uses_so_far
    FROM codes WHERE company_id = %(company_id)s AND code = %(code)s FOR NO KEY UPDATE OF codes
"""

_CHANGE = """
    UPDATE codes SET active = %(active)s, max_uses = %(max_uses)s, uses = %(uses)s, expires_at = %(expires_at)s,
        destination_url = %(destination_url)s, app_id = %(app_id)s, metadata = %(metadata)s, updated_at = %(at)s
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

# One code, or a page of them; what is counted is counted for the page alone.
_READ = """
    WITH page AS (
        SELECT * FROM codes
        WHERE company_id = %(company_id)s
            AND (%(id)s::uuid IS NULL OR id = %(id)s)
            AND (%(type)s::text IS NULL OR type = %(type)s)
            AND (%(active)s::boolean IS NULL OR active = %(active)s)
            AND (%(user_id)s::text IS NULL OR user_id = (
                SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = %(user_id)s))
            AND (%(campaign_id)s::uuid IS NULL OR campaign_id = %(campaign_id)s)
            AND (%(after)s::uuid IS NULL OR (created_at, id) < (
                SELECT created_at, id FROM codes WHERE company_id = %(company_id)s AND id = %(after)s))
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
    )
    SELECT page.id, page.code, type, external_id AS user_id, app_id, public_id('cam', campaign_id) AS campaign_id,
        destination_url, active, max_uses, CASE WHEN max_uses IS NULL THEN referred.uses ELSE page.uses END AS uses,
        archived_clicks + (
            SELECT count(*) FROM clicks WHERE clicks.company_id = page.company_id AND code_id = page.id
        ) AS clicks,
        conversions, expires_at, metadata, page.created_at, page.updated_at
    FROM page
    JOIN users ON users.company_id = page.company_id AND users.id = page.user_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS uses,
            count(*) FILTER (WHERE qualified_at IS NOT NULL AND stage <> 'cancelled') AS conversions
        FROM referrals WHERE referrals.company_id = page.company_id AND code_id = page.id
    ) AS referred
    ORDER BY page.created_at DESC, page.id DESC
"""

_IS_CODE = "SELECT 1 FROM codes WHERE company_id = %(company_id)s AND id = %(after)s"


def create(connection: Connection, company_id: UUID, code_id: UUID, new: NewCode) -> Code:
    """Write a new code. A taken text is a violated constraint, by name.

    Raises NotFound for a user or a campaign that nobody knows, and TooManyRequests where the user got as many custom
    codes in the last hour, in real time, as the program allows.
    """
    owner = users.find(connection, company_id, new.user_id).id
    if new.campaign_id is not None:
        campaigns.require(connection, company_id, new.campaign_id)
    terms = versions.current(connection, company_id)
    row = {"company_id": company_id, "id": code_id, "at": terms.at, **new.model_dump()}
    row |= {"user_id": owner, "campaign_id": new.campaign_id, "metadata": Jsonb(_merged({}, new.metadata))}
    is_new = connection.execute(_INSERT, row).fetchone() is not None
    if is_new:
        if new.type == "custom":
            _count_creation(connection, company_id, owner, terms.program.limits.code_creations_per_hour)
        activity.record(
            connection, company_id, owner, "code_created", {"code_id": ids.public("cod", code_id)}, terms.at
        )
    code = _read(connection, company_id, code_id)
    created = outbox.Event(
        "code.created", code.model_dump(mode="json", exclude={"metadata", "destination_url"}), code_id
    )
    outbox.announce(connection, company_id, [created], terms.at)
    return code


def change(connection: Connection, company_id: UUID, text: str, change_id: UUID, wanted: CodeChange) -> Code:
    """Change a code. Raises NotFound, and Refused for a cap below the uses so far."""
    given = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    if "max_uses" in given:
        connection.execute(_HOLD_CAPS_ALONE, {"company_id": company_id})
    values = {"company_id": company_id, "code": typed.code(text) or typed.UNKNOWN}
    stored = connection.cursor(row_factory=dict_row).execute(_LOCK, values).fetchone()
    if stored is None:
        raise NotFound("code_not_found", "There is no such code.")
    if given:
        row = {**stored, "company_id": company_id, **given, "metadata": _merged(stored["metadata"], wanted.metadata)}
        if "max_uses" in given:
            row["uses"] = _capped(stored["uses_so_far"], wanted.max_uses)
        connection.execute(_CHANGE, {**row, "metadata": Jsonb(row["metadata"])})
    code = _read(connection, company_id, stored["id"])
    if given:
        changed = outbox.Event(
            "code.updated", code.model_dump(mode="json", exclude={"metadata", "destination_url"}), change_id
        )
        outbox.announce(connection, company_id, [changed], stored["at"])
    return code


def listed(connection: Connection, company_id: UUID, page: CodeQuery) -> CodeList:
    """A page of the company's codes, newest first. Raises Refused for an `after` that is none of them."""
    values = page.model_dump() | {
        "company_id": company_id,
        "id": None,
        "after": ids.parse("cod", page.after) if page.after else None,
        "campaign_id": ids.parse("cam", page.campaign_id) if page.campaign_id else None,
    }
    rows = query.every(connection, Code, _READ, **values)
    if page.after and not rows:
        refuse_unknown(connection, _IS_CODE, "is no code of this company", **values)
    return CodeList.of(rows, page.limit)


def _count_creation(connection: Connection, company_id: UUID, user_id: UUID, most: int) -> None:
    hour, detail = timedelta(hours=1), "Too many codes were made for this user."
    rates.take_hit(connection, company_id, "code_creation", user_id.bytes, most, hour, detail)


def _capped(uses_so_far: int, max_uses: int | None) -> int:
    if max_uses is not None and max_uses < uses_so_far:
        raise invalid_fields(("max_uses", f"must not be lower than the uses so far, {uses_so_far}"))
    return uses_so_far


def _merged(known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """As Stripe keeps metadata: what is given is added or replaced, an empty text removes."""
    merged = {key: text for key, text in {**known, **given}.items() if text}
    if len(merged) > MOST_METADATA:
        raise invalid_fields(("metadata", f"must not have more than {MOST_METADATA} keys"))
    return merged


def _read(connection: Connection, company_id: UUID, code_id: UUID) -> Code:
    filters = dict.fromkeys(("type", "user_id", "campaign_id", "active", "after"))
    code = query.one(connection, Code, _READ, company_id=company_id, id=code_id, limit=1, **filters)
    if code is None:
        raise LookupError(f"no code {code_id}")
    return code
