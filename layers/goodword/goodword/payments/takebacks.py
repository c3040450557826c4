"""The statuses of refunds and disputes: whose money it is at each of them, in the words of every provider.

A status that is not listed says nothing: the last one known stays.
"""

from collections.abc import Mapping
from typing import Final, Literal

Kind = Literal["refund", "dispute"]
Status = Literal["pending", "succeeded", "failed", "warning", "open", "lost", "won"]

REFUND_STATUSES: Final[Mapping[str, Status]] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
}
# An inquiry (`warning_…`) moves no money.
DISPUTE_STATUSES: Final[Mapping[str, Status]] = {
    "warning_needs_response": "warning",
    "warning_under_review": "warning",
    "warning_closed": "warning",
    "needs_response": "open",
    "under_review": "open",
    "won": "won",
    "lost": "lost",
    "prevented": "lost",
}
"""What all providers call a dispute's statuses; each adds its own."""
