"""The field types of requests and answers: bounds that hold everywhere, stated once.

No text holds NUL (Postgres cannot store it); no integer leaves the range of a bigint.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

EXTERNAL_ID = r"^[A-Za-z0-9._:@|~-]{1,128}$"
BIGGEST = 2**53 - 1  # what every JSON reader holds exactly


def rfc3339(at: datetime) -> str:
    """A time as API.md writes it: UTC, microseconds, `Z`. The SQL function of this name writes the same."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_utc),
    PlainSerializer(rfc3339, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
ExternalId = Annotated[str, StringConstraints(pattern=EXTERNAL_ID)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
LongText = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]
Email = Annotated[str, StringConstraints(max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://[^\s\x00/?#]+[^\s\x00]*$")]
AppId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
CodeText = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
PositiveInt = Annotated[int, Field(ge=1, le=BIGGEST)]


class RequestModel(BaseModel):
    """A request body: an unknown field is an error, a text is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AnswerModel(BaseModel):
    """An object that clients see."""

    model_config = ConfigDict(frozen=True)
