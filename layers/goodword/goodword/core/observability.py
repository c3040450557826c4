"""The log and the metrics. Neither ever holds personal data: no bodies, addresses, e-mails, keys or user ids.

Lambda reads `timestamp` and `level` of each line and takes it for INFO, whatever it says, unless the one is of RFC 3339
and the other one of its own names.
"""

import logging
import os
import sys

from aws_lambda_powertools import Logger, Metrics
from pydantic_core import to_json

from goodword.core import clock
from goodword.core.settings import log_settings

SERVICE = "goodword"

logging.addLevelName(logging.WARNING, "WARN")
logging.addLevelName(logging.CRITICAL, "FATAL")
logger = Logger(
    service=SERVICE,
    stream=sys.stderr,
    level=log_settings().log_level,
    utc=True,
    use_rfc3339=True,
    serialize_stacktrace=False,
)
metrics = Metrics(namespace="Goodword", service=SERVICE)

# leaving a pipeline whose statement failed is reported there as a warning; the failure itself reaches us anyway
logging.getLogger("psycopg").setLevel(logging.ERROR)


def log_answer(route: str, status: int, request_id: str, milliseconds: float) -> None:
    """The line of every request as the logger would write it, in a third of the time: every client waits for it."""
    if logger.log_level > logging.INFO:
        return
    line = {
        "level": "INFO",
        "message": "answered",
        "timestamp": clock.real_now().isoformat(timespec="milliseconds"),
        "service": SERVICE,
        "route": route,
        "status": status,
        "request_id": request_id,
        "milliseconds": round(milliseconds, 2),
    }
    if trace := os.environ.get("_X_AMZN_TRACE_ID"):
        line["xray_trace_id"] = trace.partition(";")[0].removeprefix("Root=")
    sys.stderr.write(to_json(line).decode() + "\n")
