"""As much of Flask as the integration guide uses, on Werkzeug, which Flask stands on and the tests have anyway."""

import json
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.local import LocalProxy
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

View = Callable[[], Any]

_request: ContextVar[Request] = ContextVar("request")
request = LocalProxy(_request)


def make_response(body: Any, status: int = 200) -> Response:  # noqa: ANN401 - whatever a view returns
    """A response of what a view returns: a text, an object, or either with a status."""
    if isinstance(body, Response):
        return body
    if isinstance(body, tuple):
        return make_response(*body)
    if isinstance(body, dict):
        return Response(json.dumps(body), status, mimetype="application/json")
    return Response(body, status, mimetype="text/html")


class Flask:
    """A WSGI application of views without parameters."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rules = Map()
        self._views: dict[str, View] = {}

    def get(self, path: str) -> Callable[[View], View]:
        return self._route(path, "GET")

    def post(self, path: str) -> Callable[[View], View]:
        return self._route(path, "POST")

    def _route(self, path: str, method: str) -> Callable[[View], View]:
        def register(view: View) -> View:
            self._rules.add(Rule(path, endpoint=view.__name__, methods=[method]))
            self._views[view.__name__] = view
            return view

        return register

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        endpoint, _ = self._rules.bind_to_environ(environ).match()
        token = _request.set(Request(environ))
        try:
            return make_response(self._views[endpoint]())(environ, start_response)
        finally:
            _request.reset(token)
