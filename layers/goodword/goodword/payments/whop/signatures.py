"""Whop's two signatures: proof of who sent a webhook's bytes, and when.

v1 is Standard Webhooks: `webhook-signature` lists `v1,<base64>` entries, each HMAC-SHA256 over the text
"{webhook-id}.{webhook-timestamp}.{raw body}". Unlike that standard's own libraries, the key is the whole `ws_…` secret
as Whop shows it, neither cut nor decoded. v5 is older and has the form of `goodword.payments.signatures`, in
`x-whop-signature`; it signs no id.

Whatever is odd about a header is a refusal. Freshness is judged by real time.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from goodword.payments import signatures
from goodword.payments.signatures import SignatureRejected

HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature", "x-whop-signature")

# An honest list has one entry, or two while a secret is being changed.
_MOST_ENTRIES: Final = 32
_MESSAGE_ID: Final = re.compile(r"[!-~]{1,255}")


def event_id(raw: bytes, headers: Mapping[str, str]) -> str | None:
    """The id of an event, which its signature covers: v1's message id, v5's own bytes (docs/rules.md, Provider events).

    None where v1's headers hold none; `verify` then refuses them.
    """
    if not _is_v1(headers):
        return f"v5:{sha256(raw).hexdigest()}"
    message_id = headers.get("webhook-id", "")
    return message_id if _MESSAGE_ID.fullmatch(message_id) else None


def verify(raw: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: float) -> None:
    """Return if `headers` prove that `raw` was signed with one of `secrets` within 300 s of `now` (Unix time, seconds).

    Raises SignatureRejected, and nothing else, whatever the headers hold.
    """
    if not _is_v1(headers):
        signatures.verify(raw, headers.get("x-whop-signature"), secrets, now)
        return
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signed = _entries(headers["webhook-signature"])
    if not _MESSAGE_ID.fullmatch(message_id) or not signed:
        raise SignatureRejected("signature_invalid")
    signatures.refuse_stale(timestamp, now)
    for secret in secrets:
        if not secret:
            continue  # anybody can sign with an empty key
        expected = _signature(raw, secret, message_id, timestamp)
        if any(hmac.compare_digest(expected, signature) for signature in signed):
            return
    raise SignatureRejected("signature_invalid")


def sign(raw: bytes, secret: str, message_id: str, at: int) -> dict[str, str]:
    """The v1 headers with which Whop would send `raw` at `at` (Unix time, seconds)."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{_signature(raw, secret, message_id, str(at)).decode()}",
    }


def sign_v5(raw: bytes, secret: str, at: int) -> dict[str, str]:
    """The v5 header with which Whop would send `raw` at `at` (Unix time, seconds)."""
    return {"x-whop-signature": signatures.sign(raw, secret, at)}


def _is_v1(headers: Mapping[str, str]) -> bool:
    return bool(headers.get("webhook-signature"))


def _signature(raw: bytes, secret: str, message_id: str, timestamp: str) -> bytes:
    return b64encode(hmac.digest(secret.encode(), f"{message_id}.{timestamp}.".encode() + raw, "sha256"))


def _entries(header: str) -> list[bytes]:
    """Every v1 entry that could be a signature; other versions (`v1a` is asymmetric) are none of ours."""
    listed = (entry.partition(",") for entry in header.split(" ", _MOST_ENTRIES)[:_MOST_ENTRIES])
    return [value.encode() for version, _, value in listed if version == "v1" and value.isascii()]
