"""Access: what a user may use, and using it."""

from goodword.access import entitlements
from goodword.access.entitlements import Entitlement, EntitlementList, Usage, UsageAnswer
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer

app = App()


@app.route("GET /v1/users/{user_id}/entitlements", scope=Scope.READ, answers={200: EntitlementList})
def list_entitlements(request: Request) -> Response:
    """List every feature for a user."""
    user_id = request.user_id
    return answer(200, database.once(lambda c: entitlements.of_user(c, request.company_id, user_id)))


@app.route("GET /v1/users/{user_id}/entitlements/{feature}", scope=Scope.READ, answers={200: Entitlement})
def read_entitlement(request: Request) -> Response:
    """Show one feature for a user."""
    user_id, feature = request.user_id, request.path_parameters["feature"]
    return answer(200, database.once(lambda c: entitlements.of_feature(c, request.company_id, user_id, feature)))


@app.route("POST /v1/users/{user_id}/usage", scope=Scope.WRITE, body=Usage, answers={200: UsageAnswer})
def consume(request: Request, usage: Usage) -> Response:
    """Use a feature, if it is allowed, in one trip."""
    statement = {
        **idempotency.one_trip(request, usage, required=False),
        "user_id": request.user_id,
        "feature": usage.feature,
        "quantity": usage.quantity,
        "usage": ids.new_id(),
    }
    return database.once(lambda c: idempotency.one_trip_answer(c, entitlements.CONSUME, statement))


lambda_handler = app.handle
