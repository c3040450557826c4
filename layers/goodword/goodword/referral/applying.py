"""Applying the facts of an event: to what is known, to who brought whom, and to what referrals stand for."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection

from goodword.access import subscriptions
from goodword.awards import settlement
from goodword.facts import keep
from goodword.facts.kinds import Fact
from goodword.referral import late_attribution, undecided


def apply(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> bool:
    """Keep facts and bring every referral they concern to what they say. Returns whether money is left parked.

    Binding comes before settling, once for everybody concerned: no transaction asks for a binding or a code while it
    holds a referral or a wallet. Where everybody is referred by now, there is nobody to bind.
    """
    kept = keep(connection, company_id, provider, facts)
    subscriptions.announce(connection, company_id, provider, facts)
    concerned = sorted(kept.concerned | undecided.waiting(connection, company_id, provider, facts))
    if not settlement.settle_referred(connection, company_id, concerned):
        late_attribution.bind_undecided(connection, company_id, concerned)
        settlement.settle(connection, company_id, concerned)
    return kept.parked
