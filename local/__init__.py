"""Runs the bundle on one machine with no Docker: embedded PostgreSQL, the functions' processes, an HTTP API gateway."""
