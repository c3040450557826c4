"""Asks the providers what they could not deliver, every six hours, where an endpoint was given a key for it."""

from collections.abc import Mapping

from goodword.core import jobs
from goodword.payments import reconciliation


def lambda_handler(event: Mapping[str, object], context: jobs.Context) -> dict[str, object]:
    """Run the job to its end or to its deadline."""
    return jobs.run_steps(reconciliation.JOB, context, reconciliation.steps())
