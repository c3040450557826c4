"""Why a code cannot be used, in the words of the database and in those that clients are told."""

from collections.abc import Mapping
from typing import Literal

CodeRefusal = Literal["inactive", "expired", "used_up"]
REFUSALS: Mapping[CodeRefusal, Literal["inactive_code", "expired_code", "code_used_up"]] = {
    "inactive": "inactive_code", "expired": "expired_code", "used_up": "code_used_up",
}  # fmt: skip
"""The reason of an attribution for what the SQL function `code_refusal` says of a code."""
