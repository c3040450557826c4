"""Tally, the app of examples/, played through: a link, a signup, a payment, the points, what they buy."""

import http.client
import re
import sys
import threading
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.support.companies import Company

SAAS = Path(__file__).resolve().parents[2] / "examples/saas.py"


@pytest.fixture(scope="module")
def saas() -> Iterator[ModuleType]:
    specification = util.spec_from_file_location("saas", SAAS)
    assert specification is not None
    assert specification.loader is not None
    module = util.module_from_spec(specification)
    sys.modules["saas"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["saas"]


class Person:
    """A browser with cookies, on Tally's pages; it follows redirects within them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookies: dict[str, str] = {}

    def get(self, path: str) -> str:
        return self._send("GET", path)

    def press(self, path: str, **form: str) -> str:
        """Send a form, and see the page that follows."""
        return self._send("POST", path, urlencode(form))

    def _send(self, method: str, path: str, body: str | None = None) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        connection.request(method, path, body, {"cookie": cookies} if cookies else {})
        response = connection.getresponse()
        page = response.read().decode()
        connection.close()
        for cookie in response.headers.get_all("set-cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return self.get(response.headers["location"]) if response.status == 303 else page


@pytest.fixture
def port(saas: ModuleType, company: Company) -> Iterator[int]:
    app = saas.App(company.line)
    with saas.serve(app, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
    app.goodword.close()


def test_a_friend_comes_by_the_link_pays_and_earns_what_buys_reports(port: int, company: Company) -> None:
    ada, ben = Person(port), Person(port)
    link = re.findall(r"<code>(\S+)</code>", ada.press("/signup", name="Ada"))[0]
    landed = company.browser.send("GET", urlsplit(link).path).headers["location"]
    (click,) = parse_qs(urlsplit(landed).query)["gw_click"]
    assert "<h1>Tally" in ben.get(f"/welcome?gw_click={click}")
    assert "Ben: 25 points" in ben.press("/signup", name="Ben", code="")
    assert ben.press("/pay").count("Paid.") == 1
    page = ada.get("/me")
    assert "Ada: 30 points" in page
    assert ": qualified" in page
    option, form = re.findall(r"name=option value=(\w+)><input type=hidden name=form value=(\w+)", page)[0]
    for _ in range(2):  # pressed twice
        assert "Ada: 5 points" in ada.press("/redeem", option=option, form=form)
    assert "Here is your report; 19 left." in ada.press("/report")
    assert "fewer points" in ada.press("/redeem", option=option, form="another")
    assert "Tally" in ada.get("/")


def test_a_code_that_is_typed_brings_somebody_too(port: int) -> None:
    ada, cleo = Person(port), Person(port)
    link = re.findall(r"<code>(\S+)</code>", ada.press("/signup", name="Ada"))[0]
    assert "Cleo: 25 points" in cleo.press("/signup", name="Cleo", code=link.rpartition("/")[2].lower())
    assert ": registered" in ada.get("/me")
