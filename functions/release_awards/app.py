"""Pays the awards whose waiting is over, and hands on overdue reviews, every quarter of an hour."""

from collections.abc import Mapping

from goodword.awards import advancing
from goodword.core import jobs
from goodword.fraud import escalations


def lambda_handler(event: Mapping[str, object], context: jobs.Context) -> dict[str, object]:
    """Run the job to its end or to its deadline."""
    return jobs.run(advancing.RELEASE_JOB, context, jobs.in_turn(advancing.release, escalations.escalate))
