"""The program: its rules, its codes, what points can buy, what was redeemed, and points given or taken by hand."""

from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.insight import backtests
from goodword.insight.backtests import Backtest, BacktestRequest
from goodword.points import ledger, options, redemptions
from goodword.points.ledger import Entry, PointsAdjustment
from goodword.points.options import NewOption, Option, OptionChange
from goodword.points.redemptions import Redemption, RedemptionList, RedemptionQuery, RewardDecision
from goodword.program import edits
from goodword.program.document import Program
from goodword.program.edits import ProgramVersion, ProgramVersionList, VersionQuery
from goodword.referral import codes
from goodword.referral.codes import Code, CodeChange, CodeList, CodeQuery, NewCode

app = App()


@app.route("GET /v1/program", scope=Scope.ADMIN, answers={200: ProgramVersion})
def read_program(request: Request) -> Response:
    """Show the version in force."""
    return answer(200, database.once(edits.read, request.company_id))


@app.route("PUT /v1/program", scope=Scope.ADMIN, body=Program, answers={200: ProgramVersion})
def replace_program(request: Request, document: Program) -> Response:
    """Put a new version in force for referrals to come; what the document leaves out takes its default."""
    return answer(200, database.transact(edits.replace, request.company_id, ids.new_id(), document))


@app.route("POST /v1/program/backtest", scope=Scope.ADMIN, body=BacktestRequest, answers={200: Backtest})
def try_program(request: Request, wanted: BacktestRequest) -> Response:
    """Reckon what a draft would have awarded on the real history; nothing is stored."""
    return answer(200, database.transact(backtests.run, request.company_id, wanted))


@app.route("GET /v1/program/versions", scope=Scope.ADMIN, query=VersionQuery, answers={200: ProgramVersionList})
def list_versions(request: Request) -> Response:
    """List the versions of the program."""
    query = request.parse_query(VersionQuery)
    return answer(200, database.transact(edits.listed, request.company_id, query))


@app.route("POST /v1/codes", scope=Scope.WRITE, body=NewCode, answers={201: Code})
def create_code(request: Request, new: NewCode) -> Response:
    """Make a custom code for a user; one of a campaign or with its own destination by a key of scope admin alone."""
    if new.type == "campaign" or new.destination_url is not None:
        request.authenticate(Scope.ADMIN)
    return idempotency.answer_once(request, new, 201, codes.create, request.company_id, ids.new_id(), new)


@app.route("GET /v1/codes", scope=Scope.ADMIN, query=CodeQuery, answers={200: CodeList})
def list_codes(request: Request) -> Response:
    """List codes of every type."""
    query = request.parse_query(CodeQuery)
    return answer(200, database.transact(codes.listed, request.company_id, query))


@app.route("PATCH /v1/codes/{code}", scope=Scope.ADMIN, body=CodeChange, answers={200: Code})
def change_code(request: Request, wanted: CodeChange) -> Response:
    """Change a code; nothing is ever deleted, but `active` can be false."""
    code = request.path_parameters["code"]
    return answer(200, database.transact(codes.change, request.company_id, code, ids.new_id(), wanted))


@app.route("POST /v1/redemption-options", scope=Scope.ADMIN, body=NewOption, answers={201: Option})
def offer(request: Request, option: NewOption) -> Response:
    """Offer something for points."""
    return idempotency.answer_once(request, option, 201, options.offer, request.company_id, ids.new_id(), option)


@app.route("PATCH /v1/redemption-options/{id}", scope=Scope.ADMIN, body=OptionChange, answers={200: Option})
def change_option(request: Request, wanted: OptionChange) -> Response:
    """Change what is offered for points, from now on."""
    option_id = ids.parse("opt", request.path_parameters["id"])
    return answer(200, database.transact(options.change, request.company_id, option_id, ids.new_id(), wanted))


@app.route("POST /v1/users/{user_id}/points", scope=Scope.ADMIN, body=PointsAdjustment, answers={201: Entry})
def adjust(request: Request, adjustment: PointsAdjustment) -> Response:
    """Give points to a user, or take some, in one trip."""
    trip = idempotency.one_trip(request, adjustment)
    kept = database.once(ledger.adjust, trip, request.user_id, ids.new_id(), adjustment)
    return idempotency.response_of(kept)


@app.route("GET /v1/redemptions", scope=Scope.ADMIN, query=RedemptionQuery, answers={200: RedemptionList})
def list_redemptions(request: Request) -> Response:
    """List redemptions; the pending ones are rewards that wait to be given."""
    query = request.parse_query(RedemptionQuery)
    return answer(200, database.transact(redemptions.listed, request.company_id, query))


@app.route("GET /v1/redemptions/{id}", scope=Scope.ADMIN, answers={200: Redemption})
def read_redemption(request: Request) -> Response:
    """Show a redemption."""
    redemption_id = ids.parse("red", request.path_parameters["id"])
    return answer(200, database.once(redemptions.find, request.company_id, redemption_id))


@app.route("POST /v1/redemptions/{id}/fulfil", scope=Scope.ADMIN, body=RewardDecision, answers={200: Redemption})
def fulfil(request: Request, decision: RewardDecision) -> Response:
    """Say that a pending reward was given, in one trip."""
    trip = idempotency.one_trip(request, decision, required=False)
    redemption_id = ids.parse("red", request.path_parameters["id"])
    return idempotency.response_of(database.once(redemptions.fulfil, trip, redemption_id, decision))


@app.route("POST /v1/redemptions/{id}/fail", scope=Scope.ADMIN, body=RewardDecision, answers={200: Redemption})
def fail(request: Request, decision: RewardDecision) -> Response:
    """Say that a pending reward cannot be given, in one trip; its points go back."""
    trip = idempotency.one_trip(request, decision, required=False)
    redemption_id = ids.parse("red", request.path_parameters["id"])
    return idempotency.response_of(database.once(redemptions.fail, trip, redemption_id, decision))


@app.route("POST /v1/redemptions/{id}/refund", scope=Scope.ADMIN, answers={200: Redemption})
def refund(request: Request) -> Response:
    """Give the points of a redemption back, in one trip; what they bought ends now."""
    trip = idempotency.one_trip(request, request.parse_nothing())
    redemption_id = ids.parse("red", request.path_parameters["id"])
    return idempotency.response_of(database.once(redemptions.refund, trip, redemption_id))


lambda_handler = app.handle
