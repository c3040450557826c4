"""What is asked of a company as a whole: whether its books are right."""

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


lambda_handler = app.handle
