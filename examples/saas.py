"""Tally, a made-up app with referrals in it: a landing page, a signup, a payment, a page of points, a redemption.

    DESTINATION=http://127.0.0.1:8000/welcome make serve > line.json         # in one terminal
    PYTHONPATH=clients/python .venv/bin/python examples/saas.py line.json    # in another; then open http://127.0.0.1:8000

Everything that has to do with Goodword is in the methods of `App`. Whoever logs in is taken at their word, and Stripe
is played by the app itself: a real one has its own login, and Stripe's checkout.
"""

import hashlib
import hmac
import json
import secrets
import sys
import time
import urllib.request
from contextlib import suppress
from html import escape
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from goodword_client import Goodword, Problem

WINDOW_SECONDS = 90 * 86_400  # the program's attribution.window_days
OPTION = {"kind": "quota", "name": "20 reports", "feature": "ai_calls", "quantity": 20, "cost_points": 25}


class App:
    """What Tally asks Goodword."""

    def __init__(self, line: dict[str, str]) -> None:
        self.line = line
        self.goodword = Goodword(line["url"], line["secret_key"])
        if not any(option["name"] == OPTION["name"] for option in self.goodword.redemption_options()):
            self.goodword.call("POST", "/v1/redemption-options", key="tally-reports", **OPTION)

    def sign_up(self, name: str, typed_code: str, click_id: str | None) -> str:
        """Keep the new user, then tell of them: the click as it came, the code only where one was typed."""
        user_id = f"tally-{secrets.token_hex(4)}"
        answer = self.goodword.sign_up(
            {"external_id": user_id, "username": name}, click_id=click_id, referral_code=typed_code or None
        )
        print(f"{user_id} signed up: {answer['attribution']['outcome']}")
        return user_id

    def pay(self, user_id: str) -> None:
        """What Stripe would send to the endpoint: a paid invoice with the user in its metadata, signed."""
        now, unique = int(time.time()), secrets.token_hex(6)
        parent = {"subscription_details": {"metadata": {"goodword_user": user_id}}}
        amounts = dict.fromkeys(("amount_paid", "total", "total_excluding_tax"), 1900)
        invoice = {
            "id": f"in_{unique}", "currency": "usd", "status": "paid", "parent": parent, **amounts,
            "status_transitions": {"paid_at": now},
        }  # fmt: skip
        event = {"id": f"evt_{unique}", "type": "invoice.paid", "created": now, "livemode": False}
        body = json.dumps({**event, "data": {"object": invoice}}).encode()
        signature = hmac.new(self.line["stripe_secret"].encode(), b"%d.%s" % (now, body), hashlib.sha256).hexdigest()
        headers = {"Stripe-Signature": f"t={now},v1={signature}", "Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(self.line["stripe_endpoint"], body, headers), timeout=10).close()  # noqa: S310 - our own server

    def redeem(self, user_id: str, option_id: str, form_id: str) -> str:
        """Buy with points. The form was made for one purchase, so pressing its button twice buys once."""
        try:
            self.goodword.redeem(user_id, option_id, key=form_id)
        except Problem as problem:
            return problem.detail
        return "Bought."

    def make_report(self, user_id: str) -> str:
        """Do what a user may do so often: use it first, do it then."""
        try:
            left = self.goodword.use(user_id, OPTION["feature"])["remaining"]
        except Problem as problem:
            return problem.detail
        return f"Here is your report; {left} left."

    def page_of(self, user_id: str, note: str) -> str:
        """The page of points."""
        user, balance = self.goodword.user(user_id), self.goodword.balance(user_id)
        friends = "".join(
            f"<li>{escape(each['referee'])}: {each['stage']}" for each in self.goodword.referrals(user_id)
        )
        options = "".join(
            f"<form method=post action=/redeem><input type=hidden name=option value={option['id']}>"
            f"<input type=hidden name=form value={secrets.token_hex(16)}>"
            f"<button>{escape(option['name'])} for {option['cost_points']} points</button></form>"
            for option in self.goodword.redemption_options()
        )
        return (
            f"<h1>{escape(user['username'] or user_id)}: {balance['balance']} points</h1><p>{escape(note)}</p>"
            f"<p>Share <code>{escape(user['referral_url'] or '')}</code></p><ul>{friends}</ul>{options}"
            "<form method=post action=/pay><button>Pay 19 USD</button></form>"
            "<form method=post action=/report><button>Make a report</button></form>"
        )


class Handler(BaseHTTPRequestHandler):
    """Tally's pages."""

    app: App
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query, user_id = dict(parse_qsl(url.query)), self._cookie("user")
        if url.path == "/me" and user_id:
            with suppress(Problem):  # the cookie is of a company before this one: nobody is known by it here
                self._answer(200, self.app.page_of(user_id, query.get("note", "")))
                return
        # the newest click stays, for as long as it counts
        click = {"gw_click": query["gw_click"]} if "gw_click" in query else {}
        form = "<input name=name placeholder=Name> <input name=code placeholder='Code, if you were given one'>"
        self._answer(
            200, f"<h1>Tally</h1><form method=post action=/signup>{form} <button>Sign up</button></form>", click
        )

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
        user_id = self._cookie("user")
        if self.path == "/signup" or not user_id:
            user_id = self.app.sign_up(form.get("name", "Somebody"), form.get("code", ""), self._cookie("gw_click"))
            self._answer(303, "", {"user": user_id}, location="/me")
            return
        if self.path == "/pay":
            self.app.pay(user_id)
            note = "Paid."
        elif self.path == "/redeem":
            note = self.app.redeem(user_id, form["option"], form["form"])
        else:
            note = self.app.make_report(user_id)
        self._answer(303, "", location=f"/me?{urlencode({'note': note})}")

    def _cookie(self, name: str) -> str | None:
        cookie = SimpleCookie(self.headers.get("cookie")).get(name)
        return cookie.value if cookie else None

    def _answer(self, status: int, page: str, cookies: dict[str, str] | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in (cookies or {}).items():
            self.send_header("Set-Cookie", f"{name}={value}; Max-Age={WINDOW_SECONDS}; Path=/; HttpOnly; SameSite=Lax")
        for name, value in {"content-type": "text/html; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        body = page.encode()
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(app: App, port: int) -> ThreadingHTTPServer:
    """Tally on this machine, on any free port for 0."""
    return ThreadingHTTPServer(("127.0.0.1", port), type("Tally", (Handler,), {"app": app}))


if __name__ == "__main__":
    server = serve(App(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), 8000)
    print("Tally is on http://127.0.0.1:8000", flush=True)
    server.serve_forever()
