"""Signups and activations: a person becomes known and is attributed; an app is used for the first time."""

from goodword import cold_start
from goodword.core import idempotency
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.referral import activations, signups
from goodword.referral.activations import Activation, ActivationAnswer
from goodword.referral.signups import SignedUp, Signup, SignupAnswer, SignupIds

app = App()


@app.route("POST /v1/signups", scope=Scope.WRITE, body=Signup, answers={201: SignupAnswer, 200: SignupAnswer})
def sign_up(request: Request, signup: Signup) -> Response:
    """Sign a person up, attribute the signup, and give both sides what the program gives for it."""
    return idempotency.respond_once(
        request, signup, _response, signups.sign_up, request.company_id, signup, SignupIds(), request.base_url
    )


def _response(signed_up: SignedUp) -> Response:
    return answer(201 if signed_up.is_new else 200, signed_up.answer)


@app.route("POST /v1/activations", scope=Scope.WRITE, body=Activation, answers={200: ActivationAnswer})
def activate(request: Request, activation: Activation) -> Response:
    """Record the first use of an app by a user."""
    return idempotency.answer_once(request, activation, 200, activations.activate, request.company_id, activation)


lambda_handler = cold_start.over(app.handle)
