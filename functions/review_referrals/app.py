"""Reviews of suspected referrals: the queue, and what people decide."""

from goodword.core import database, idempotency
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.fraud import review_decisions, reviews
from goodword.fraud.review_decisions import DecidedReviews, ReviewDecision, ReviewDecisions
from goodword.fraud.reviews import Review, ReviewChange, ReviewList, ReviewQuery

app = App()


@app.route("GET /v1/reviews", scope=Scope.ADMIN, query=ReviewQuery, answers={200: ReviewList})
def list_reviews(request: Request) -> Response:
    """List the reviews, the most pressing first, and of these the oldest."""
    query = request.parse_query(ReviewQuery)
    return answer(200, database.transact(reviews.listed, request.company_id, query))


@app.route("GET /v1/reviews/{id}", scope=Scope.ADMIN, answers={200: Review})
def read_review(request: Request) -> Response:
    """Show a review, with all that its referral is suspected by."""
    return answer(200, database.once(reviews.find, request.company_id, request.path_id("rvw")))


@app.route("PATCH /v1/reviews/{id}", scope=Scope.ADMIN, body=ReviewChange, answers={200: Review})
def change_review(request: Request, wanted: ReviewChange) -> Response:
    """Say who looks at a review, how pressing it is, or what is known so far."""
    review_id = request.path_id("rvw")
    return answer(200, database.transact(reviews.change, request.company_id, review_id, wanted))


@app.route("POST /v1/reviews/{id}/decision", scope=Scope.ADMIN, body=ReviewDecision, answers={200: Review})
def decide_on_review(request: Request, wanted: ReviewDecision) -> Response:
    """Approve a referral or reject it, or hand the review to somebody else."""
    company_id, key_id, review_id = request.company_id, request.caller.key_id, request.path_id("rvw")
    return idempotency.respond_once(
        request, wanted, lambda review: answer(200, review), review_decisions.decide, company_id, review_id, key_id,
        wanted,
    )  # fmt: skip


@app.route("POST /v1/reviews/decisions", scope=Scope.ADMIN, body=ReviewDecisions, answers={200: DecidedReviews})
def decide_on_reviews(request: Request, wanted: ReviewDecisions) -> Response:
    """Decide on many reviews alike, once per Idempotency-Key."""
    request.required_idempotency_key()
    company_id, key_id = request.company_id, request.caller.key_id
    return idempotency.answer_once(request, wanted, 200, review_decisions.decide_all, company_id, key_id, wanted)


lambda_handler = app.handle
