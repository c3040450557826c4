"""Removes what is past its retention, every night: the bodies of handled provider events, the keys of browsers."""

from collections.abc import Mapping

from goodword.core import jobs, key_retention
from goodword.payments import retention


def lambda_handler(event: Mapping[str, object], context: jobs.Context) -> dict[str, object]:
    """Run the job to its end or to its deadline."""
    return jobs.run(retention.JOB, context, jobs.together(retention.redact, key_retention.batch))
