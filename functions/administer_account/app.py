"""The account: a test company's clock, and the addresses to give to providers."""

from goodword.accounts import companies
from goodword.accounts.companies import TestClock, TestClockState
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.payments import endpoints
from goodword.payments.endpoints import Endpoint, NewEndpoint

app = App()


@app.route("GET /v1/test-clock", scope=Scope.ADMIN, answers={200: TestClockState})
def read_clock(request: Request) -> Response:
    """Show where a test company's clock stands."""
    caller = request.caller
    return answer(200, database.once(lambda c: companies.test_clock(c, caller.company_id, caller.livemode)))


@app.route("PUT /v1/test-clock", scope=Scope.ADMIN, body=TestClock, answers={200: TestClockState})
def set_clock(request: Request, clock: TestClock) -> Response:
    """Set a test company's clock, or return it to real time."""
    caller = request.caller
    return answer(200, database.once(lambda c: companies.set_test_clock(c, caller.company_id, caller.livemode, clock)))


@app.route("POST /v1/provider-endpoints", scope=Scope.ADMIN, body=NewEndpoint, answers={201: Endpoint})
def create_endpoint(request: Request, endpoint: NewEndpoint) -> Response:
    """Make an address for a provider's webhooks."""
    endpoint_id = ids.new_id()
    return idempotency.transact(
        request,
        endpoint,
        lambda c: answer(201, endpoints.create(c, request.company_id, endpoint_id, endpoint, request.base_url)),
    )


lambda_handler = app.handle
