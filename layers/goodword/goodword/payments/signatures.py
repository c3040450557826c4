"""Signatures of the form `t=<unix seconds>,v1=<hex>`: proof of who sent a webhook's bytes, and when.

`v1` is HMAC-SHA256 over "{t}.{raw body}" in lower-case hex. The key is the secret exactly as the provider shows it:
Stripe's `whsec_…` is used whole, neither cut nor decoded. A sender that is changing its secret sends several `v1`, and
an endpoint may hold several secrets; one match among them is enough. Other schemes in the header (`v0`) prove nothing.

Unlike Stripe's own library this refuses timestamps from the future as well, and turns every odd header into a refusal.
Freshness is judged by real time, never by a company's test clock.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

TOLERANCE_SECONDS: Final = 300

# An honest header has three or four parts. Whoever sends more is not worth comparing them all.
_MOST_PARTS: Final = 32
_TIMESTAMP: Final = re.compile(r"[0-9]{1,15}")

Refusal: TypeAlias = Literal["signature_missing", "signature_invalid", "timestamp_out_of_range"]


class SignatureRejected(ValueError):
    """The bytes do not come, just now, from somebody who knows a secret of this endpoint; `code` says what failed."""

    def __init__(self, code: Refusal) -> None:
        super().__init__(code)
        self.code: Final[Refusal] = code


def verify(raw: bytes, header: str | None, secrets: Sequence[str], now: float) -> None:
    """Return if `header` proves that `raw` was signed with one of `secrets` within 300 s of `now` (Unix time, seconds).

    Raises SignatureRejected, and nothing else, whatever the header holds.
    """
    if not header:
        raise SignatureRejected("signature_missing")
    timestamp, signatures = _parts(header)
    if timestamp is None or not signatures:
        raise SignatureRejected("signature_invalid")
    refuse_stale(timestamp, now)
    for secret in secrets:
        if not secret:
            continue  # anybody can sign with an empty key
        expected = _signature(raw, secret, timestamp)
        if any(hmac.compare_digest(expected, signature) for signature in signatures):
            return
    raise SignatureRejected("signature_invalid")


def refuse_stale(timestamp: str, now: float) -> None:
    """Raise SignatureRejected unless `timestamp` is a number of seconds within 300 of `now`."""
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureRejected("signature_invalid")
    if not -TOLERANCE_SECONDS <= now - int(timestamp) <= TOLERANCE_SECONDS:
        raise SignatureRejected("timestamp_out_of_range")


def sign(raw: bytes, secret: str, at: int) -> str:
    """The header a sender of `raw` would send at `at` (Unix time, seconds)."""
    return f"t={at},v1={_signature(raw, secret, str(at)).decode()}"


def _signature(raw: bytes, secret: str, timestamp: str) -> bytes:
    return hmac.digest(secret.encode(), timestamp.encode() + b"." + raw, "sha256").hex().encode()


def _parts(header: str) -> tuple[str | None, list[bytes]]:
    """The first `t` and every `v1` that could be a signature."""
    timestamps: list[str] = []
    signatures: list[bytes] = []
    for part in header.split(",", _MOST_PARTS)[:_MOST_PARTS]:
        scheme, _, value = part.partition("=")
        if scheme == "t":
            timestamps.append(value)
        elif scheme == "v1" and value.isascii():
            signatures.append(value.encode())
    return timestamps[0] if timestamps else None, signatures
