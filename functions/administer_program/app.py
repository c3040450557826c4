"""The program: its rules, its codes, what points can buy, and points given, taken or given back by hand."""

from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.points import ledger, redemptions
from goodword.points.ledger import Entry, PointsAdjustment
from goodword.points.redemptions import NewOption, Option, Redemption
from goodword.program import versions
from goodword.program.document import Program
from goodword.program.versions import ProgramVersion, ProgramVersionList, VersionQuery
from goodword.referral import codes
from goodword.referral.codes import Code, CodeChange, CodeList, CodeQuery, NewCode

app = App()


@app.route("GET /v1/program", scope=Scope.ADMIN, answers={200: ProgramVersion})
def read_program(request: Request) -> Response:
    """Show the version in force."""
    terms = database.once(lambda c: versions.current(c, request.company_id))
    return answer(200, ProgramVersion(version=terms.version, created_at=terms.created_at, program=terms.program))


@app.route("PUT /v1/program", scope=Scope.ADMIN, body=Program, answers={200: ProgramVersion})
def replace_program(request: Request, document: Program) -> Response:
    """Put a new version in force for referrals to come; what the document leaves out takes its default."""
    version_id = ids.new_id()
    return answer(200, database.transact(lambda c: versions.replace(c, request.company_id, version_id, document)))


@app.route("GET /v1/program/versions", scope=Scope.ADMIN, query=VersionQuery, answers={200: ProgramVersionList})
def list_versions(request: Request) -> Response:
    """List the versions of the program."""
    query = request.parse_query(VersionQuery)
    return answer(200, database.transact(lambda c: versions.listed(c, request.company_id, query)))


@app.route("POST /v1/codes", scope=Scope.WRITE, body=NewCode, answers={201: Code})
def create_code(request: Request, new: NewCode) -> Response:
    """Make a custom code for a user; one of a campaign or with its own destination by a key of scope admin alone."""
    if new.type == "campaign" or new.destination_url is not None:
        request.authenticate(Scope.ADMIN)
    code_id = ids.new_id()
    return idempotency.respond_once(
        request, new, lambda c: answer(201, codes.create(c, request.company_id, code_id, new))
    )


@app.route("GET /v1/codes", scope=Scope.ADMIN, query=CodeQuery, answers={200: CodeList})
def list_codes(request: Request) -> Response:
    """List codes of every type."""
    query = request.parse_query(CodeQuery)
    return answer(200, database.transact(lambda c: codes.listed(c, request.company_id, query)))


@app.route("PATCH /v1/codes/{code}", scope=Scope.ADMIN, body=CodeChange, answers={200: Code})
def change_code(request: Request, wanted: CodeChange) -> Response:
    """Change a code; nothing is ever deleted, but `active` can be false."""
    text, change_id = request.path_parameters["code"], ids.new_id()
    return answer(200, database.transact(lambda c: codes.change(c, request.company_id, text, change_id, wanted)))


@app.route("POST /v1/redemption-options", scope=Scope.ADMIN, body=NewOption, answers={201: Option})
def offer(request: Request, option: NewOption) -> Response:
    """Offer something for points."""
    option_id = ids.new_id()
    return idempotency.respond_once(
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
