"""Access: what a user may use, and using it."""

from goodword import cold_start
from goodword.access import entitlements
from goodword.access import usage as usages
from goodword.access.entitlements import Entitlement, EntitlementList
from goodword.access.usage import Usage, UsageAnswer, UsageList, UsageQuery, UsageReturn, UsageReturnAnswer
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.fields import NoFields
from goodword.core.http import App, Request, Response, answer

app = App()


@app.route("GET /v1/users/{user_id}/entitlements", scope=Scope.READ, query=NoFields, answers={200: EntitlementList})
def list_entitlements(request: Request) -> Response:
    """List every feature for a user."""
    request.parse_query(NoFields)
    return answer(200, database.once(entitlements.of_user, request.company_id, request.user_id))


@app.route("GET /v1/users/{user_id}/entitlements/{feature}", scope=Scope.READ, answers={200: Entitlement})
def read_entitlement(request: Request) -> Response:
    """Show one feature for a user."""
    feature = request.path_parameters["feature"]
    return answer(200, database.once(entitlements.of_feature, request.company_id, request.user_id, feature))


@app.route("POST /v1/users/{user_id}/usage", scope=Scope.WRITE, body=Usage, answers={200: UsageAnswer})
def consume(request: Request, usage: Usage) -> Response:
    """Use a feature, if it is allowed, in one trip."""
    trip = idempotency.one_trip(request, usage, required=False)
    kept = database.once(usages.consume, trip, request.user_id, ids.new_id(), usage)
    return idempotency.response_of(kept)


@app.route(
    "POST /v1/users/{user_id}/usage/{usage_id}/return",
    scope=Scope.WRITE,
    body=UsageReturn,
    answers={200: UsageReturnAnswer},
)
def give_back(request: Request, wanted: UsageReturn) -> Response:
    """Return a use, or a part of it, in one trip."""
    trip, usage_id = idempotency.one_trip(request, wanted, required=False), request.path_parameters["usage_id"]
    kept = database.once(usages.give_back, trip, request.user_id, usage_id, ids.new_id(), wanted)
    return idempotency.response_of(kept)


@app.route("GET /v1/users/{user_id}/usage", scope=Scope.READ, query=UsageQuery, answers={200: UsageList})
def list_uses(request: Request) -> Response:
    """List what a user used."""
    query = request.parse_query(UsageQuery)
    return answer(200, database.transact(usages.listed, request.company_id, request.user_id, query))


lambda_handler = cold_start.over(app.handle)
