"""Matching: what a company's active patterns say of somebody who signs up, by the raw values of the request."""

from uuid import UUID

from psycopg import Connection

from goodword.fraud.signals import Check


class Matcher:
    """The active patterns of a company."""

    def checks(self, email: str | None, ip: str | None, user_agent: str | None, device: str | None) -> list[Check]:
        """A check for each pattern that matches."""
        _ = (email, ip, user_agent, device)
        return []


def ask(connection: Connection, company_id: UUID, patterns_version: int) -> Matcher:
    """The patterns of a company."""
    _ = (connection, company_id, patterns_version)
    return Matcher()
