"""What is asked of a company as a whole: who has brought the most people, and whether its books are right."""

from goodword.campaigns import leaderboard
from goodword.campaigns.leaderboard import Leaderboard, LeaderboardQuery
from goodword.core import database
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.insight import integrity
from goodword.insight.integrity import Integrity

app = App()


@app.route("GET /v1/integrity", scope=Scope.ADMIN, answers={200: Integrity})
def check_integrity(request: Request) -> Response:
    """Check the ledger, and say where its chain ends."""
    return answer(200, database.transact(integrity.report, request.company_id))


@app.route("GET /v1/leaderboard", scope=Scope.READ, query=LeaderboardQuery, answers={200: Leaderboard})
def read_leaderboard(request: Request) -> Response:
    """Rank those who bring people: of all time, in a month or in a campaign."""
    query = request.parse_query(LeaderboardQuery)
    return answer(200, database.once(leaderboard.page, request.company_id, query))


lambda_handler = app.handle
