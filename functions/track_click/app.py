"""Clicks: following a referral link, reporting a click from a browser, checking a code."""

from goodword import cold_start
from goodword.accounts import companies
from goodword.core import auth, database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.errors import NotFound, Refused
from goodword.core.http import App, Request, Response, answer
from goodword.referral import clicks, code_checks, redirects
from goodword.referral.clicks import Click, NewClick
from goodword.referral.code_checks import Browser, CodeCheck

app = App()


@app.route("GET /r/{code}", scope=None, answers={302: None, 503: None})
@app.route("GET /r/{code+}", scope=None, answers={302: None, 503: None})
@app.route("HEAD /r/{code}", scope=None, answers={302: None, 503: None})
@app.route("HEAD /r/{code+}", scope=None, answers={302: None, 503: None})
def follow(request: Request) -> Response:
    """Record the click and lead on to the code's destination. A prefetch is refused, so that the browser asks again."""
    if clicks.is_prefetch(request.headers):
        return Response(503)
    click_id = ids.new_id()
    visit = clicks.visit_of(
        request.path_parameters["code"], request.method, request.headers, request.cookies, request.source_ip
    )
    landing = database.once(clicks.visit, click_id, visit)
    if landing is None:
        named = auth.publishable_company(request.query.get("key", ""))
        if named is None:
            raise NotFound("unknown_code", "There is no such referral code.")
        home = database.once(companies.destination, named)
        return Response(302, headers={"location": redirects.location(home, request.raw_query, None)})
    if landing.refusal or not visit.counted:
        home = landing.company_destination if landing.refusal else landing.destination
        return Response(302, headers={"location": redirects.location(home, request.raw_query, None)})
    location = redirects.location(landing.destination, request.raw_query, click_id)
    return Response(302, headers={"location": location}, cookies=[redirects.cookie(click_id, landing.window_days)])


@app.route("POST /v1/clicks", scope=Scope.PUBLISHABLE, body=NewClick, answers={201: Click})
def report(request: Request, click: NewClick) -> Response:
    """Record a click that a page reports itself."""
    click_id, browser = ids.new_id(), _browser(request)
    visit = clicks.reported(click, browser and browser.address, request.headers.get("user-agent"))
    try:
        return idempotency.answer_at_once(request, click, 201, clicks.record, click_id, visit, request.company_id)
    except Refused as refusal:
        if browser is not None and refusal.code == "unknown_code":
            database.once(code_checks.count_unknown, request.company_id, browser)
        raise


@app.route("GET /v1/codes/{code}", scope=Scope.PUBLISHABLE, answers={200: CodeCheck})
def check(request: Request) -> Response:
    """Say whether a code can be used, and what it is worth."""
    code, browser = request.path_parameters["code"], _browser(request)
    return answer(200, database.once(code_checks.check, request.company_id, code, browser))


def _browser(request: Request) -> Browser | None:
    """Who asks under a publishable key; None for a server, whose address is nobody's."""
    return Browser(request.caller.key_id, request.source_ip) if request.caller.is_browser else None


lambda_handler = cold_start.over(app.handle)
