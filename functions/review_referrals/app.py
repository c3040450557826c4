"""Reviews of suspected referrals, and what a company holds against them: patterns of its own, ranges of addresses."""

from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.fraud import ip_ranges, pattern_previews, patterns, review_decisions, reviews
from goodword.fraud.ip_ranges import IpRangeList, IpRangeLists, IpRanges
from goodword.fraud.pattern_previews import PatternPreview
from goodword.fraud.patterns import (
    FraudPattern,
    FraudPatternChange,
    FraudPatternList,
    FraudPatternQuery,
    NewFraudPattern,
    PatternRule,
)
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


@app.route("POST /v1/fraud-patterns", scope=Scope.ADMIN, body=NewFraudPattern, answers={201: FraudPattern})
def create_pattern(request: Request, new: NewFraudPattern) -> Response:
    """Make a pattern, for the signups from now on."""
    company_id, key_id = request.company_id, request.caller.key_id
    return idempotency.answer_once(request, new, 201, patterns.create, company_id, ids.new_id(), key_id, new)


@app.route("GET /v1/fraud-patterns", scope=Scope.ADMIN, query=FraudPatternQuery, answers={200: FraudPatternList})
def list_patterns(request: Request) -> Response:
    """List the patterns, newest first."""
    query = request.parse_query(FraudPatternQuery)
    return answer(200, database.transact(patterns.listed, request.company_id, query))


@app.route("GET /v1/fraud-patterns/{id}", scope=Scope.ADMIN, answers={200: FraudPattern})
def read_pattern(request: Request) -> Response:
    """Show a pattern."""
    return answer(200, database.once(patterns.find, request.company_id, request.path_id("pat")))


@app.route("PATCH /v1/fraud-patterns/{id}", scope=Scope.ADMIN, body=FraudPatternChange, answers={200: FraudPattern})
def change_pattern(request: Request, wanted: FraudPatternChange) -> Response:
    """Change how much a pattern weighs, or whether it counts; there is none to delete."""
    pattern_id = request.path_id("pat")
    return answer(200, database.transact(patterns.change, request.company_id, pattern_id, ids.new_id(), wanted))


@app.route("POST /v1/fraud-patterns/preview", scope=Scope.ADMIN, body=PatternRule, answers={200: PatternPreview})
def preview_pattern(request: Request, rule: PatternRule) -> Response:
    """Show whom a pattern would have matched in the last 90 days; nothing is stored."""
    return answer(200, database.transact(pattern_previews.preview, request.company_id, rule))


@app.route("GET /v1/ip-ranges", scope=Scope.ADMIN, answers={200: IpRangeLists})
def list_ranges(request: Request) -> Response:
    """List of which kinds there are ranges of addresses, and how many."""
    return answer(200, database.once(ip_ranges.listed, request.company_id))


@app.route("PUT /v1/ip-ranges/{ip_type}", scope=Scope.ADMIN, body=IpRanges, answers={200: IpRangeList})
def replace_ranges(request: Request, wanted: IpRanges) -> Response:
    """Put ranges in place of all those of a kind."""
    ip_type = request.path_parameters["ip_type"]
    return answer(200, database.transact(ip_ranges.replace, request.company_id, ip_type, ids.new_id(), wanted))


@app.route("POST /v1/ip-ranges/{ip_type}", scope=Scope.ADMIN, body=IpRanges, answers={200: IpRangeList})
def add_ranges(request: Request, wanted: IpRanges) -> Response:
    """Add ranges to those of a kind."""
    ip_type = request.path_parameters["ip_type"]
    return idempotency.answer_once(
        request, wanted, 200, ip_ranges.add, request.company_id, ip_type, ids.new_id(), wanted
    )


lambda_handler = app.handle
