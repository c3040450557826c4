"""Activity: what a user did, and what was done to them, one row each.

A use case writes a row of its own in the transaction of the deed (`record`); an app writes what users do in it
(`report`). Addresses, devices and user agents are not in them.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb
from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, StringConstraints, WithJsonSchema
from pydantic_core import to_json

from goodword.accounts import users
from goodword.core import ids, paging, query
from goodword.core.errors import NotFound
from goodword.core.fields import AnswerModel, AppId, Instant, IpAddress, KeptText, RequestModel
from goodword.core.ids import ActivityId
from goodword.core.paging import Page, PageQuery
from goodword.core.query import Later

LARGEST_DETAILS = 4096
LOGIN = "login"

OF_THE_SYSTEM: Final = frozenset({
    "activated", "campaign_prize_paid", "code_created", "coupon_redeemed", "late_attributed",
    "late_attribution_rejected", "milestone_claimed", "milestone_failed", "milestone_granted", "milestone_reached",
    "plan_changed", "points_adjusted", "redeemed", "redemption_refunded", "signed_up", "trial_started",
})  # fmt: skip
"""The actions that the system alone writes."""


def _of_an_app(action: str) -> str:
    if action in OF_THE_SYSTEM:
        raise ValueError("must not be an action that the system writes")
    return action


def _parts(value: JsonValue) -> Iterator[JsonValue]:
    """Every text, key, number and constant of a JSON value."""
    if isinstance(value, Mapping):
        yield from value
        for member in value.values():
            yield from _parts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _parts(member)
    else:
        yield value


def storable(details: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Any JSON object of up to 4 KiB, as it is. Raises ValueError for what the database cannot keep."""
    for part in _parts(details):
        if isinstance(part, str) and "\x00" in part:
            raise ValueError("must hold texts of Unicode characters other than NUL")
        if isinstance(part, float) and not math.isfinite(part):
            raise ValueError("must hold finite numbers")
    if len(to_json(details)) > LARGEST_DETAILS:
        raise ValueError(f"must not be larger than {LARGEST_DETAILS // 1024} KiB")
    return details


def _number_of(asn: object) -> object:
    """The number of a network, which may be written as `AS3320` too."""
    digits = asn.removeprefix("AS") if isinstance(asn, str) else ""
    return int(digits) if digits.isascii() and digits.isdecimal() and asn == f"AS{digits}" else asn


IpType = Literal["residential", "datacenter", "vpn", "proxy", "tor", "unknown"]
IpCountry = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2}$")]
IpAsn = Annotated[
    Annotated[int, Field(ge=0, lt=2**32)],
    BeforeValidator(_number_of),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^AS[0-9]{1,10}$"}]}),
]


class NewActivity(RequestModel):
    """The body of POST /v1/users/{user_id}/activity. `details` are any JSON object of up to 4 KiB."""

    action: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.]{0,63}$"), AfterValidator(_of_an_app)]
    details: Annotated[dict[str, JsonValue], AfterValidator(storable)] = Field(default_factory=dict[str, JsonValue])
    app_id: AppId | None = None
    ip: IpAddress = None
    ip_type: IpType | None = None
    ip_country: IpCountry | None = None
    ip_asn: IpAsn | None = None
    user_agent: KeptText = None
    device_fingerprint: KeptText = None


class Activity(AnswerModel):
    """One thing that a user did, or that was done to them."""

    id: ActivityId
    action: str
    details: dict[str, JsonValue]
    app_id: str | None
    created_at: Instant


class ActivityList(Page[Activity]):
    """A page of a user's activity, newest first."""


class ActivityQuery(PageQuery):
    """How GET /v1/users/{user_id}/activity is asked."""

    after: str | None = Field(default=None, pattern=r"^act_[0-9a-f]{32}$")


_RECORD = """
    INSERT INTO activity (company_id, id, user_id, action, details, created_at)
    VALUES (%(company_id)s, %(id)s, %(user_id)s, %(action)s, %(details)s, %(at)s)
"""

# The id was made before the first attempt: an attempt repeated after a lost connection counts no second login.
_REPORT = """
    WITH person AS (
        SELECT id, company_now(company_id) AS now FROM users
        WHERE company_id = %(company_id)s AND external_id = %(external_id)s
    ), reported AS (
        INSERT INTO activity (company_id, id, user_id, action, details, app_id, created_at)
        SELECT %(company_id)s, %(id)s, id, %(action)s, %(details)s, %(app_id)s, now FROM person
        ON CONFLICT ON CONSTRAINT activity_pk DO NOTHING
        RETURNING user_id, created_at
    )
    INSERT INTO logins AS known (company_id, user_id, login_count, last_login)
    SELECT %(company_id)s, user_id, 1, created_at FROM reported WHERE %(is_login)s
    ON CONFLICT ON CONSTRAINT logins_pk DO UPDATE SET login_count = known.login_count + 1,
        last_login = greatest(known.last_login, excluded.last_login)
"""

_READ = """
    SELECT id, action, details, app_id, created_at FROM activity
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

_PAGE = """
    SELECT id, action, details, app_id, created_at FROM activity
    WHERE company_id = %(company_id)s AND user_id = %(user_id)s
        AND (%(after)s::uuid IS NULL OR (created_at, id) < (
            SELECT created_at, id FROM activity
            WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
"""

_IS_ACTIVITY = """
    SELECT 1 FROM activity WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s
"""


def record(
    connection: Connection, company_id: UUID, user_id: UUID, action: str, details: Mapping[str, object], at: datetime
) -> None:
    """Write one row; `details` holds no personal data."""
    connection.execute(
        _RECORD,
        {
            "company_id": company_id,
            "id": ids.new_id(),
            "user_id": user_id,
            "action": action,
            "details": Jsonb(details),
            "at": at,
        },
    )


def report(
    connection: Connection, company_id: UUID, external_id: str, activity_id: UUID, new: NewActivity
) -> Later[Activity]:
    """Write what an app has seen a user do; a login is counted. Reading it raises NotFound for an unknown user."""
    scope = {"company_id": company_id, "id": activity_id}
    connection.execute(
        _REPORT,
        {
            **scope,
            "external_id": external_id,
            "action": new.action,
            "details": query.as_json(new.details),
            "app_id": new.app_id,
            "is_login": new.action == LOGIN,
        },
    )
    stored = query.one_later(connection, Activity, _READ, **scope)

    def read() -> Activity:
        activity = stored()
        if activity is None:
            raise NotFound("user_not_found", "There is no such user.")
        return activity

    return read


def listed(connection: Connection, company_id: UUID, external_id: str, page: ActivityQuery) -> ActivityList:
    """A page of a user's activity. Raises NotFound, and Refused for an `after` that is none of theirs."""
    scope = {
        "company_id": company_id,
        "user_id": users.find(connection, company_id, external_id).id,
        "after": ids.parse("act", page.after) if page.after else None,
    }
    activities = query.every(connection, Activity, _PAGE, **scope, limit=page.limit)
    if page.after and not activities:
        paging.refuse_unknown(connection, _IS_ACTIVITY, "is no activity of this user", **scope)
    return ActivityList.of(activities, page.limit)
