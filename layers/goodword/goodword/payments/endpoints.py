"""Provider endpoints: the addresses a company gives to Stripe and Whop, each with its signing secrets.

Secrets are written by the admin role and can be read by the webhook role alone; an API key, with which the provider is
asked what was missed, by the jobs role alone. Instead of either, an endpoint may hold the ARN of one in AWS Secrets
Manager. An endpoint that is turned off answers as if it had never been; its row stays, because the events that came in
there name it.

The company that makes an app's endpoint chooses its secret, and so signs for every company of the deployment that the
app is said to be installed by. So there are no such endpoints unless the operator allows them (docs/decisions/0006).
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, LiteralString, Self
from uuid import UUID

from psycopg import Connection
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from goodword.core import ids, paging, secrets_manager
from goodword.core import query as queries
from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import EndpointId
from goodword.core.paging import Page, PageQuery
from goodword.core.settings import settings
from goodword.payments.inbox import ProviderName

# How each kind of key begins, at Stripe, at Whop and here: one given for another would be kept, and never work.
_SIGNING: Final = ("whsec_", "ws_")
_SECRET_KEYS: Final = ("sk_", "rk_", "apik_")
_NEVER: Final = ("pk_", "gw_")


def _possible(text: str) -> str:
    # in any spelling: an ARN kept as a literal secret would never work
    if text.lower().startswith("arn:") and not secrets_manager.is_possible(text):
        raise ValueError("must be a secret, or the ARN of a secret in AWS Secrets Manager")
    return text


def _signing(text: str) -> str:
    if text.lower().startswith((*_SECRET_KEYS, *_NEVER)):
        raise ValueError("must be the signing secret that the provider shows for the webhook, not an API key")
    return text


def _asking(text: str) -> str:
    if text.lower().startswith((*_SIGNING, *_NEVER)):
        raise ValueError("must be a secret API key of the provider, not a signing secret and no publishable key")
    return text


_Given = Annotated[
    str, StringConstraints(min_length=8, max_length=512, pattern=r"^[\x21-\x7e]*$"), AfterValidator(_possible)
]
Secrets = Annotated[list[Annotated[_Given, AfterValidator(_signing)]], Field(min_length=1, max_length=10)]
ProviderApiKey = Annotated[_Given, AfterValidator(_asking)]


class NewEndpoint(RequestModel):
    """The body of POST /v1/provider-endpoints. Several secrets sign while one is being replaced by the next.

    An app's endpoint (Whop) takes events of every company that installed the app; the deployment must allow such.
    """

    provider: ProviderName
    secrets: Secrets
    api_key: ProviderApiKey | None = None
    scope: Literal["company", "app"] = "company"

    @model_validator(mode="after")
    def _only_whop_has_apps(self) -> Self:
        if self.scope == "app" and self.provider != "whop":
            raise ValueError("only a Whop endpoint can be an app's")
        return self


class EndpointChange(RequestModel):
    """The body of PATCH /v1/provider-endpoints/{id}: what is absent stays.

    `secrets` are those that sign from now on, all of them. An `api_key` of null has the provider asked no more.
    """

    secrets: Secrets = Field(default_factory=list)
    api_key: ProviderApiKey | None = None

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("gives secrets, an api_key or both")
        return self


class Endpoint(AnswerModel):
    """An endpoint, and the URL to give to the provider. Secrets are never shown again."""

    id: EndpointId
    url: str


class ListedEndpoint(Endpoint):
    """An endpoint as it is listed."""

    provider: ProviderName
    scope: Literal["company", "app"]
    reconciles: bool
    reconciled_until: Instant | None
    created_at: Instant


class EndpointList(Page[ListedEndpoint]):
    """A page of endpoints, newest first."""


class EndpointQuery(PageQuery):
    """How GET /v1/provider-endpoints is asked."""

    after: str | None = Field(default=None, pattern=r"^whe_[0-9a-f]{32}$")


@dataclass(frozen=True, slots=True)
class _Row:
    """An endpoint as it is stored, as far as the admin role may read it."""

    id: UUID
    provider: ProviderName
    scope: Literal["company", "app"]
    reconciles: bool
    created_at: datetime
    reconciled_until: datetime | None


_INSERT = """
    INSERT INTO provider_endpoints (company_id, id, provider, scope, secrets, api_key)
    VALUES (%(company_id)s, %(id)s, %(provider)s, %(scope)s, %(secrets)s, %(api_key)s)
    ON CONFLICT ON CONSTRAINT provider_endpoints_pk DO NOTHING
"""

# An app's endpoint is reconciled as far as the company that is furthest behind.
_ENDPOINTS: LiteralString = """
    SELECT id, provider, scope, reconciles, created_at, (
        SELECT CASE WHEN bool_and(reconciled_until IS NOT NULL) THEN min(reconciled_until) END FROM reconciliations
        WHERE endpoint_company_id = provider_endpoints.company_id AND endpoint_id = provider_endpoints.id
    ) AS reconciled_until
    FROM provider_endpoints"""

_LIST = f"""{_ENDPOINTS}
    WHERE company_id = %(company_id)s AND disabled_at IS NULL
        AND (%(after)s::uuid IS NULL OR (created_at, id) < (
            SELECT created_at, id FROM provider_endpoints WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
"""  # noqa: S608 - from constants of this module

_ONE = f"""{_ENDPOINTS}
    WHERE company_id = %(company_id)s AND id = %(id)s AND disabled_at IS NULL
"""

_EXISTS = "SELECT 1 FROM provider_endpoints WHERE company_id = %(company_id)s AND id = %(id)s"

# Two statements: one would have to read the column that it leaves as it is, and the admin role may read neither.
_CHANGE_SECRETS = """
    UPDATE provider_endpoints SET secrets = %(secrets)s
    WHERE company_id = %(company_id)s AND id = %(id)s AND disabled_at IS NULL
"""

_CHANGE_API_KEY = """
    UPDATE provider_endpoints SET api_key = %(api_key)s
    WHERE company_id = %(company_id)s AND id = %(id)s AND disabled_at IS NULL
"""

_TURN_OFF = """
    UPDATE provider_endpoints SET disabled_at = coalesce(disabled_at, clock_timestamp()), secrets = '{}',
        api_key = NULL
    WHERE company_id = %(company_id)s AND id = %(id)s
    RETURNING id
"""


def create(connection: Connection, company_id: UUID, endpoint_id: UUID, new: NewEndpoint, base_url: str) -> Endpoint:
    """Write a new endpoint. Raises Refused for an app's where the deployment does not allow them."""
    if new.scope == "app" and not settings().allow_app_endpoints:
        raise invalid_fields(("scope", "app endpoints are not allowed in this deployment (AllowAppEndpoints)"))
    connection.execute(_INSERT, {"company_id": company_id, "id": endpoint_id, **new.model_dump()})
    return Endpoint(id=endpoint_id, url=_url(base_url, new.provider, endpoint_id))


def listed(connection: Connection, company_id: UUID, query: EndpointQuery, base_url: str) -> EndpointList:
    """A page of the endpoints that are in use. Raises Refused for an `after` that is none of the company's."""
    after = ids.parse("whe", query.after) if query.after else None
    rows = queries.every(connection, _Row, _LIST, company_id=company_id, after=after, limit=query.limit)
    if after and not rows:
        paging.refuse_unknown(connection, _EXISTS, "is no endpoint of this company", company_id=company_id, id=after)
    return EndpointList.of([_shown(row, base_url) for row in rows], query.limit)


def change(
    connection: Connection, company_id: UUID, endpoint_id: UUID | None, new: EndpointChange, base_url: str
) -> ListedEndpoint:
    """Let other secrets sign, or another key ask, from now on. Raises NotFound."""
    if endpoint_id is None:
        raise _not_found()
    values = {"company_id": company_id, "id": endpoint_id, **new.model_dump()}
    if "secrets" in new.model_fields_set:
        connection.execute(_CHANGE_SECRETS, values)
    if "api_key" in new.model_fields_set:
        connection.execute(_CHANGE_API_KEY, values)
    row = queries.one(connection, _Row, _ONE, company_id=company_id, id=endpoint_id)
    if row is None:
        raise _not_found()
    return _shown(row, base_url)


def turn_off(connection: Connection, company_id: UUID, endpoint_id: UUID | None) -> None:
    """Take nothing in there any more; once more changes nothing. Raises NotFound."""
    if connection.execute(_TURN_OFF, {"company_id": company_id, "id": endpoint_id}).fetchone() is None:
        raise _not_found()


def _not_found() -> NotFound:
    return NotFound("endpoint_not_found", "There is no such endpoint.")


def _shown(row: _Row, base_url: str) -> ListedEndpoint:
    return ListedEndpoint(**asdict(row), url=_url(base_url, row.provider, row.id))


def _url(base_url: str, provider: str, endpoint_id: UUID) -> str:
    return f"{base_url}/webhooks/{provider}/{ids.public('whe', endpoint_id)}"
