"""A place at which two people are seen, and when they are."""

from datetime import UTC, datetime

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
SHARED = {"ip": "203.0.113.77", "device_fingerprint": "a device that two have"}
