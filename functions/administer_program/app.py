"""The program: its rules, what points can buy, and points given, taken or given back by hand."""

from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.points import ledger, redemptions
from goodword.points.ledger import Entry, PointsAdjustment
from goodword.points.redemptions import NewOption, Option, Redemption
from goodword.referral import program
from goodword.referral.program import ProgramVersion

app = App()


@app.route("GET /v1/program", scope=Scope.ADMIN, answers={200: ProgramVersion})
def read_program(request: Request) -> Response:
    """Show the version in force."""
    terms = database.once(lambda c: program.current(c, request.company_id))
    return answer(200, ProgramVersion(version=terms.version, created_at=terms.created_at, program=terms.program))


@app.route("POST /v1/redemption-options", scope=Scope.ADMIN, body=NewOption, answers={201: Option})
def offer(request: Request, option: NewOption) -> Response:
    """Offer something for points."""
    option_id = ids.new_id()
    return idempotency.transact(
        request, option, lambda c: answer(201, redemptions.offer(c, request.company_id, option_id, option))
    )


@app.route("POST /v1/users/{user_id}/points", scope=Scope.ADMIN, body=PointsAdjustment, answers={201: Entry})
def adjust(request: Request, adjustment: PointsAdjustment) -> Response:
    """Give points to a user, or take some, in one trip."""
    statement = {
        **idempotency.one_trip(request, adjustment),
        "user_id": request.user_id,
        "points": adjustment.points,
        "note": adjustment.note,
        "expires_at": adjustment.expires_at,
        "priority": adjustment.priority,
        "adjustment": ids.public("adj", ids.new_id()),
    }
    return database.once(lambda c: idempotency.one_trip_answer(c, ledger.ADJUST, statement))


@app.route("POST /v1/redemptions/{id}/refund", scope=Scope.ADMIN, answers={200: Redemption})
def refund(request: Request) -> Response:
    """Give the points of a redemption back, in one trip; what they bought ends now."""
    statement = {
        **idempotency.one_trip(request, request.parse_nothing()),
        "redemption": ids.parse("red", request.path_parameters["id"]),
    }
    return database.once(lambda c: idempotency.one_trip_answer(c, redemptions.REFUND, statement))


lambda_handler = app.handle
