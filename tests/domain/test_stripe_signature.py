"""A webhook is believed only if it was signed, just now, with a secret of its endpoint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.payments.signatures import SignatureRejected, sign, verify

# The payload and secret that Stripe publishes with its own libraries' tests.
RAW = (
    b'{\n  "id": "evt_test_webhook",\n  "object": "event",\n'
    b'  "data": { "object": { "id": "rdr_123", "object": "terminal.reader" } }\n}'
)
SECRET = "whsec_test_secret"
AT = 1_700_000_000
RIGHT = "3bfab77baf5f7b6991a46c9b53b6547d7afc56148b10468fcad9f35c1992ffbd"
OTHER = "6b8526f4a44bb7a817ad2cb8b27706b926c9b563164e8c1e15dab9acd8d51d57"  # with a secret that is not ours
HEADER = f"t={AT},v1={RIGHT}"


def refusal(
    header: str | None, *, raw: bytes = RAW, secrets: tuple[str, ...] = (SECRET,), now: float = AT
) -> str | None:
    try:
        verify(raw, header, secrets, now)
    except SignatureRejected as rejected:
        return rejected.code
    return None


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(HEADER, id="one"),
        pytest.param(f"t={AT},v1={OTHER},v1={RIGHT}", id="the sender changes its secret: old and new both sign"),
        pytest.param(f"v1={RIGHT},t={AT}", id="in any order"),
        pytest.param(f"t={AT},v1={RIGHT},v0={OTHER}", id="another scheme beside it"),
        pytest.param(f"t={AT},t=1,v1={RIGHT}", id="the first of two timestamps"),
        pytest.param(f"t={AT},v1=é,v1={RIGHT}", id="nonsense beside it"),
    ],
)
def test_a_right_signature_is_accepted(header: str) -> None:
    assert refusal(header) is None


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "signature_missing"),
        ("", "signature_missing"),
        (" ", "signature_invalid"),
        ("bad_header", "signature_invalid"),
        (",,,===,t,v1", "signature_invalid"),
        (f"v1={RIGHT}", "signature_invalid"),
        (f"t={AT}", "signature_invalid"),
        (f"t={AT},v1=", "signature_invalid"),
        (f"t={AT},v0={RIGHT}", "signature_invalid"),
        (f"t={AT},v1={'0' * 64}", "signature_invalid"),
        (f"t={AT},v1={OTHER}", "signature_invalid"),
        (f"t={AT + 1},v1={RIGHT}", "signature_invalid"),
        (f"t={AT}, v1={RIGHT}", "signature_invalid"),
        (f"t={AT},v1= {RIGHT}", "signature_invalid"),
        (f"t={AT},v1={RIGHT} ", "signature_invalid"),
        (f"t={AT},v1={RIGHT}\n", "signature_invalid"),
        (f"t={AT},v1={RIGHT.upper()}", "signature_invalid"),
        (f"t={AT},v1={RIGHT[:-1]}", "signature_invalid"),
        (f"T={AT},V1={RIGHT}", "signature_invalid"),
        (f"t={AT},v1=é{RIGHT[1:]}", "signature_invalid"),
        (f"t={AT},v1=\ud800{RIGHT[1:]}", "signature_invalid"),
        (f"t=abc,v1={RIGHT}", "signature_invalid"),
        (f"t=,v1={RIGHT}", "signature_invalid"),
        (f"t=-{AT},v1={RIGHT}", "signature_invalid"),
        (f"t={AT}.0,v1={RIGHT}", "signature_invalid"),
        (f"t={AT}\n,v1={RIGHT}", "signature_invalid"),
        (f"t=1_700_000_000,v1={RIGHT}", "signature_invalid"),
        (f"t=\N{ARABIC-INDIC DIGIT ONE}700000000,v1={RIGHT}", "signature_invalid"),
        (f"t={'9' * 5_000},v1={RIGHT}", "signature_invalid"),
        (f"t=abc,t={AT},v1={RIGHT}", "signature_invalid"),
        (f"t=1,t={AT},v1={RIGHT}", "timestamp_out_of_range"),
        (f"t=999999999999999,v1={RIGHT}", "timestamp_out_of_range"),
        (f"t={AT}" + f",v1={OTHER}" * 10_000, "signature_invalid"),
        (f"t={AT}" + f",v1={OTHER}" * 10_000 + f",v1={RIGHT}", "signature_invalid"),  # nobody honest sends so many
    ],
)
def test_every_other_header_is_a_refusal(header: str | None, code: str) -> None:
    assert refusal(header) == code


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
def test_a_signature_is_fresh_for_five_minutes_either_way(age: float, code: str | None) -> None:
    assert refusal(HEADER, now=AT + age) == code


@pytest.mark.parametrize(
    ("secrets", "code"),
    [
        ((SECRET,), None),
        (("whsec_old", SECRET), None),
        (("", SECRET), None),
        ((), "signature_invalid"),
        (("whsec_other",), "signature_invalid"),
        ((SECRET + "\n",), "signature_invalid"),
        ((SECRET.removeprefix("whsec_"),), "signature_invalid"),
    ],
)
def test_any_secret_of_the_endpoint_may_have_signed(secrets: tuple[str, ...], code: str | None) -> None:
    assert refusal(HEADER, secrets=secrets) == code


def test_an_empty_secret_verifies_nothing() -> None:
    assert refusal(sign(RAW, "", AT), secrets=("",)) == "signature_invalid"


def test_the_exact_bytes_are_signed() -> None:
    assert refusal(HEADER, raw=RAW + b" ") == "signature_invalid"


def test_sign_makes_the_header_that_stripe_makes() -> None:
    assert sign(RAW, SECRET, AT) == HEADER


SECRETS = st.text(st.characters(codec="utf-8"), min_size=1)


@given(raw=st.binary(), secret=SECRETS, others=st.lists(SECRETS), at=st.integers(0, 2**40), skew=st.integers(-300, 300))
def test_what_was_signed_verifies(raw: bytes, secret: str, others: list[str], at: int, skew: int) -> None:
    assert refusal(sign(raw, secret, at), raw=raw, secrets=(*others, secret), now=at + skew) is None


@given(raw=st.binary(), other=st.binary(), at=st.integers(0, 2**40))
def test_a_signature_fits_one_body_only(raw: bytes, other: bytes, at: int) -> None:
    assert (refusal(sign(raw, SECRET, at), raw=other, now=at) is None) == (raw == other)


@given(
    header=st.one_of(
        st.text(), st.lists(st.sampled_from(["t", "v1", "=", ",", str(AT), RIGHT, "\0", "é"])).map("".join)
    )
)
def test_no_header_is_anything_but_refused_or_right(header: str) -> None:
    assert refusal(header) is not None or RIGHT in header
