"""Books what has expired, every hour."""

from collections.abc import Mapping

from goodword.core import jobs
from goodword.points import expiry


def lambda_handler(event: Mapping[str, object], context: jobs.Context) -> dict[str, object]:
    """Run the job to its end or to its deadline."""
    return jobs.run(expiry.JOB, context, expiry.batch)
