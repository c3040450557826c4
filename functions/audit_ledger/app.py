"""Seals the ledger every hour and audits every company's books once a day.

The event {"company": "cmp_…"} has that company audited now, whether or not it was today.
"""

from collections.abc import Mapping

from goodword.core import database, faults, ids, jobs
from goodword.insight import audit


def lambda_handler(event: Mapping[str, object], context: jobs.Context) -> dict[str, object]:
    """Run the job to its end or to its deadline."""
    if "company" in event:
        with faults.without_values(job=audit.JOB):
            company_id = ids.parse("cmp", str(event["company"]))
            database.once(audit.ask_for, company_id)
    return jobs.run(audit.JOB, context, audit.batch)
