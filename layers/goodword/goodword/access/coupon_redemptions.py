"""Redeeming coupons: whoever enters a code has its plan for its time, once per person, as long as there are any left.

Of several at once the coupon's row is locked by one after the other, so no cap is ever passed.
"""

from datetime import datetime
from typing import LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.access import coupons, grants, identities
from goodword.access.coupons import CodeText, Coupon, CouponType
from goodword.access.grants import HOLD, Grant
from goodword.accounts import activity
from goodword.core import ids, outbox, paging, query
from goodword.core.errors import NotFound, Refused
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import GrantId
from goodword.core.paging import Page, PageQuery


class EnteredCoupon(RequestModel):
    """The body of POST /v1/users/{user_id}/coupons: the code as a person has typed it."""

    code: CodeText


class RedeemedCoupon(AnswerModel):
    """The coupon, with this redemption counted, and the grant that it gave."""

    coupon: Coupon
    grant: Grant


class CouponRedemption(AnswerModel):
    """Who has redeemed a coupon, and what it gave them."""

    user_id: str
    redeemed_at: Instant
    grant_id: GrantId


class CouponRedemptionList(Page[CouponRedemption]):
    """A page of a coupon's redemptions, newest first."""


class CouponRedemptionQuery(PageQuery):
    """How GET /v1/coupons/{id}/redemptions is asked; `after` is the `grant_id` of the last row."""

    after: str | None = Field(default=None, pattern=r"^grt_[0-9a-f]{32}$")


class _Person(NamedTuple):
    id: UUID
    external_id: str
    verified_email: str | None
    whop_user_id: str | None
    stripe_customer_id: str | None


class Offer(NamedTuple):
    """A coupon as it stands before somebody, at an instant."""

    id: UUID
    type: CouponType
    plan: str
    duration_days: int
    active: bool
    valid_from: datetime | None
    valid_until: datetime | None
    max_redemptions: int | None
    redemption_count: int
    is_redeemed: bool
    keeps_plan: bool
    at: datetime

    @property
    def refusal(self) -> Refused | None:
        """Why it cannot be redeemed; the first reason counts (docs/rules.md, Coupons)."""
        is_used_up = self.max_redemptions is not None and self.redemption_count >= self.max_redemptions
        reasons = (
            (self.is_redeemed, "coupon_already_redeemed", "The user has redeemed this coupon before."),
            (not self.active, "coupon_inactive", "This coupon is not active."),
            (self.valid_from and self.at < self.valid_from, "coupon_not_yet_valid", "This coupon is not valid yet."),
            (self.valid_until and self.at >= self.valid_until, "coupon_expired", "This coupon is no longer valid."),
            (is_used_up, "coupon_used_up", "This coupon has been redeemed as often as it may be."),
            (self.keeps_plan, "plan_already_held", "The user has this plan without an end already."),
        )
        return next((Refused(code, detail) for applies, code, detail in reasons if applies), None)


_PERSON = """
    SELECT id, external_id, verified_email, whop_user_id, stripe_customer_id FROM users
    WHERE company_id = %(company_id)s AND external_id = %(external_id)s
"""

_LOCK = "SELECT FROM coupons WHERE company_id = %(company_id)s AND code = %(code)s FOR NO KEY UPDATE"

# A statement of its own, after both are locked: it must see what others have redeemed meanwhile.
_LOOK = """
    SELECT coupons.id, type, plan_id AS plan, duration_days, active, valid_from, valid_until, max_redemptions,
        redemption_count,
        EXISTS (SELECT FROM coupon_redemptions AS own WHERE own.company_id = coupons.company_id
            AND own.coupon_id = coupons.id AND own.user_id = %(user_id)s)
        OR EXISTS (SELECT FROM identity_marks WHERE identity_marks.company_id = coupons.company_id
            AND occasion = public_id('cpn', coupons.id) AND hash = ANY (%(hashes)s)) AS is_redeemed,
        keeps_plan(coupons.company_id, %(user_id)s, plan_id) AS keeps_plan, company_now(coupons.company_id) AS at
    FROM coupons WHERE company_id = %(company_id)s AND code = %(code)s
"""

_COUNT = """
    UPDATE coupons SET redemption_count = redemption_count + 1 WHERE company_id = %(company_id)s AND id = %(coupon_id)s
"""

_RECORD = """
    INSERT INTO coupon_redemptions (company_id, coupon_id, user_id, grant_id, redeemed_at)
    VALUES (%(company_id)s, %(coupon_id)s, %(user_id)s, %(grant_id)s, %(at)s)
"""

_PAGE: LiteralString = """
    SELECT users.external_id AS user_id, redeemed_at, grant_id
    FROM coupon_redemptions AS redeemed
    JOIN users ON users.company_id = redeemed.company_id AND users.id = redeemed.user_id
    WHERE redeemed.company_id = %(company_id)s AND coupon_id = %(coupon_id)s
        AND (%(after)s::uuid IS NULL OR (redeemed_at, grant_id) < (
            SELECT redeemed_at, grant_id FROM coupon_redemptions
            WHERE company_id = %(company_id)s AND coupon_id = %(coupon_id)s AND grant_id = %(after)s))
    ORDER BY redeemed_at DESC, grant_id DESC LIMIT %(limit)s + 1
"""

_IS_REDEMPTION = """
    SELECT 1 FROM coupon_redemptions
    WHERE company_id = %(company_id)s AND coupon_id = %(coupon_id)s AND grant_id = %(after)s
"""


def redeem(
    connection: Connection, company_id: UUID, external_id: str, grant_id: UUID, entered: EnteredCoupon
) -> RedeemedCoupon:
    """Give a user what a coupon gives. Raises NotFound for the user, and Refused with the reason why not.

    Locks: the coupon, then the user's grants.
    """
    person = query.one(connection, _Person, _PERSON, company_id=company_id, external_id=external_id)
    if person is None:
        raise NotFound("user_not_found", "There is no such user.")
    marks = identities.marks(connection, person)
    named = {"company_id": company_id, "user_id": person.id, "code": entered.code}
    connection.execute(_LOCK, named)
    connection.execute(HOLD, named)
    offer = query.one(connection, Offer, _LOOK, **named, hashes=list(marks.known))
    if offer is None:
        raise Refused("coupon_unknown", "There is no such coupon.")
    if offer.refusal is not None:
        raise offer.refusal
    return _give(connection, company_id, person, grant_id, offer, marks)


def _give(
    connection: Connection, company_id: UUID, person: _Person, grant_id: UUID, offer: Offer, marks: identities.Marks
) -> RedeemedCoupon:
    given = {"company_id": company_id, "coupon_id": offer.id, "user_id": person.id, "grant_id": grant_id}
    occasion = ids.public("cpn", offer.id)
    connection.execute(_COUNT, given)
    grants.make(
        connection, company_id, person.id, grant_id, offer.plan, "coupon", offer.duration_days,
        is_wellpass=offer.type == "wellpass", coupon_id=offer.id,
    )  # fmt: skip
    connection.execute(_RECORD, {**given, "at": offer.at})
    identities.remember(connection, company_id, occasion, marks)
    details = {"coupon_id": occasion, "grant_id": ids.public("grt", grant_id)}
    activity.record(connection, company_id, person.id, "coupon_redeemed", details, offer.at)
    redeemed = outbox.Event("coupon.redeemed", {"user_id": person.external_id, "plan": offer.plan, **details})
    outbox.announce(connection, company_id, [redeemed], offer.at)
    grant_later = grants.ask(connection, company_id, person.id, grant_id)
    return RedeemedCoupon(coupon=coupons.find(connection, company_id, offer.id), grant=grant_later())


def listed(
    connection: Connection, company_id: UUID, coupon_id: UUID | None, page: CouponRedemptionQuery
) -> CouponRedemptionList:
    """A page of who has redeemed a coupon. Raises NotFound, and Refused for an `after` that is none of them."""
    coupon = coupons.find(connection, company_id, coupon_id)
    after = ids.parse("grt", page.after) if page.after else None
    values = {"company_id": company_id, "coupon_id": coupon.id, "after": after}
    redeemed = query.every(connection, CouponRedemption, _PAGE, **values, limit=page.limit)
    if after and not redeemed:
        paging.refuse_unknown(connection, _IS_REDEMPTION, "is no redemption of this coupon", **values)
    return CouponRedemptionList.of(redeemed, page.limit)
