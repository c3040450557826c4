"""Users: who they are and whom they brought."""

from goodword.accounts import users
from goodword.core import database
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.referral import profiles, referrals
from goodword.referral.profiles import User
from goodword.referral.referrals import CircleQuery, ReferralList

app = App()


@app.route("GET /v1/users/{user_id}", scope=Scope.READ, answers={200: User})
def read(request: Request) -> Response:
    """Show a user."""
    user_id = request.user_id
    return answer(200, database.once(lambda c: profiles.find(c, request.company_id, user_id, request.base_url)))


@app.route("GET /v1/users/{user_id}/referrals", scope=Scope.READ, query=CircleQuery, answers={200: ReferralList})
def circle(request: Request) -> Response:
    """List the people a user brought."""
    query, user_id = request.parse_query(CircleQuery), request.user_id
    return answer(
        200,
        database.transact(
            lambda c: referrals.circle(c, request.company_id, users.find(c, request.company_id, user_id).id, query)
        ),
    )


lambda_handler = app.handle
