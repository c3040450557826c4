"""Clicks: following a referral link, reporting a click from a browser, checking a code."""

from goodword.accounts import companies
from goodword.core import auth, database, idempotency, ids, privacy
from goodword.core.auth import Scope
from goodword.core.errors import NotFound
from goodword.core.http import App, Request, Response, answer
from goodword.referral import clicks, codes
from goodword.referral.clicks import Click, NewClick
from goodword.referral.codes import CodeCheck

app = App()


@app.route("GET /r/{code}", scope=None, answers={302: None})
@app.route("HEAD /r/{code}", scope=None, answers={302: None})
def follow(request: Request) -> Response:
    """Record the click and lead on to the code's destination."""
    click_id = ids.new_id()
    visit = clicks.visit_of(
        request.path_parameters["code"], request.method, request.headers, request.cookies, request.source_ip
    )
    found = database.once(lambda c: clicks.visit(c, click_id, visit, privacy.current_key(c)))
    if found is None:
        named = auth.publishable_company(request.query.get("key", ""))
        if named is None:
            raise NotFound("unknown_code", "There is no such referral code.")
        home = database.once(lambda c: companies.destination(c, named))
        return Response(302, headers={"location": clicks.destination_with(home, request.raw_query, None)})
    if found.refusal or not visit.counted:
        home = found.company_destination if found.refusal else found.destination
        return Response(302, headers={"location": clicks.destination_with(home, request.raw_query, None)})
    location = clicks.destination_with(found.destination, request.raw_query, click_id)
    headers = {"location": location, "cache-control": "no-store"}
    return Response(302, headers=headers, cookies=[clicks.cookie(click_id, found.window_days)])


@app.route("POST /v1/clicks", scope=Scope.PUBLISHABLE, body=NewClick, answers={201: Click})
def report(request: Request, click: NewClick) -> Response:
    """Record a click that a page reports itself."""
    click_id = ids.new_id()
    address = request.source_ip if request.caller.is_browser else None
    visit = clicks.reported(click, address, request.headers.get("user-agent"))
    return idempotency.once(
        request,
        click,
        lambda c: answer(201, clicks.record(c, click_id, visit, privacy.current_key(c), request.company_id)),
    )


@app.route("GET /v1/codes/{code}", scope=Scope.PUBLISHABLE, answers={200: CodeCheck})
def check(request: Request) -> Response:
    """Say whether a code can be used, and what it is worth."""
    code, address = request.path_parameters["code"], request.source_ip if request.caller.is_browser else None
    return answer(
        200, database.once(lambda c: codes.check(c, request.company_id, code, address, privacy.current_key(c)))
    )


lambda_handler = app.handle
