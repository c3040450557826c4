"""Points: what can be bought with them, buying it, and what stands in a wallet."""

from goodword import cold_start
from goodword.awards import balances
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.insight import statements
from goodword.insight.statements import Statement, StatementQuery
from goodword.points import ledger, options, redemptions
from goodword.points.ledger import Balance, BalanceQuery, EntryList, EntryQuery
from goodword.points.options import Option, OptionList, OptionQuery
from goodword.points.redemptions import NewRedemption, Redemption, RedemptionList, RedemptionQuery

app = App()


@app.route("GET /v1/redemption-options", scope=Scope.READ, query=OptionQuery, answers={200: OptionList})
def list_options(request: Request) -> Response:
    """List what points can buy."""
    query = request.parse_query(OptionQuery)
    return answer(200, database.once(options.listed, request.company_id, query))


@app.route("GET /v1/redemption-options/{id}", scope=Scope.READ, answers={200: Option})
def read_option(request: Request) -> Response:
    """Show something that points can buy."""
    option_id = ids.parse("opt", request.path_parameters["id"])
    return answer(200, database.once(options.find, request.company_id, option_id))


@app.route("POST /v1/users/{user_id}/redemptions", scope=Scope.WRITE, body=NewRedemption, answers={201: Redemption})
def redeem(request: Request, redemption: NewRedemption) -> Response:
    """Spend points, once per Idempotency-Key, in one trip."""
    trip = idempotency.one_trip(request, redemption)
    kept = database.once(redemptions.redeem, trip, request.user_id, ids.new_id(), redemption)
    return idempotency.response_of(kept)


@app.route(
    "GET /v1/users/{user_id}/redemptions", scope=Scope.READ, query=RedemptionQuery, answers={200: RedemptionList}
)
def list_redemptions(request: Request) -> Response:
    """List what a user redeemed."""
    query = request.parse_query(RedemptionQuery)
    return answer(200, database.transact(redemptions.of_user, request.company_id, request.user_id, query))


@app.route("GET /v1/users/{user_id}/balance", scope=Scope.READ, query=BalanceQuery, answers={200: Balance})
def read_balance(request: Request) -> Response:
    """Show what a user may spend, now or at a past instant."""
    query = request.parse_query(BalanceQuery)
    return answer(200, database.once(balances.find, request.company_id, request.user_id, query.as_of))


@app.route("GET /v1/users/{user_id}/transactions", scope=Scope.READ, query=EntryQuery, answers={200: EntryList})
def list_entries(request: Request) -> Response:
    """List the changes of a user's balance."""
    query = request.parse_query(EntryQuery)
    return answer(200, database.transact(ledger.entries_of, request.company_id, request.user_id, query))


@app.route("GET /v1/users/{user_id}/statement", scope=Scope.READ, query=StatementQuery, answers={200: Statement})
def read_statement(request: Request) -> Response:
    """Sum up the changes of a user's balance over a period."""
    query = request.parse_query(StatementQuery)
    return answer(200, database.once(statements.of_user, request.company_id, request.user_id, query))


lambda_handler = cold_start.over(app.handle)
