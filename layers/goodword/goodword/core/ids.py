"""Ids: time-ordered uuids inside, prefixed and opaque outside (`clk_0198c…`).

An id is made before the first attempt at a write, so that an attempt repeated after a lost connection writes the same
row. The first 48 bits are the milliseconds since 1970 (RFC 9562, version 7).
"""

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from goodword.core import clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_RANDOM_BITS = (1 << 76) - 1 ^ 0b11 << 62

# UUID() by itself takes other spellings of the same id, and digits of other alphabets
_DIGITS = re.compile(r"[0-9a-f]{32}")


def new_id(at: datetime | None = None) -> UUID:
    """A new id carrying `at` (default: real time now)."""
    milliseconds = clock.real_milliseconds() if at is None else (at - _EPOCH) // _MILLISECOND
    random = int.from_bytes(secrets.token_bytes(10))
    return UUID(int=milliseconds << 80 | random & _RANDOM_BITS | _VERSION_AND_VARIANT)


def time_of(id_: UUID) -> datetime:
    """The instant an id carries, to the millisecond."""
    return _EPOCH + timedelta(milliseconds=id_.int >> 80)


def is_in_time(id_: UUID) -> bool:
    """Whether the instant an id carries is one we can have lived: ids come from clients too."""
    return id_.int >> 80 <= clock.real_milliseconds() + 60_000


def public(prefix: str, id_: UUID) -> str:
    """The id as clients see it."""
    return f"{prefix}_{id_.hex}"


def parse(prefix: str, text: str) -> UUID | None:
    """The id behind a client's text, or None when it is not one of this kind."""
    kind, _, digits = text.partition("_")
    return UUID(hex=digits) if kind == prefix and _DIGITS.fullmatch(digits) else None


def _public_id(prefix: str) -> tuple[PlainValidator, PlainSerializer, WithJsonSchema]:
    def validate(value: object) -> UUID:
        id_ = value if isinstance(value, UUID) else parse(prefix, str(value))
        if id_ is None:
            raise ValueError(f"must be an id that begins with {prefix}_")
        return id_

    def serialize(value: UUID) -> str:
        return public(prefix, value)

    schema = {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{32}}$"}
    return PlainValidator(validate), PlainSerializer(serialize), WithJsonSchema(schema)


UserId = Annotated[UUID, *_public_id("usr")]
ClickId = Annotated[UUID, *_public_id("clk")]
CodeId = Annotated[UUID, *_public_id("cod")]
ReferralId = Annotated[UUID, *_public_id("ref")]
AwardId = Annotated[UUID, *_public_id("awd")]
OptionId = Annotated[UUID, *_public_id("opt")]
RedemptionId = Annotated[UUID, *_public_id("red")]
GrantId = Annotated[UUID, *_public_id("grt")]
CouponId = Annotated[UUID, *_public_id("cpn")]
CampaignId = Annotated[UUID, *_public_id("cam")]
MilestoneId = Annotated[UUID, *_public_id("mil")]
PatternId = Annotated[UUID, *_public_id("pat")]
KeyId = Annotated[UUID, *_public_id("key")]
JudgementId = Annotated[UUID, *_public_id("jdg")]
ActivityId = Annotated[UUID, *_public_id("act")]
InboxEventId = Annotated[UUID, *_public_id("inb")]
EndpointId = Annotated[UUID, *_public_id("whe")]
UsageId = Annotated[UUID, *_public_id("use")]
ReviewId = Annotated[UUID, *_public_id("rvw")]
