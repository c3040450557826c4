"""The registry of providers: the record of each, by its name.

Imports all of them, so a function that receives from one names that one instead and starts the sooner.
"""

from collections.abc import Mapping
from typing import Any, Final

from goodword.payments.provider import Provider
from goodword.payments.stripe.webhooks import STRIPE
from goodword.payments.whop.webhooks import WHOP

PROVIDERS: Final[Mapping[str, Provider[Any]]] = {provider.name: provider for provider in (STRIPE, WHOP)}
