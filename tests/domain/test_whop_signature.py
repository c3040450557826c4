"""A Whop webhook is believed only if it was signed, just now, with a secret of its endpoint, in either of two forms."""

import hmac
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.payments.signatures import SignatureRejected
from goodword.payments.whop.signatures import event_id, sign, sign_v5, verify

# The literals of Whop's own guide; the signature was computed with openssl and accepted by Whop's own library.
SECRET = "ws_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
ID = "msg_bQPHmO2eBnHYtWWuxAN9K3Xd"
AT = 1_786_381_404
RAW = (
    b'{"id":"msg_bQPHmO2eBnHYtWWuxAN9K3Xd","type":"payment.succeeded","api_version":"v1",'
    b'"timestamp":"2026-08-10T17:03:24.291Z","company_id":"biz_1","data":{"id":"pay_1"}}'
)
RIGHT = "FYIoO0pZfwYLiQ82KGPL9eicfLGhmzPhxOlQt15SGTk="
# The rule of the Standard Webhooks libraries, which decode the secret. Whop does not.
DECODED_KEY = "V4a3PpoWCwBL199Ph8BabeqEKuaY5THeyUkr0g+twOU="
V5_RIGHT = hmac.digest(SECRET.encode(), b"%d." % AT + RAW, "sha256").hex()


def v1(signature: str | None = f"v1,{RIGHT}", message_id: str | None = ID, at: str | None = str(AT)) -> dict[str, str]:
    """The three headers, without those that are None."""
    sent = {"webhook-id": message_id, "webhook-timestamp": at, "webhook-signature": signature}
    return {name: value for name, value in sent.items() if value is not None}


def v5(header: str) -> dict[str, str]:
    return {"x-whop-signature": header}


def refusal(
    headers: dict[str, str], *, raw: bytes = RAW, secrets: tuple[str, ...] = (SECRET,), now: float = AT
) -> str | None:
    try:
        verify(raw, headers, secrets, now)
    except SignatureRejected as rejected:
        return rejected.code
    return None


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(v1(), id="one"),
        pytest.param(v1(f"v1,{DECODED_KEY} v1,{RIGHT}"), id="the second of two"),
        pytest.param(v1(f"v1a,{DECODED_KEY} v2,{DECODED_KEY} v1,{RIGHT}"), id="other versions beside it"),
        pytest.param(v1(f"v1,*** v1,é v1, v1,{RIGHT}"), id="bad base64 beside it"),
        pytest.param(v1(f"nonsense  v1,{RIGHT} "), id="entries without a comma, empty entries"),
        pytest.param({**v1(), "x-whop-signature": "t=1,v1=00"}, id="v1 is asked before v5"),
        pytest.param(v5(f"t={AT},v1={V5_RIGHT}"), id="v5"),
        pytest.param(v5(f"t={AT},v1={'0' * 64},v1={V5_RIGHT}"), id="v5, the second of two"),
        pytest.param({**v5(f"t={AT},v1={V5_RIGHT}"), "webhook-signature": ""}, id="v5 beside an empty v1"),
    ],
)
def test_a_right_signature_is_accepted(headers: dict[str, str]) -> None:
    assert refusal(headers) is None


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "signature_missing"),
        (v1(None), "signature_missing"),
        (v1(""), "signature_missing"),
        (v5(""), "signature_missing"),
        (v1(" "), "signature_invalid"),
        (v1(RIGHT), "signature_invalid"),
        (v1("v1"), "signature_invalid"),
        (v1("v1,"), "signature_invalid"),
        (v1(f"v1={RIGHT}"), "signature_invalid"),
        (v1(f"V1,{RIGHT}"), "signature_invalid"),
        (v1(f"v1a,{RIGHT}"), "signature_invalid"),
        (v1(f"v1,{DECODED_KEY}"), "signature_invalid"),
        (v1(f"v1,{RIGHT.rstrip('=')}"), "signature_invalid"),
        (v1(f"v1,{b64decode(RIGHT).hex()}"), "signature_invalid"),
        (v1(f"v1,{RIGHT}\n"), "signature_invalid"),
        (v1(f"v1,é{RIGHT[1:]}"), "signature_invalid"),
        (v1(f"v1,\ud800{RIGHT[1:]}"), "signature_invalid"),
        (v1(message_id=None), "signature_invalid"),
        (v1(message_id=""), "signature_invalid"),
        (v1(message_id="msg_other"), "signature_invalid"),
        (v1(message_id=f"{ID} "), "signature_invalid"),
        (v1(message_id=f"{ID}\0"), "signature_invalid"),
        (v1(message_id="é"), "signature_invalid"),
        (v1(message_id="m" * 300), "signature_invalid"),
        (v1(at=None), "signature_invalid"),
        (v1(at=""), "signature_invalid"),
        (v1(at="abc"), "signature_invalid"),
        (v1(at=f"{AT}.0"), "signature_invalid"),
        (v1(at=f"-{AT}"), "signature_invalid"),
        (v1(at=f" {AT}"), "signature_invalid"),
        (v1(at="1_786_381_404"), "signature_invalid"),
        (v1(at="\N{ARABIC-INDIC DIGIT ONE}786381404"), "signature_invalid"),
        (v1(at="9" * 5_000), "signature_invalid"),
        (v1(at=str(AT + 1)), "signature_invalid"),
        (v1(at="1"), "timestamp_out_of_range"),
        (v1(at="999999999999999"), "timestamp_out_of_range"),
        (v1(" ".join([f"v1,{DECODED_KEY}"] * 10_000)), "signature_invalid"),
        (v1(" ".join([*[f"v1,{DECODED_KEY}"] * 10_000, f"v1,{RIGHT}"])), "signature_invalid"),  # nobody sends so many
        ({**v1("v1,"), **v5(f"t={AT},v1={V5_RIGHT}")}, "signature_invalid"),
        (v5("garbage"), "signature_invalid"),
        (v5(f"t={AT},v1={RIGHT}"), "signature_invalid"),
        (v5(f"t={AT},v1={V5_RIGHT.upper()}"), "signature_invalid"),
        (v5(f"t={AT + 1},v1={V5_RIGHT}"), "signature_invalid"),
        (v5(f"t=1,v1={V5_RIGHT}"), "timestamp_out_of_range"),
    ],
)
def test_everything_else_is_a_refusal(headers: dict[str, str], code: str) -> None:
    assert refusal(headers) == code


@pytest.mark.parametrize("headers", [v1(), v5(f"t={AT},v1={V5_RIGHT}")], ids=["v1", "v5"])
@pytest.mark.parametrize(
    ("age", "code"),
    [
        (0, None),
        (300, None),
        (-300, None),
        (300.001, "timestamp_out_of_range"),
        (301, "timestamp_out_of_range"),
        (-301, "timestamp_out_of_range"),
        (float("inf"), "timestamp_out_of_range"),
        (float("nan"), "timestamp_out_of_range"),
    ],
)
def test_a_signature_is_fresh_for_five_minutes_either_way(
    headers: dict[str, str], age: float, code: str | None
) -> None:
    assert refusal(headers, now=AT + age) == code


@pytest.mark.parametrize("headers", [v1(), v5(f"t={AT},v1={V5_RIGHT}")], ids=["v1", "v5"])
@pytest.mark.parametrize(
    ("secrets", "code"),
    [
        ((SECRET,), None),
        (("ws_old", SECRET), None),
        (("", SECRET), None),
        ((), "signature_invalid"),
        (("ws_other",), "signature_invalid"),
        ((SECRET + "\n",), "signature_invalid"),
        ((SECRET.removeprefix("ws_"),), "signature_invalid"),
        ((b64encode(SECRET.encode()).decode(),), "signature_invalid"),
    ],
)
def test_any_secret_of_the_endpoint_may_have_signed(
    headers: dict[str, str], secrets: tuple[str, ...], code: str | None
) -> None:
    assert refusal(headers, secrets=secrets) == code


@pytest.mark.parametrize("headers", [sign(RAW, "", ID, AT), sign_v5(RAW, "", AT)], ids=["v1", "v5"])
def test_an_empty_secret_verifies_nothing(headers: dict[str, str]) -> None:
    assert refusal(headers, secrets=("",)) == "signature_invalid"


@pytest.mark.parametrize("headers", [v1(), v5(f"t={AT},v1={V5_RIGHT}")], ids=["v1", "v5"])
def test_the_exact_bytes_are_signed(headers: dict[str, str]) -> None:
    assert refusal(headers, raw=RAW + b" ") == "signature_invalid"


def test_sign_makes_the_headers_that_whop_makes() -> None:
    assert sign(RAW, SECRET, ID, AT) == v1()
    assert sign_v5(RAW, SECRET, AT) == v5(f"t={AT},v1={V5_RIGHT}")


def test_an_event_goes_by_its_message_id_or_by_its_bytes() -> None:
    assert event_id(RAW, v1()) == ID
    assert event_id(RAW, v5("t=1,v1=00")) == "v5:4fd923f3e499af3c7adafbb08a7b8f0bc89c9404d37722ed3512755612b1ee30"
    assert event_id(b"", {}) == "v5:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for odd in (None, "", "é", "a b", "m\0", "m" * 256):
        assert event_id(RAW, v1(message_id=odd)) is None


SECRETS = st.text(st.characters(codec="utf-8"), min_size=1)
MESSAGE_IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


@given(
    raw=st.binary(), secret=SECRETS, others=st.lists(SECRETS), message_id=MESSAGE_IDS, at=st.integers(0, 2**40),
    skew=st.integers(-300, 300),
)  # fmt: skip
def test_what_was_signed_verifies(
    raw: bytes, secret: str, others: list[str], message_id: str, at: int, skew: int
) -> None:
    for headers in (sign(raw, secret, message_id, at), sign_v5(raw, secret, at)):
        assert refusal(headers, raw=raw, secrets=(*others, secret), now=at + skew) is None


@given(raw=st.binary(), other=st.binary(), message_id=MESSAGE_IDS, other_id=MESSAGE_IDS)
def test_a_signature_fits_one_body_and_one_id(raw: bytes, other: bytes, message_id: str, other_id: str) -> None:
    signed = sign(raw, SECRET, message_id, AT)
    assert (refusal(signed, raw=other) is None) == (raw == other)
    assert (refusal({**signed, "webhook-id": other_id}, raw=raw) is None) == (message_id == other_id)
    assert (refusal(sign_v5(raw, SECRET, AT), raw=other) is None) == (raw == other)


HEADER = st.one_of(
    st.text(),
    st.lists(st.sampled_from(["t", "v1", "=", ",", " ", str(AT), RIGHT, V5_RIGHT, ID, "\0", "é", "\ud800"])).map(
        "".join
    ),
)


@given(
    raw=st.binary() | st.just(RAW),
    headers=st.dictionaries(st.sampled_from([*v1(), *v5("")]), HEADER),
    now=st.floats() | st.just(float(AT)),
)
def test_no_headers_are_anything_but_refused_or_right(raw: bytes, headers: dict[str, str], now: float) -> None:
    shown = " ".join(headers.values())
    assert refusal(headers, raw=raw, now=now) is not None or RIGHT in shown or V5_RIGHT in shown
    found = event_id(raw, headers)
    assert found is None or (found.isascii() and "\0" not in found and len(found) <= 255)
