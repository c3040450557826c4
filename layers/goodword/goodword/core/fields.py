"""The field types of requests and answers: bounds that hold everywhere, stated once.

No text holds NUL (Postgres cannot store it); no integer leaves the range of a bigint.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)

from goodword.core import addresses, domains, urls

# Neither what clients fold in a path, nor what would be taken for a click.
EXTERNAL_ID = r"^(?!\.{1,2}$)(?!clk_[0-9A-Fa-f]{32})[!$&'()*+,.0-9:;=@A-Z\[\]_a-z|~-]{1,128}$"
EXTERNAL_ID_RULE = (
    'must be 1 to 128 visible ASCII characters without / \\ ? # % " < > { } ^ and `, neither . nor .., and not begin'
    " like the id of a click"
)
BIGGEST = 2**53 - 1  # what every JSON reader holds exactly
MOST_AT_ONCE = 10**12  # points or uses in one request: no number of requests then leaves a bigint
LONGEST_KEPT = 2000  # of what a browser says of itself
MOST_DIGITS = 18  # of a number in a query: it is then a bigint
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EXTERNAL_ID = re.compile(EXTERNAL_ID)


def rfc3339(at: datetime) -> str:
    """A time as docs/api.md, Times, has it: UTC, microseconds, `Z`. The SQL function of this name writes the same."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def _external_id(text: str) -> str:
    """By Python's own engine: the one that pydantic uses by default cannot look ahead."""
    if not _EXTERNAL_ID.fullmatch(text):
        raise ValueError(EXTERNAL_ID_RULE)
    return text


def as_address(text: str) -> str:
    """The one spelling of an address. Raises ValueError in words for who sent it."""
    try:
        return addresses.canonical(text.strip())
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address without a zone id") from None


def as_cidr(text: str) -> str:
    """The one spelling of a range of addresses. Raises ValueError in words for who sent it."""
    try:
        return str(addresses.network(text.strip()))
    except ValueError:
        raise ValueError("must be a range of addresses with no bit set behind its prefix, as 203.0.113.0/24") from None


def _kept_text(text: str | None) -> str | None:
    return text if text and len(text) <= LONGEST_KEPT and "\x00" not in text else None


def _unless_empty(value: object) -> object:
    """A value as it is; None for a text in which nothing is said."""
    return None if isinstance(value, str) and not value.strip() else value


def _splittable(url: str) -> str:
    try:
        urlsplit(url)  # later we shall add parameters to it
    except ValueError:
        raise ValueError("must name a host that can be one") from None
    return url


def _digits(value: object) -> object:
    """Pydantic alone would also take `+5` and `1_0` for numbers."""
    if not isinstance(value, str):
        return value
    if not (value.isascii() and value.isdecimal()):
        raise ValueError("must be a whole number")
    if len(value) > MOST_DIGITS:
        raise ValueError("must be a smaller number")
    return int(value)


def _given(value: object) -> datetime:
    """Pydantic alone would also take digits for Unix seconds, and times at whose ends arithmetic overflows."""
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("must be a time of RFC 3339 with an offset, as 2026-01-31T12:00:00Z")
    at = datetime.fromisoformat(value.upper())
    if not EARLIEST <= at < LATEST:
        raise ValueError("must lie in the years 1970 to 8999")
    return at.astimezone(UTC)


def _given_moment(value: object) -> date:
    if not isinstance(value, str) or not (_DAY.fullmatch(value) or _RFC_3339.fullmatch(value)):
        raise ValueError("must be a day, as 2026-01-31, or a time with an offset, as 2026-01-31T12:00:00Z")
    if not _DAY.fullmatch(value):
        return _given(value)
    day = date.fromisoformat(value)
    if not EARLIEST.date() <= day < LATEST.date():
        raise ValueError("must lie in the years 1970 to 8999")
    return day


def moment(name: str, given: date | None) -> dict[str, date | None]:
    """The two parameters under which a statement takes a moment: `name`, an instant, and `name_day`."""
    is_instant = isinstance(given, datetime)
    return {name: given if is_instant else None, f"{name}_day": None if is_instant else given}


_AS_TEXT = (
    PlainSerializer(rfc3339, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
)
Instant = Annotated[AwareDatetime, AfterValidator(_utc), *_AS_TEXT]
GivenInstant = Annotated[datetime, PlainValidator(_given), *_AS_TEXT]  # by a client
# by a client: an instant, or a day, which stands for its first instant on the company's own calendar
GivenMoment = Annotated[
    date,
    PlainValidator(_given_moment),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}),
]
ExternalId = Annotated[str, AfterValidator(_external_id), WithJsonSchema({"type": "string", "pattern": EXTERNAL_ID})]
IpAddress = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=45), AfterValidator(as_address)] | None,
    BeforeValidator(_unless_empty),
]
Cidr = Annotated[str, StringConstraints(strip_whitespace=True, max_length=49), AfterValidator(as_cidr)]
Domain = Annotated[str, StringConstraints(max_length=500), AfterValidator(domains.canonical)]
# What a browser says is never in the way: what fits is kept, and the rest is dropped (docs/rules.md, Clicks).
KeptText = Annotated[str | None, AfterValidator(_kept_text)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
LongText = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]
Email = Annotated[str, StringConstraints(max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]
Url = Annotated[
    str,
    StringConstraints(max_length=2000, pattern=r"^https?://[^\s\x00-\x1f\x7f/?#]+[^\s\x00-\x1f\x7f]*$"),
    AfterValidator(_splittable),
]
Destination = Annotated[Url, AfterValidator(urls.destination)]  # where people are led
AppId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
DIGITS = BeforeValidator(_digits)  # what a number of a query is written in
PositiveInt = Annotated[int, Field(ge=1, le=BIGGEST)]

# An App builds the models of its own routes; the others that a function imports are built at their first use, if ever.


class RequestModel(BaseModel):
    """A request body: an unknown field is an error, a text is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class NoFields(RequestModel):
    """The body of a request whose path says everything."""


UNCHANGED: Any = None
"""The default of a field that a change may leave out: the schema then names no value that it would become."""


def given_fields(change: BaseModel) -> dict[str, Any]:
    """The fields that a change gives, by their names; what it leaves out stays as it is."""
    return {name: getattr(change, name) for name in change.model_fields_set}


class AnswerModel(BaseModel):
    """An object that clients see."""

    model_config = ConfigDict(frozen=True, defer_build=True)
