"""Removes what is past its retention, every night: the bodies of handled provider events."""

from collections.abc import Mapping

from goodword.core import jobs
from goodword.payments import replays


def lambda_handler(event: Mapping[str, object], context: jobs.Context) -> dict[str, object]:
    """Run the job to its end or to its deadline."""
    return jobs.run(replays.RETENTION_JOB, context, replays.redact)
