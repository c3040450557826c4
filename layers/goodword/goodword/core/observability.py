"""The log and the metrics. Neither ever holds personal data: no bodies, addresses, e-mails, keys or user ids."""

import sys

from aws_lambda_powertools import Logger, Metrics

SERVICE = "goodword"

logger = Logger(service=SERVICE, stream=sys.stderr)
metrics = Metrics(namespace="Goodword", service=SERVICE)
