"""The log and the metrics. Neither ever holds personal data: no bodies, addresses, e-mails, keys or user ids."""

import logging
import os
import sys

from aws_lambda_powertools import Logger, Metrics

SERVICE = "goodword"

logger = Logger(
    service=SERVICE, stream=sys.stderr, level=os.environ.get("LOG_LEVEL", "INFO"), serialize_stacktrace=False
)
metrics = Metrics(namespace="Goodword", service=SERVICE)

# leaving a pipeline whose statement failed is reported there as a warning; the failure itself reaches us anyway
logging.getLogger("psycopg").setLevel(logging.ERROR)
