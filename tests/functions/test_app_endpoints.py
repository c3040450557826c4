"""A Whop app's endpoint signs for every company of a deployment, so there is none unless the operator allows it.

The other tests are of a deployment that does; here is one on the same database that does not.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from local import setup
from local.postgres import Cluster
from local.setup import Prepared
from tests.conftest import serve
from tests.functions.test_receive_whop_webhook import SECRET, app_endpoint, installed
from tests.support import rows
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.providers import Providers
from tests.support.whop_objects import whop_payment

APP = {"provider": "whop", "scope": "app", "secrets": [SECRET]}


@pytest.fixture(scope="module")
def closed(
    cluster: Cluster, prepared: Prepared, providers: Providers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a deployment whose operator has allowed nothing."""
    del prepared  # the schema must be there
    url = cluster.superuser_url(setup.DATABASE)
    with serve(url, tmp_path_factory.mktemp("closed"), variables=providers.variables) as base_url:
        yield base_url


@pytest.fixture
def guarded(closed: str) -> Iterator[Company]:
    company = Company.open(closed)
    yield company
    company.close()


def test_an_apps_endpoint_is_not_made_unless_the_operator_allows_it(guarded: Company) -> None:
    assert fields(guarded.api.send("POST", "/v1/provider-endpoints", APP)) == {"scope"}
    guarded.ok("POST", "/v1/provider-endpoints", {**APP, "scope": "company"}, status=201)


def test_a_company_cannot_sign_for_another_one(
    company: Company, guarded: Company, superuser: psycopg.Connection
) -> None:
    """The endpoint was made while it was allowed; it is as unknown as if it had never been, until it is again."""
    endpoint, biz = app_endpoint(company), installed(superuser, guarded)
    forged = whop_payment("msg_1", "pay_1", user="ben", company=biz)
    path = urlsplit(endpoint).path
    answer = guarded.deliver_whop(forged, endpoint=f"{guarded.url}{path}", secret=SECRET)
    problem(answer, 404, "endpoint_not_found")
    assert rows.count(superuser, guarded.id)["inbox_events"] == 0
    assert company.deliver_whop(forged, endpoint=endpoint, secret=SECRET).json["outcome"] == "parked"


def test_an_apps_endpoint_that_is_off_is_listed_and_can_be_removed(company: Company, guarded: Company) -> None:
    endpoint_id = urlsplit(app_endpoint(company)).path.rpartition("/")[2]
    elsewhere = Company({**company.line, "url": guarded.url})
    shown: list[dict[str, Any]] = elsewhere.ok("GET", "/v1/provider-endpoints")["data"]
    assert (shown[0]["id"], shown[0]["scope"]) == (endpoint_id, "app")
    assert elsewhere.api.send("DELETE", f"/v1/provider-endpoints/{endpoint_id}").status == 204
    elsewhere.close()


def test_no_provider_is_asked_by_an_apps_key(
    company: Company, guarded: Company, providers: Providers, superuser: psycopg.Connection
) -> None:
    installed(superuser, guarded)
    account = providers.open()
    company.ok("POST", "/v1/provider-endpoints", {**APP, "api_key": account.key}, status=201)
    path = "/_local/functions/ReconcilePaymentsFunction/invocations"
    assert guarded.browser.send("POST", path, {}).status == 200
    assert account.asked == []
