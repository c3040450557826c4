"""Sealing: how a secret that is shown once stands in a kept answer (`core.idempotency`).

A request that is repeated is given the same answer, secret and all, and yet nobody shall find the secret in the
database. So it is kept under a pad that follows from the API key of whoever asked for it, which is stored nowhere
(docs/decisions/0036).
"""

import hmac

LONGEST = 64
"""The bytes of a pad: a longer secret cannot be sealed."""


def sealed(secret: str, api_key: str, purpose: str) -> str:
    """A secret of ASCII characters as it is kept. `purpose` is of this secret alone, as its id is."""
    return _under_pad(secret.encode("ascii"), api_key, purpose).hex()


def unsealed(kept: str, api_key: str, purpose: str) -> str:
    """The secret; nonsense for another API key than the one it was sealed with."""
    return _under_pad(bytes.fromhex(kept), api_key, purpose).decode("ascii", "replace")


def _under_pad(text: bytes, api_key: str, purpose: str) -> bytes:
    """Once more gives the text back."""
    if len(text) > LONGEST:
        raise ValueError("too long to be sealed")
    pad = hmac.digest(api_key.encode("utf-8", "surrogatepass"), purpose.encode(), "sha512")
    return bytes(one ^ other for one, other in zip(text, pad, strict=False))
