"""Providers: each is one package and one record, and the function that receives from one starts without the others."""

import json
import subprocess
import sys
from typing import get_args

import pytest

from goodword.payments.endpoints import NewEndpoint
from goodword.payments.provider import Delivery, NotAnEvent
from goodword.payments.registry import PROVIDERS
from goodword.payments.signatures import SignatureRejected
from tests.contracts.support import ROOT

LAYER = ROOT / "layers/goodword"
PACKAGES = {path.parent.name for path in (LAYER / "goodword/payments").glob("*/__init__.py")}
LOADED = "import json, sys, app; print(json.dumps(sorted(sys.modules)))"
NOT_EVENTS = [b"", b"{}", b"[]", b"\xff", b'{"id": "evt_1", "id": "evt_2"}', b'{"type": "invoice.paid"}']

each_provider = pytest.mark.parametrize("name", PROVIDERS)


def test_every_package_of_a_provider_has_its_record_its_endpoints_and_its_function() -> None:
    receiving = {path.parent.name for path in (ROOT / "functions").glob("receive_*_webhook/app.py")}
    assert PACKAGES == set(PROVIDERS) == set(get_args(NewEndpoint.model_fields["provider"].annotation))
    assert receiving == {f"receive_{name}_webhook" for name in PROVIDERS}
    assert all(name == provider.name for name, provider in PROVIDERS.items())


@each_provider
def test_a_function_that_receives_from_one_provider_loads_no_other(name: str) -> None:
    path = f"{LAYER}:{ROOT / 'functions' / f'receive_{name}_webhook'}"
    shown = subprocess.run(
        [sys.executable, "-c", LOADED], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    loaded = json.loads(shown.stdout)
    packages = {module.split(".")[2] for module in loaded if module.startswith("goodword.payments.")} & PACKAGES
    assert packages == {name}
    assert "http.client" not in loaded


@each_provider
@pytest.mark.parametrize("body", NOT_EVENTS)
def test_a_body_that_is_no_event_is_a_value_and_no_fault(name: str, body: bytes) -> None:
    assert isinstance(PROVIDERS[name].read(Delivery(body)), NotAnEvent)


@each_provider
def test_a_delivery_without_headers_is_refused_for_its_signature(name: str) -> None:
    with pytest.raises(SignatureRejected, match="signature_missing"):
        PROVIDERS[name].verify(Delivery(b"{}"), ["whsec_1"], 0)


@each_provider
def test_headers_that_are_kept_are_written_as_the_gateway_writes_them(name: str) -> None:
    assert all(header == header.lower() for header in PROVIDERS[name].kept_headers)
