"""Coupons: codes that give a plan for some time, offered within a window and under a cap.

A `single_use` coupon is redeemed once in all, the others once per person; a `wellpass` pauses the user's other grants
while it runs. Offering is not redeeming: that is `access.coupon_redemptions`.
"""

import secrets
from collections.abc import Sequence
from typing import Annotated, Literal, LiteralString, Self
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import Field, RootModel, StringConstraints, model_validator

from goodword.access.grants import GrantDays
from goodword.access.plans import PlanId
from goodword.core import clock, ids, outbox, paging, query
from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import UNCHANGED, AnswerModel, GivenInstant, Instant, LongText, RequestModel, given_fields
from goodword.core.ids import CouponId, KeyId
from goodword.core.paging import Page, PageQuery

CouponType = Literal["single_use", "period", "wellpass"]

ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Of drawn codes: without 0 O 1 I L U, so that nobody has to ask which one is meant."""
DRAWN_LENGTH = 12
MOST_AT_ONCE = 1000


CouponCode = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, pattern=r"^[A-Za-z0-9-]{3,40}$")]
CodeText = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, max_length=64, pattern=r"^[^\x00]*$")]
Cap = Annotated[int, Field(ge=1, le=1_000_000_000)]


class NewCoupon(RequestModel):
    """The body of POST /v1/coupons: one coupon, of this `code` or a drawn one, or `count` of them, of drawn codes."""

    type: CouponType
    plan: PlanId
    duration_days: GrantDays
    code: CouponCode | None = None
    count: Annotated[int, Field(ge=2, le=MOST_AT_ONCE)] | None = None
    max_redemptions: Cap | None = None
    valid_from: GivenInstant | None = None
    valid_until: GivenInstant | None = None
    active: bool = True
    description: LongText | None = None
    referral_code: CodeText | None = None

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if self.count is not None and self.code is not None:
            raise ValueError("count coupons have drawn codes: name either count or code")
        return self


class CouponChange(RequestModel):
    """The body of PATCH /v1/coupons/{id}: what is left out stays; a cap below the count only ends redeeming."""

    active: bool = UNCHANGED
    description: LongText | None = None
    max_redemptions: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    valid_from: GivenInstant | None = None
    valid_until: GivenInstant | None = None
    referral_code: CodeText | None = None


class Coupon(AnswerModel):
    """A coupon, with how often it was redeemed."""

    id: CouponId
    code: str
    type: CouponType
    plan: str
    duration_days: int
    max_redemptions: int | None
    redemption_count: int
    valid_from: Instant | None
    valid_until: Instant | None
    active: bool
    description: str | None
    referral_code: str | None
    created_by: KeyId
    created_at: Instant
    updated_at: Instant


class CouponList(Page[Coupon]):
    """A page of coupons, newest first; of those made at once, all."""


class NewCoupons(RootModel[Coupon | CouponList]):
    """The coupon that was made, or where a `count` was named all of them."""


class CouponQuery(PageQuery):
    """How GET /v1/coupons is asked."""

    after: str | None = Field(default=None, pattern=r"^cpn_[0-9a-f]{32}$")


# The ids were made before the first attempt: an attempt repeated after a lost connection finds its own rows.
_INSERT = """
    INSERT INTO coupons (company_id, id, code, type, plan_id, duration_days, max_redemptions, valid_from, valid_until,
        active, description, referral_code_id, created_by, created_at, updated_at)
    SELECT %(company_id)s, new.id, new.code, %(type)s, %(plan)s, %(duration_days)s, %(max_redemptions)s,
        %(valid_from)s, %(valid_until)s, %(active)s, %(description)s, %(referral_code_id)s, %(created_by)s, %(at)s,
        %(at)s
    FROM unnest(%(ids)s::uuid[], %(codes)s::text[]) AS new (id, code)
    ON CONFLICT ON CONSTRAINT coupons_pk DO NOTHING
"""

_REFERRAL_CODE = "SELECT id FROM codes WHERE company_id = %(company_id)s AND code = %(code)s"

_LOCK = """
    SELECT type, active, description, max_redemptions, valid_from, valid_until, referral_code_id
    FROM coupons WHERE company_id = %(company_id)s AND id = %(id)s FOR NO KEY UPDATE
"""

_CHANGE = """
    UPDATE coupons SET active = %(active)s, description = %(description)s, max_redemptions = %(max_redemptions)s,
        valid_from = %(valid_from)s, valid_until = %(valid_until)s, referral_code_id = %(referral_code_id)s,
        updated_at = %(at)s
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

_COLUMNS: LiteralString = """
    SELECT coupons.id, coupons.code, coupons.type, plan_id AS plan, duration_days, max_redemptions, redemption_count,
        valid_from, valid_until, coupons.active, description, codes.code AS referral_code, created_by,
        coupons.created_at, coupons.updated_at
    FROM coupons LEFT JOIN codes ON codes.company_id = coupons.company_id AND codes.id = referral_code_id
    WHERE coupons.company_id = %(company_id)s
"""

READ: LiteralString = f"{_COLUMNS} AND coupons.id = ANY (%(ids)s) ORDER BY array_position(%(ids)s, coupons.id)"
"""The coupons of these ids, in their order."""

_PAGE: LiteralString = f"""
    {_COLUMNS}
        AND (%(after)s::uuid IS NULL OR (coupons.created_at, coupons.id) < (
            SELECT created_at, id FROM coupons WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY coupons.created_at DESC, coupons.id DESC LIMIT %(limit)s + 1
"""  # noqa: S608 - of constants

_IS_COUPON = "SELECT 1 FROM coupons WHERE company_id = %(company_id)s AND id = %(after)s"


def draw() -> str:
    """The random text of a coupon's code; another coupon has it already once in 10^17 times."""
    return "".join(secrets.choice(ALPHABET) for _ in range(DRAWN_LENGTH))


def create(connection: Connection, company_id: UUID, made: Sequence[UUID], key_id: UUID, new: NewCoupon) -> NewCoupons:
    """Write as many coupons as there are ids.

    A taken code and an unknown plan are violated constraints, by name. Raises Refused for a cap that a single use
    cannot have, and for a referral code that nobody has.
    """
    row = new.model_dump() | {"max_redemptions": _cap(new.type, new.max_redemptions)}
    at = clock.company_now(connection, company_id)
    row |= {"referral_code_id": _referral_code(connection, company_id, new.referral_code)}
    codes = [new.code or draw() for _ in made]
    values = {"company_id": company_id, "ids": list(made), "codes": codes, "created_by": key_id, "at": at}
    connection.execute(_INSERT, {**row, **values})
    coupons = query.every(connection, Coupon, READ, company_id=company_id, ids=list(made))
    created = [
        outbox.Event("coupon.created", coupon.model_dump(mode="json", exclude={"description"}), coupon.id)
        for coupon in coupons
    ]
    outbox.announce(connection, company_id, created, at)
    return NewCoupons(coupons[0] if new.count is None else CouponList(data=coupons, has_more=False))


def change(
    connection: Connection, company_id: UUID, coupon_id: UUID | None, event_id: UUID, wanted: CouponChange
) -> Coupon:
    """Change a coupon. Raises NotFound, and Refused as `create`."""
    scope = {"company_id": company_id, "id": coupon_id}
    stored = connection.cursor(row_factory=dict_row).execute(_LOCK, scope).fetchone()
    if stored is None or coupon_id is None:
        raise _unknown()
    given = given_fields(wanted)
    if "max_redemptions" in given:
        given["max_redemptions"] = _cap(stored["type"], given["max_redemptions"])
    if "referral_code" in given:
        given["referral_code_id"] = _referral_code(connection, company_id, given.pop("referral_code"))
    at = clock.company_now(connection, company_id)
    if given:
        connection.execute(_CHANGE, {**stored, **given, **scope, "at": at})
    coupon = find(connection, company_id, coupon_id)
    if given:
        updated = outbox.Event("coupon.updated", coupon.model_dump(mode="json", exclude={"description"}), event_id)
        outbox.announce(connection, company_id, [updated], at)
    return coupon


def find(connection: Connection, company_id: UUID, coupon_id: UUID | None) -> Coupon:
    """A coupon. Raises NotFound."""
    coupons = query.every(connection, Coupon, READ, company_id=company_id, ids=[coupon_id])
    if not coupons:
        raise _unknown()
    return coupons[0]


def listed(connection: Connection, company_id: UUID, page: CouponQuery) -> CouponList:
    """A page of the company's coupons. Raises Refused for an `after` that is none of them."""
    after = ids.parse("cpn", page.after) if page.after else None
    coupons = query.every(connection, Coupon, _PAGE, company_id=company_id, after=after, limit=page.limit)
    if after and not coupons:
        paging.refuse_unknown(
            connection, _IS_COUPON, "is no coupon of this company", company_id=company_id, after=after
        )
    return CouponList.of(coupons, page.limit)


def _unknown() -> NotFound:
    return NotFound("coupon_not_found", "There is no such coupon.")


def _cap(type_: CouponType, cap: int | None) -> int | None:
    if type_ != "single_use":
        return cap
    if cap not in {None, 1}:
        raise invalid_fields(("max_redemptions", "is 1 for a single use"))
    return 1


def _referral_code(connection: Connection, company_id: UUID, code: str | None) -> UUID | None:
    if code is None:
        return None
    row = connection.execute(_REFERRAL_CODE, {"company_id": company_id, "code": code}).fetchone()
    if row is None:
        raise invalid_fields(("referral_code", "is no code of this company"))
    return row[0]
