"""Applying the facts of an event: to what is known, to who brought whom, and to what referrals stand for."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from psycopg import Connection

from goodword import facts
from goodword.access import subscriptions
from goodword.awards import known, settlement
from goodword.awards.known import REFERRAL
from goodword.facts import KEPT
from goodword.facts.kinds import Fact
from goodword.fraud.first_payments import FirstPayments
from goodword.referral import late_attribution, undecided

# Referrals are locked here where everybody is referred by now. Then there is nobody to bind, which would come before.
_GATHER: LiteralString = f"""
    SELECT kept.*, referral.* FROM {KEPT}
    LEFT JOIN LATERAL known_referrals(%(company_id)s, kept.concerned, true, true) AS {REFERRAL} ON true
"""  # noqa: S608 - constants


def apply(connection: Connection, company_id: UUID, provider: str, event_facts: Sequence[Fact]) -> bool:
    """Keep the facts of an event and bring every referral they concern to what they say.

    Returns whether money is left parked.

    Binding comes before settling, once for everybody concerned: no transaction asks for a binding or a code while it
    holds a referral or a wallet.
    """
    read_plans = subscriptions.ask_plans(connection, company_id, provider, event_facts)
    rows = facts.keep_by(connection, company_id, provider, event_facts, _GATHER)()
    kept = facts.kept(rows[0], event_facts)
    referrals = [known.of_row(row) for row in rows if row["id"]]
    subscriptions.announce(connection, company_id, provider, event_facts, read_plans())
    concerned = sorted(kept.concerned | undecided.waiting(connection, company_id, provider, event_facts))
    if len(referrals) == len(concerned):
        settlement.bring(connection, company_id, referrals, FirstPayments())
    else:
        late_attribution.bind_undecided(connection, company_id, concerned)
        settlement.settle(connection, company_id, concerned, FirstPayments())
    return kept.parked
