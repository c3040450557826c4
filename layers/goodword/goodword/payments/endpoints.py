"""Provider endpoints: the addresses a company gives to Stripe and Whop, each with its signing secrets.

Secrets are written by the admin role and can be read by the webhook role alone.
"""

from typing import Annotated, Literal, Self
from uuid import UUID

from psycopg import Connection
from pydantic import Field, StringConstraints, model_validator

from goodword.core import ids
from goodword.core.fields import AnswerModel, RequestModel
from goodword.core.ids import EndpointId

Secret = Annotated[str, StringConstraints(min_length=8, max_length=512, pattern=r"^[\x21-\x7e]*$")]


class NewEndpoint(RequestModel):
    """The body of POST /v1/provider-endpoints. Several secrets sign while one is being replaced by the next.

    An app's endpoint (Whop) takes events of every company that installed the app.
    """

    provider: Literal["stripe", "whop"]
    secrets: list[Secret] = Field(min_length=1, max_length=10)
    scope: Literal["company", "app"] = "company"

    @model_validator(mode="after")
    def _only_whop_has_apps(self) -> Self:
        if self.scope == "app" and self.provider != "whop":
            raise ValueError("only a Whop endpoint can be an app's")
        return self


class Endpoint(AnswerModel):
    """An endpoint, and the URL to give to the provider. Secrets are never shown again."""

    id: EndpointId
    url: str


_INSERT = """
    INSERT INTO provider_endpoints (company_id, id, provider, scope, secrets)
    VALUES (%(company_id)s, %(id)s, %(provider)s, %(scope)s, %(secrets)s)
    ON CONFLICT ON CONSTRAINT provider_endpoints_pk DO NOTHING
"""


def create(connection: Connection, company_id: UUID, endpoint_id: UUID, new: NewEndpoint, base_url: str) -> Endpoint:
    """Write a new endpoint."""
    connection.execute(_INSERT, {"company_id": company_id, "id": endpoint_id, **new.model_dump()})
    return Endpoint(id=endpoint_id, url=f"{base_url}/webhooks/{new.provider}/{ids.public('whe', endpoint_id)}")
