"""What a company holds against referrals: patterns of its own, and ranges of addresses whose kind it knows."""

from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.fraud import ip_ranges, pattern_previews, patterns
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

app = App()


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
