"""Books what has become of grants, and announces it, every fifteen minutes."""

from collections.abc import Mapping

from goodword.access import grants
from goodword.core import jobs


def lambda_handler(event: Mapping[str, object], context: jobs.Context) -> dict[str, object]:
    """Run the job to its end or to its deadline."""
    return jobs.run(grants.JOB, context, grants.batch)
