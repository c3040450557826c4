"""What Whop tells us, at the URL that the company, or the app it installed, gave to Whop."""

from goodword import cold_start
from goodword.core import clock, ids
from goodword.core.http import LARGEST_WEBHOOK, App, Request, Response, answer
from goodword.payments import reception
from goodword.payments.inbox import Receipt
from goodword.payments.provider import Delivery
from goodword.payments.whop.webhooks import WHOP

app = App(largest_body=LARGEST_WEBHOOK)


@app.route("POST /webhooks/whop/{endpoint_id}", scope=None, answers={200: Receipt})
def receive(request: Request) -> Response:
    """Verify an event, keep it, and apply it once."""
    endpoint_id = ids.parse("whe", request.path_parameters["endpoint_id"])
    delivery = Delivery(request.body, request.headers)
    return answer(200, reception.receive(WHOP, endpoint_id, delivery, clock.real_now().timestamp()))


@app.route("GET /webhooks/whop/{endpoint_id}", scope=None, answers={200: None})
def show(_: Request) -> Response:
    """Show that the URL answers."""
    return Response(200)


lambda_handler = cold_start.over(app.handle)
