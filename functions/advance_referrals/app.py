"""Settles the referrals for which an instant has come, and ends campaigns, every quarter of an hour."""

from collections.abc import Mapping

from goodword.awards import advancing, campaign_ends
from goodword.core import jobs


def lambda_handler(event: Mapping[str, object], context: jobs.Context) -> dict[str, object]:
    """Run the job to its end or to its deadline."""
    return jobs.run(advancing.ADVANCE_JOB, context, jobs.in_turn(advancing.advance, campaign_ends.end))
