"""Signatures made by other programs: the project's own vectors, by openssl, and those of the corpus.

A vector says of a secret, a payload and headers whether they belong together. When they count is our own rule, for both
providers: within 300 seconds of `timestamp`, before it as after it, also where the program that made the vector would
take a signature from the future.
"""

import json
from hashlib import sha256
from typing import Any

import pytest

from goodword.payments import signatures
from goodword.payments.signatures import SignatureRejected
from goodword.payments.whop import signatures as whop_signatures
from tests.support.corpus import folder

Vector = dict[str, Any]

AT = 1_790_000_000


def stripe(name: str, expect: str, header: str) -> Vector:
    return {
        "id": name, "provider": "stripe", "secret": "whsec_5hYp0rT0fTh3Sh0p", "timestamp": AT, "header": header,
        "payload": '{"id":"evt_1","object":"event","data":{"object":{"description":"Zoë, 7 €"}}}', "expect": expect,
    }  # fmt: skip


def whop(name: str, expect: str, **headers: str) -> Vector:
    return {
        "id": name, "provider": "whop", "timestamp": AT, "headers": headers, "expect": expect,
        "secret": "ws_77686f7020746865206f6e6c792073686f7020696e207468652076696c6c6167",
        "payload": '{"id":"msg_1","type":"payment.succeeded","data":{"id":"pay_1","user":{"name":"Zoë"}}}',
    }  # fmt: skip


def v1(name: str, expect: str, signature: str) -> Vector:
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(AT), "webhook-signature": signature}
    return whop(name, expect, **headers)


RIGHT = "2494415ca43b3ffed0dced516748768dee9f8b0938d84729e69edcda81c0a48e"
OLD = "079b871d35f06d80518157fa7ab68f951fb20cc27793a8e11c70ea56ef40cb02"
CUT_KEY = "bcef3c759cff7984406b4319e8a5914cc03b00a0a67745cb3ab463844fc9729b"
NO_TIME = "42b8e00be2369da6433069f02d7bfd0f615823cacfd8f0d3ee8c150780b651fc"
WHOP_RIGHT = "GwAGdS1YgfslUFGLULY/0+VFIKqSRp9G3Qh69jJvKh4="
WHOP_HEX = "1b0006752d5881fb2550518b50b63fd3e54520aa92469f46dd087af6326f2a1e"
WHOP_DECODED_KEY = "gQjJ9xD4VJtd39S3bGVQADNop2oGDX/0c3BQ4sOtOJY="
WHOP_CUT_KEY = "dLhIhbcG1Ge3H+0uUmn2M4CR23s5OxxnEL03FW1Q530="
WHOP_NO_ID = "zBPQVKKEjUNfH5T+Q9CwWd0SYgKG/HYCOs9gIsSdHGA="
WHOP_V5 = "cc13d054a2848d435f1f94fe43d0b059dd12620286fc76023acf6022c49d1c60"
WHOP_V5_OTHER = "d82485d8b9986f7f442266bc4aeac58ad4abea3bb4a0ffe526f6b5f167ecb486"

OWN = [
    stripe("own", "valid", f"t={AT},v1={RIGHT}"),
    stripe("own, old and new secret", "valid", f"t={AT},v1={OLD},v1={RIGHT}"),
    stripe("own, a scheme that proves nothing beside it", "valid", f"t={AT},v1={RIGHT},v0={OLD}"),
    stripe("own, old secret", "reject", f"t={AT},v1={OLD}"),
    stripe("own, key without its prefix", "reject", f"t={AT},v1={CUT_KEY}"),
    stripe("own, the time is not signed", "reject", f"t={AT},v1={NO_TIME}"),
    stripe("own, only v0", "reject", f"t={AT},v0={RIGHT}"),
    stripe("own, upper case", "reject", f"t={AT},v1={RIGHT.upper()}"),
    stripe("own, a space", "reject", f"t={AT}, v1={RIGHT}"),
    stripe("own, no ASCII", "reject", f"t={AT},v1=é{RIGHT[1:]}"),
    stripe("own, another time", "reject", f"t={AT + 1},v1={RIGHT}"),
    stripe("own, no time", "reject", f"v1={RIGHT}"),
    v1("own, whop", "valid", f"v1,{WHOP_RIGHT}"),
    v1("own, whop, old and new secret", "valid", f"v1,{WHOP_CUT_KEY} v1,{WHOP_RIGHT}"),
    v1("own, whop, key decoded", "reject", f"v1,{WHOP_DECODED_KEY}"),
    v1("own, whop, key without its prefix", "reject", f"v1,{WHOP_CUT_KEY}"),
    v1("own, whop, the id is not signed", "reject", f"v1,{WHOP_NO_ID}"),
    v1("own, whop, hex", "reject", f"v1,{WHOP_HEX}"),
    v1("own, whop, no ASCII", "reject", f"v1,é{WHOP_RIGHT[1:]}"),
    whop("own, whop's v5", "valid", **{"x-whop-signature": f"t={AT},v1={WHOP_V5}"}),
    whop("own, whop's v5, another secret", "reject", **{"x-whop-signature": f"t={AT},v1={WHOP_V5_OTHER}"}),
]


def vectors() -> list[Vector]:
    """Every vector whose payload is here."""
    path = folder() / "vectors.json"
    listed = json.loads(path.read_text(encoding="utf-8"))["vectors"] if path.is_file() else []
    return OWN + [each for each in listed if "payload" in each or (folder() / each.get("payload_file", "")).is_file()]


def payload(vector: Vector) -> bytes:
    raw = vector["payload"].encode() if "payload" in vector else (folder() / vector["payload_file"]).read_bytes()
    if "payload_sha256" in vector:
        assert sha256(raw).hexdigest() == vector["payload_sha256"], "this is not what was signed"
    return raw


def belong_together(vector: Vector) -> bool:
    """What the vector expects; whatever it says of time is overruled by our rule."""
    valid, reject = vector["expect"].startswith("valid"), "reject" in vector["expect"]
    assert valid != reject, f"an expectation nobody understands: {vector['expect']}"
    return valid


def accepts(vector: Vector, now: float) -> bool:
    raw, secrets = payload(vector), [vector["secret"]]
    try:
        if vector["provider"] == "stripe":
            signatures.verify(raw, vector["header"], secrets, now)
        else:
            headers = vector.get("headers") or {vector["header_name"]: vector["header"]}
            whop_signatures.verify(raw, headers, secrets, now)
    except SignatureRejected:
        return False
    return True


@pytest.mark.parametrize(
    ("age", "fresh"), [(-86_400, False), (-301, False), (-300, True), (0, True), (300, True), (301, False)]
)
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["id"])
def test_what_others_signed_is_accepted_and_nothing_else(vector: Vector, age: int, *, fresh: bool) -> None:
    assert accepts(vector, vector["timestamp"] + age) == (fresh and belong_together(vector))
