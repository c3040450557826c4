"""Everything that is not a route: problem+json instead of the gateway's own 404."""

from goodword.core.errors import NotFound
from goodword.core.http import App, Request, Response

app = App()


@app.route("$default", scope=None, answers={404: None})
def answer_unknown(request: Request) -> Response:
    """Say that there is nothing here."""
    raise NotFound("route_not_found", f"There is no {request.method} at this path.")


lambda_handler = app.handle
