"""Finding what a person may have come by: a code that is named, and a click that is brought, with those before it.

Both may also have been carried by a provider's events (`touches`): a code was then used when it was carried first.

Whoever is chosen uses a code up by one where its uses are capped, so they are to be bound.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString, TypeAlias
from uuid import UUID

from psycopg import Connection

from goodword.accounts.users import Identity, NewUser
from goodword.core import ids, query
from goodword.facts import touches
from goodword.facts.touches import Touch
from goodword.program.versions import Terms
from goodword.referral import typed
from goodword.referral.attribution import Candidate, Deciding, JoinedCampaign
from goodword.referral.refusals import REFUSALS, CodeRefusal

LONGEST_CHAIN = 100
"""How many clicks of a chain are looked at: nobody honest has as many inside a window."""


@dataclass(frozen=True, slots=True)
class _Code:
    """A code with the identity of its owner, where it has one."""

    code_id: UUID
    max_uses: int | None
    id: UUID | None
    external_id: str | None
    email: str | None
    whop_user_id: str | None
    stripe_customer_id: str | None
    is_same_payer: bool
    counted: int
    campaign_id: UUID | None
    campaign: str | None
    is_campaign_capped: bool

    @property
    def deciding(self) -> Deciding:
        """What its referral would be decided by."""
        if self.campaign_id is None or self.campaign is None:
            return Deciding(self.counted)
        joined = JoinedCampaign(self.campaign_id, self.campaign, is_capped=self.is_campaign_capped)
        return Deciding(self.counted, joined)

    @property
    def owner(self) -> Identity | None:
        if self.id is None or self.external_id is None:
            return None
        return Identity(self.id, self.external_id, self.email, self.whop_user_id, self.stripe_customer_id)


@dataclass(frozen=True, slots=True)
class _NamedCode(_Code):
    """A code that was named, and why it may not be used."""

    refusal: CodeRefusal | None


@dataclass(frozen=True, slots=True)
class _Coupon(_NamedCode):
    """The code that a coupon names, if it names one, and why neither may be used."""

    code: str | None


@dataclass(frozen=True, slots=True)
class _Click(_Code):
    """A click, with the code that it is a visit through."""

    click_id: UUID
    occurred_at: datetime
    code: str
    uses: int


Who: TypeAlias = dict[str, object]
"""By what a person is seen to be a code's owner, and when they signed up, as parameters."""

Asked: TypeAlias = Callable[[Terms], list[Candidate]]
"""Candidates that were asked for; they are read, best first, under the terms that the question travelled with."""

_HOLD_CAPS = "SELECT hold_caps(%(company_id)s, false)"

_CODE: LiteralString = """
    codes.id AS code_id, codes.max_uses, users.id, users.external_id, users.email, users.whop_user_id,
    users.stripe_customer_id, is_same_payer(users, %(external_id)s, %(stripe_customer_id)s, %(whop_user_id)s),
    coalesce((SELECT qualified FROM scores WHERE scores.company_id = users.company_id AND scores.user_id = users.id
        AND board = 'all'), 0) AS counted,
    campaigns.id AS campaign_id, CASE WHEN campaigns.id IS NOT NULL THEN campaign_terms(campaigns) END AS campaign,
    coalesce(campaigns.points_cap, campaigns.per_user_cap) IS NOT NULL AS is_campaign_capped
"""

# A referral joins a campaign that is in force at the signup; one by a click, also one that was at the click.
_OWNER: LiteralString = """
    LEFT JOIN users ON users.company_id = codes.company_id AND users.id = codes.user_id
    LEFT JOIN campaigns ON campaigns.company_id = codes.company_id AND campaigns.id = codes.campaign_id
        AND is_in_force(campaigns, coalesce(%(signed_up_at)s::timestamptz, company_now(codes.company_id)))
"""

_BY_CODE: LiteralString = f"""
    SELECT {_CODE}, code_refusal(codes, coalesce(%(at)s::timestamptz, company_now(codes.company_id))) AS refusal
    FROM codes {_OWNER}
    WHERE codes.company_id = %(company_id)s AND codes.code = %(code)s
"""  # noqa: S608 - of constants

# A coupon leads to its code while it is active and in its window, used up or not.
_BY_COUPON: LiteralString = f"""
    SELECT {_CODE}, codes.code, CASE
        WHEN NOT coupons.active OR company_now(coupons.company_id) < coupons.valid_from THEN 'inactive'
        WHEN company_now(coupons.company_id) >= coupons.valid_until THEN 'expired'
        ELSE code_refusal(codes, company_now(codes.company_id))
    END AS refusal
    FROM coupons
    LEFT JOIN codes ON codes.company_id = coupons.company_id AND codes.id = coupons.referral_code_id
    {_OWNER}
    WHERE coupons.company_id = %(company_id)s AND coupons.code = %(coupon)s
"""  # noqa: S608 - of constants

# A click stands for itself and for those before it in its chain, never for one that came after: its id stands in URLs
# that strangers see. Each id says in which partition its click lies; LIMIT has each looked up by itself. The planner
# does not see the instant, or it would plan anew for the one partition of each.
_BY_CLICK: LiteralString = f"""
    WITH RECURSIVE chain AS (
        SELECT company_id, id, previous_id, code_id, occurred_at, 1 AS place FROM clicks
        WHERE company_id = %(company_id)s AND received_at = (SELECT %(given_at)s::timestamptz) AND id = %(click_id)s
        UNION ALL
        SELECT earlier.*, place + 1 FROM chain CROSS JOIN LATERAL (
            SELECT company_id, id, previous_id, code_id, occurred_at FROM clicks
            WHERE company_id = chain.company_id AND received_at = received_at_of(chain.previous_id)
                AND id = chain.previous_id
            LIMIT 1
        ) AS earlier
        WHERE place < %(longest)s
    )
    SELECT {_CODE}, chain.id AS click_id, chain.occurred_at, codes.code, codes.uses
    FROM chain
    JOIN codes ON codes.company_id = chain.company_id AND codes.id = chain.code_id
    {_OWNER} OR campaigns.company_id = codes.company_id AND campaigns.id = codes.campaign_id
        AND is_in_force(campaigns, chain.occurred_at)
    ORDER BY chain.place
"""  # noqa: S608 - of constants


# A capped code is used exactly as often as it allows; an uncapped one has no counter for signups to queue at.
_USE_CODE = """
    UPDATE codes SET uses = uses + 1, updated_at = %(at)s
    WHERE company_id = %(company_id)s AND id = %(code_id)s AND uses < max_uses
    RETURNING uses
"""


def find(
    connection: Connection, company_id: UUID, user: NewUser | Identity, code: str | None, click_id: str | None,
    terms: Terms, signed_up_at: datetime | None = None,
) -> list[Candidate]:  # fmt: skip
    """What may have brought this user, best first; one trip for all of it. Locks: the caps of codes, shared.

    `code` and `click_id` are as `typed` reads them. Who did not sign up before does so now.
    """
    if code is not None or click_id is not None:
        query.do(connection, _HOLD_CAPS, company_id=company_id)
    return ask(connection, company_id, user, code, click_id, signed_up_at)(terms)


def ask(
    connection: Connection, company_id: UUID, user: NewUser | Identity, code: str | None, click_id: str | None,
    signed_up_at: datetime | None = None,
) -> Asked:  # fmt: skip
    """Ask what may have brought this user, under the terms that are asked for with it. Needs: the caps of codes."""
    who = _who(user, signed_up_at)
    asked = [
        *([_ask_code(connection, company_id, who, code)] if code is not None else []),
        *([_ask_click(connection, company_id, who, click_id)] if click_id is not None else []),
    ]
    return lambda terms: [candidate for read in asked for candidate in read(terms)]


def find_coupon(
    connection: Connection, company_id: UUID, user: NewUser | Identity, coupon: str | None, terms: Terms
) -> list[Candidate]:
    """The code that a coupon names (`ask_coupon`). Locks: the caps of codes, shared."""
    if not coupon:
        return ask_coupon(connection, company_id, user, coupon)(terms)
    connection.execute(_HOLD_CAPS, {"company_id": company_id})
    return ask_coupon(connection, company_id, user, coupon)(terms)


def ask_coupon(connection: Connection, company_id: UUID, user: NewUser | Identity, coupon: str | None) -> Asked:
    """Ask for the code that a coupon names. Who brings one that names none has come by nothing.

    `coupon` is as `typed` reads it. Needs: the caps of codes.
    """
    if coupon is None:
        return lambda _: []
    if coupon == typed.UNKNOWN:
        return lambda terms: [Candidate("coupon", "", None, None, terms.at, refusal="unknown_code")]
    named_later = query.one_later(connection, _Coupon, _BY_COUPON, company_id=company_id, coupon=coupon, **_who(user))
    return lambda terms: _of_coupon(coupon, named_later(), terms)


def carried(
    connection: Connection, company_id: UUID, user: NewUser | Identity, person_touches: Sequence[Touch], terms: Terms,
    signed_up_at: datetime | None = None,
) -> list[tuple[Touch, Candidate]]:  # fmt: skip
    """What may have brought this user of what events carried, best first; one trip where there is anything.

    A touch of no code or click of the company's is no candidate: a provider's promotion code need not be a referral
    code. Locks: the caps of codes, shared.
    """
    if not person_touches:
        return []
    query.do(connection, _HOLD_CAPS, company_id=company_id)
    ordered = touches.ordered(person_touches, terms.program.attribution.model)
    who = _who(user, signed_up_at)
    asked = [_ask_touch(connection, company_id, who, touch) for touch in ordered]
    pairs = [(touch, candidate) for touch, read in zip(ordered, asked, strict=True) for candidate in read(terms)]
    return [(touch, candidate) for touch, candidate in pairs if candidate.code_id is not None]


def use(connection: Connection, company_id: UUID, candidate: Candidate, at: datetime) -> bool:
    """Count a use of a candidate's code where uses are capped; whether there was one left. Locks: the code then."""
    if candidate.max_uses is None:
        return True
    scope = {"company_id": company_id, "code_id": candidate.code_id, "at": at}
    return connection.execute(_USE_CODE, scope).fetchone() is not None


def _who(user: NewUser | Identity, signed_up_at: datetime | None = None) -> Who:
    return {
        "signed_up_at": signed_up_at,
        "external_id": user.external_id,
        "whop_user_id": user.whop_user_id,
        "stripe_customer_id": user.stripe_customer_id,
    }


def _ask_touch(connection: Connection, company_id: UUID, who: Who, touch: Touch) -> Asked:
    if touch.kind == "code":
        code = typed.code(touch.ref) or typed.UNKNOWN
        return _ask_code(connection, company_id, who, code, touch.carried_at)
    return _ask_click(connection, company_id, who, typed.click_id(touch.ref) or typed.UNKNOWN)


def _ask_code(connection: Connection, company_id: UUID, who: Who, code: str, used_at: datetime | None = None) -> Asked:
    """A code that was used at an instant, or is now."""
    code_later = query.one_later(connection, _NamedCode, _BY_CODE, company_id=company_id, code=code, at=used_at, **who)
    return lambda terms: [_of_code(code, code_later(), used_at or terms.at)]


def _ask_click(connection: Connection, company_id: UUID, who: Who, text: str) -> Asked:
    click_id = ids.parse("clk", text)
    if click_id is None:
        return lambda terms: [Candidate("click", "", None, None, terms.at, refusal="unknown_code")]
    if not ids.is_in_time(click_id):
        return lambda terms: [_unknown_click(click_id, terms)]
    chain_later = query.every_later(
        connection, _Click, _BY_CLICK, company_id=company_id, click_id=click_id, given_at=ids.time_of(click_id),
        longest=LONGEST_CHAIN, **who,
    )  # fmt: skip
    return lambda terms: (
        [_of_click(click) for click in _in_order(chain_later(), terms)] or [_unknown_click(click_id, terms)]
    )


def _unknown_click(click_id: UUID, terms: Terms) -> Candidate:
    """A click never made here, or beyond the clicks' retention: longer ago than any window."""
    return Candidate("click", "", None, None, terms.at, click_id=click_id, refusal="outside_window")


def _in_order(chain: Sequence[_Click], terms: Terms) -> list[_Click]:
    """The clicks of a chain, latest first, as the model wants them; those outside the window come after all others."""
    clicks = chain if terms.program.attribution.model == "last_touch" else reversed(chain)
    window_start = terms.at - timedelta(days=terms.program.attribution.window_days)
    return sorted(clicks, key=lambda click: click.occurred_at < window_start)


def _of_code(code: str, named: _NamedCode | None, used_at: datetime) -> Candidate:
    if named is None:
        return Candidate("code", code, None, None, used_at, refusal="unknown_code")
    return Candidate(
        "code",
        code,
        named.code_id,
        named.owner,
        used_at,
        refusal=REFUSALS[named.refusal] if named.refusal else None,
        max_uses=named.max_uses,
        is_same_payer=named.is_same_payer,
        deciding=named.deciding,
    )


def _of_coupon(coupon: str, named: _Coupon | None, terms: Terms) -> list[Candidate]:
    if named is None:
        return [Candidate("coupon", coupon, None, None, terms.at, refusal="unknown_code")]
    if named.code is None:
        return []
    return [_of_code(named.code, named, terms.at)._replace(source="coupon")]


def _of_click(click: _Click) -> Candidate:
    """A click made while its code was good outlives the code; only the number of uses is judged now."""
    used_up = click.max_uses is not None and click.uses >= click.max_uses
    return Candidate(
        "click",
        click.code,
        click.code_id,
        click.owner,
        click.occurred_at,
        click_id=click.click_id,
        refusal="code_used_up" if used_up else None,
        max_uses=click.max_uses,
        is_same_payer=click.is_same_payer,
        deciding=click.deciding,
    )
