"""Provider endpoints: the addresses a company gives to Stripe and Whop, each with its signing secrets.

Secrets are written by the admin role and can be read by the webhook role alone. Instead of a secret, an endpoint may
hold the ARN of one in AWS Secrets Manager. An endpoint that is turned off answers as if it had never been; its row
stays, because the events that came in there name it.
"""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from goodword.core import ids, secrets_manager
from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import EndpointId


def _a_secret_or_where_it_is(text: str) -> str:
    if secrets_manager.is_reference(text) and not secrets_manager.is_possible(text):
        raise ValueError("must be a secret, or the ARN of a secret in AWS Secrets Manager")
    return text


Secret = Annotated[
    str,
    StringConstraints(min_length=8, max_length=512, pattern=r"^[\x21-\x7e]*$"),
    AfterValidator(_a_secret_or_where_it_is),
]
Secrets = Annotated[list[Secret], Field(min_length=1, max_length=10)]


class NewEndpoint(RequestModel):
    """The body of POST /v1/provider-endpoints. Several secrets sign while one is being replaced by the next.

    An app's endpoint (Whop) takes events of every company that installed the app.
    """

    provider: Literal["stripe", "whop"]
    secrets: Secrets
    scope: Literal["company", "app"] = "company"

    @model_validator(mode="after")
    def _only_whop_has_apps(self) -> Self:
        if self.scope == "app" and self.provider != "whop":
            raise ValueError("only a Whop endpoint can be an app's")
        return self


class NewSecrets(RequestModel):
    """The body of PATCH /v1/provider-endpoints/{id}: the secrets that sign from now on, all of them."""

    secrets: Secrets


class Endpoint(AnswerModel):
    """An endpoint, and the URL to give to the provider. Secrets are never shown again."""

    id: EndpointId
    url: str


class ListedEndpoint(Endpoint):
    """An endpoint as it is listed."""

    provider: Literal["stripe", "whop"]
    scope: Literal["company", "app"]
    created_at: Instant


class EndpointList(AnswerModel):
    """A page of endpoints, newest first."""

    data: list[ListedEndpoint]
    has_more: bool


class EndpointQuery(RequestModel):
    """How GET /v1/provider-endpoints is asked."""

    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = Field(default=None, pattern=r"^whe_[0-9a-f]{32}$")


_INSERT = """
    INSERT INTO provider_endpoints (company_id, id, provider, scope, secrets)
    VALUES (%(company_id)s, %(id)s, %(provider)s, %(scope)s, %(secrets)s)
    ON CONFLICT ON CONSTRAINT provider_endpoints_pk DO NOTHING
"""

_LIST = """
    SELECT id, provider, scope, created_at FROM provider_endpoints
    WHERE company_id = %(company_id)s AND disabled_at IS NULL
        AND (%(after)s::uuid IS NULL OR (created_at, id) < (
            SELECT created_at, id FROM provider_endpoints WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
"""

_EXISTS = "SELECT 1 FROM provider_endpoints WHERE company_id = %(company_id)s AND id = %(id)s"

_CHANGE = """
    UPDATE provider_endpoints SET secrets = %(secrets)s
    WHERE company_id = %(company_id)s AND id = %(id)s AND disabled_at IS NULL
    RETURNING id, provider, scope, created_at
"""

_TURN_OFF = """
    UPDATE provider_endpoints SET disabled_at = coalesce(disabled_at, clock_timestamp()), secrets = '{}'
    WHERE company_id = %(company_id)s AND id = %(id)s
    RETURNING id
"""


def create(connection: Connection, company_id: UUID, endpoint_id: UUID, new: NewEndpoint, base_url: str) -> Endpoint:
    """Write a new endpoint."""
    connection.execute(_INSERT, {"company_id": company_id, "id": endpoint_id, **new.model_dump()})
    return Endpoint(id=endpoint_id, url=_url(base_url, new.provider, endpoint_id))


def listed(connection: Connection, company_id: UUID, query: EndpointQuery, base_url: str) -> EndpointList:
    """A page of the endpoints that are in use. Raises Refused for an `after` that is none of the company's."""
    after = ids.parse("whe", query.after) if query.after else None
    asked = {"company_id": company_id, "after": after, "limit": query.limit}
    rows = connection.cursor(row_factory=dict_row).execute(_LIST, asked).fetchall()
    if after and not rows and not connection.execute(_EXISTS, {"company_id": company_id, "id": after}).fetchone():
        raise invalid_fields(("after", "is no endpoint of this company"))
    return EndpointList(data=[_shown(row, base_url) for row in rows[: query.limit]], has_more=len(rows) > query.limit)


def change(
    connection: Connection, company_id: UUID, endpoint_id: UUID | None, new: NewSecrets, base_url: str
) -> ListedEndpoint:
    """Let other secrets sign from now on. Raises NotFound."""
    wanted = {"company_id": company_id, "id": endpoint_id, "secrets": new.secrets}
    row = connection.cursor(row_factory=dict_row).execute(_CHANGE, wanted).fetchone()
    if row is None:
        raise _not_found()
    return _shown(row, base_url)


def turn_off(connection: Connection, company_id: UUID, endpoint_id: UUID | None) -> None:
    """Take nothing in there any more; once more changes nothing. Raises NotFound."""
    if connection.execute(_TURN_OFF, {"company_id": company_id, "id": endpoint_id}).fetchone() is None:
        raise _not_found()


def _not_found() -> NotFound:
    return NotFound("endpoint_not_found", "There is no such endpoint.")


def _shown(row: dict[str, Any], base_url: str) -> ListedEndpoint:
    return ListedEndpoint(**row, url=_url(base_url, row["provider"], row["id"]))


def _url(base_url: str, provider: str, endpoint_id: UUID) -> str:
    return f"{base_url}/webhooks/{provider}/{ids.public('whe', endpoint_id)}"
