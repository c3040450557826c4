"""The account: settings, API keys, a test company's clock, addresses for providers, and what came in there."""

from goodword.access import settings
from goodword.access.settings import CompanySettings, SettingsChange
from goodword.accounts import api_keys, companies
from goodword.accounts.api_keys import ApiKeyList, ApiKeyQuery, CreatedApiKey, NewApiKey
from goodword.accounts.companies import TestClock, TestClockState
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.payments import endpoints, events, replays
from goodword.payments.endpoints import (
    Endpoint,
    EndpointChange,
    EndpointList,
    EndpointQuery,
    ListedEndpoint,
    NewEndpoint,
)
from goodword.payments.events import InboxEvent, InboxList, InboxQuery

app = App()


@app.route("GET /v1/test-clock", scope=Scope.ADMIN, answers={200: TestClockState})
def read_clock(request: Request) -> Response:
    """Show where a test company's clock stands."""
    caller = request.caller
    return answer(200, database.once(companies.test_clock, caller.company_id, caller.livemode))


@app.route("PUT /v1/test-clock", scope=Scope.ADMIN, body=TestClock, answers={200: TestClockState})
def set_clock(request: Request, clock: TestClock) -> Response:
    """Set a test company's clock, or return it to real time."""
    caller = request.caller
    return answer(200, database.once(companies.set_test_clock, caller.company_id, caller.livemode, clock))


@app.route("GET /v1/settings", scope=Scope.ADMIN, answers={200: CompanySettings})
def read_settings(request: Request) -> Response:
    """Show the settings."""
    return answer(200, database.once(settings.read, request.company_id))


@app.route("PATCH /v1/settings", scope=Scope.ADMIN, body=SettingsChange, answers={200: CompanySettings})
def change_settings(request: Request, wanted: SettingsChange) -> Response:
    """Change settings, for what happens from now on."""
    return answer(200, database.transact(settings.change, request.company_id, ids.new_id(), wanted))


@app.route("POST /v1/api-keys", scope=Scope.ADMIN, body=NewApiKey, answers={201: CreatedApiKey})
def issue_key(request: Request, new: NewApiKey) -> Response:
    """Make an API key, whose secret is shown this once."""
    drawn = api_keys.draw(new, request.caller.livemode)
    kept = idempotency.answer_once(request, new, 201, api_keys.issue, request.company_id, drawn, new, request.api_key)
    return idempotency.shown(kept, CreatedApiKey, lambda key: api_keys.shown(key, request.api_key))


@app.route("GET /v1/api-keys", scope=Scope.ADMIN, query=ApiKeyQuery, answers={200: ApiKeyList})
def list_keys(request: Request) -> Response:
    """List the API keys that are not revoked, newest first."""
    query = request.parse_query(ApiKeyQuery)
    return answer(200, database.transact(api_keys.listed, request.company_id, query))


@app.route("DELETE /v1/api-keys/{id}", scope=Scope.ADMIN, answers={204: None})
def revoke_key(request: Request) -> Response:
    """Let an API key work no more, at the latest 30 seconds from now."""
    database.transact(api_keys.revoke, request.company_id, ids.parse("key", request.path_parameters["id"]))
    return Response(204)


@app.route("POST /v1/provider-endpoints", scope=Scope.ADMIN, body=NewEndpoint, answers={201: Endpoint})
def create_endpoint(request: Request, endpoint: NewEndpoint) -> Response:
    """Make an address for a provider's webhooks."""
    return idempotency.answer_once(
        request, endpoint, 201, endpoints.create, request.company_id, ids.new_id(), endpoint, request.base_url
    )


@app.route("GET /v1/provider-endpoints", scope=Scope.ADMIN, query=EndpointQuery, answers={200: EndpointList})
def list_endpoints(request: Request) -> Response:
    """List the addresses in use, newest first."""
    query = request.parse_query(EndpointQuery)
    return answer(200, database.once(endpoints.listed, request.company_id, query, request.base_url))


@app.route("PATCH /v1/provider-endpoints/{id}", scope=Scope.ADMIN, body=EndpointChange, answers={200: ListedEndpoint})
def change_endpoint(request: Request, new: EndpointChange) -> Response:
    """Let other secrets sign, or another key ask the provider, from now on."""
    endpoint_id = ids.parse("whe", request.path_parameters["id"])
    return answer(200, database.transact(endpoints.change, request.company_id, endpoint_id, new, request.base_url))


@app.route("DELETE /v1/provider-endpoints/{id}", scope=Scope.ADMIN, answers={204: None})
def turn_endpoint_off(request: Request) -> Response:
    """Take nothing in at an address any more."""
    database.once(endpoints.turn_off, request.company_id, ids.parse("whe", request.path_parameters["id"]))
    return Response(204)


@app.route("GET /v1/inbox", scope=Scope.ADMIN, query=InboxQuery, answers={200: InboxList})
def list_inbox(request: Request) -> Response:
    """List the events that came in, newest first."""
    query = request.parse_query(InboxQuery)
    return answer(200, database.once(events.listed, request.company_id, query))


@app.route("POST /v1/inbox/{id}/replay", scope=Scope.ADMIN, answers={200: InboxEvent})
def replay(request: Request) -> Response:
    """Apply an event again now."""
    event_id = ids.parse("inb", request.path_parameters["id"])
    body = request.parse_nothing()
    return idempotency.answer_once(request, body, 200, replays.replay, request.company_id, event_id)


@app.route("POST /v1/inbox/{id}/discard", scope=Scope.ADMIN, answers={200: InboxEvent})
def discard(request: Request) -> Response:
    """Give a failed event up."""
    event_id = ids.parse("inb", request.path_parameters["id"])
    body = request.parse_nothing()
    return idempotency.answer_once(request, body, 200, replays.discard, request.company_id, event_id)


lambda_handler = app.handle
