"""Points: what can be bought with them, buying it, and what stands in a wallet."""

from goodword.accounts import users
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.insight import statements
from goodword.insight.statements import Statement, StatementQuery
from goodword.points import ledger, redemptions
from goodword.points.ledger import Balance, BalanceQuery, EntryList, EntryQuery
from goodword.points.redemptions import NewRedemption, OptionList, OptionQuery, Redemption
from goodword.referral import profiles

app = App()


@app.route("GET /v1/redemption-options", scope=Scope.READ, query=OptionQuery, answers={200: OptionList})
def list_options(request: Request) -> Response:
    """List what points can buy."""
    query = request.parse_query(OptionQuery)
    after = ids.parse("opt", query.after) if query.after else None
    return answer(200, database.once(lambda c: redemptions.options(c, request.company_id, after, query.limit)))


@app.route("POST /v1/users/{user_id}/redemptions", scope=Scope.WRITE, body=NewRedemption, answers={201: Redemption})
def redeem(request: Request, redemption: NewRedemption) -> Response:
    """Spend points, once per Idempotency-Key, in one trip."""
    statement = {
        **idempotency.one_trip(request, redemption),
        "user_id": request.user_id,
        "option": ids.parse("opt", redemption.option_id),
        "quantity": redemption.quantity,
        "redemption": ids.new_id(),
    }
    return database.once(lambda c: idempotency.one_trip_answer(c, redemptions.REDEEM, statement))


@app.route("GET /v1/users/{user_id}/balance", scope=Scope.READ, query=BalanceQuery, answers={200: Balance})
def read_balance(request: Request) -> Response:
    """Show what a user may spend, now or at a past instant."""
    query, user_id = request.parse_query(BalanceQuery), request.user_id
    return answer(200, database.transact(lambda c: profiles.balance(c, request.company_id, user_id, query.as_of)))


@app.route("GET /v1/users/{user_id}/transactions", scope=Scope.READ, query=EntryQuery, answers={200: EntryList})
def list_entries(request: Request) -> Response:
    """List the changes of a user's balance."""
    query, user_id = request.parse_query(EntryQuery), request.user_id
    return answer(
        200,
        database.transact(
            lambda c: ledger.entries(c, request.company_id, users.find(c, request.company_id, user_id).id, query)
        ),
    )


@app.route("GET /v1/users/{user_id}/statement", scope=Scope.READ, query=StatementQuery, answers={200: Statement})
def read_statement(request: Request) -> Response:
    """Sum up the changes of a user's balance over a period."""
    query, user_id = request.parse_query(StatementQuery), request.user_id
    return answer(200, database.once(lambda c: statements.of_user(c, request.company_id, user_id, query)))


lambda_handler = app.handle
