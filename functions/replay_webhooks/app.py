"""Tries the provider events again that could not be applied, every five minutes."""

from collections.abc import Mapping

from goodword.core import jobs
from goodword.payments import replays


def lambda_handler(event: Mapping[str, object], context: jobs.Context) -> dict[str, object]:
    """Run the job to its end or to its deadline."""
    return jobs.run(replays.JOB, context, replays.batch)
