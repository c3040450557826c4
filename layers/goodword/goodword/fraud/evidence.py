"""Evidence: what is known beside a person who comes by a referrer, for the signals to look at; one statement."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import LiteralString, NamedTuple, Self
from uuid import UUID

from psycopg import Connection

from goodword.core import query
from goodword.core.privacy import PrivacyKey
from goodword.core.query import Later
from goodword.fraud.emails import Mailbox, mailbox
from goodword.fraud.fingerprints import Seen, SeenHashes
from goodword.program.document import Program

COMPARED = 200
"""With the e-mails of how many of a referrer's latest referees one is compared."""


class ScreenedPerson(NamedTuple):
    """Who comes: under which e-mail, and from where. Of somebody who came before, only hashes are known."""

    id: UUID
    email: str | None
    hashes: SeenHashes
    ip_type: str | None = None
    seen: Seen = Seen()

    @property
    def mailbox(self) -> Mailbox | None:
        """Their e-mail, as it is compared."""
        return mailbox(self.email) if self.email else None

    @classmethod
    def now(cls, id_: UUID, email: str | None, seen: Seen, keys: Sequence[PrivacyKey]) -> Self:
        """Somebody who is seen now; `keys` begin with the current one."""
        return cls(id_, email, seen.hashes(keys), seen.ip_type, seen)

    def seen_row(self, key: PrivacyKey, referrer_id: UUID | None) -> Mapping[str, object] | None:
        """The row that keeps where they are seen as they sign up, brought by somebody or not; None where nothing is."""
        return self.seen.row(key, self.hashes, "registration", referrer_id)


class Reach(NamedTuple):
    """How far evidence is looked for: back, in three windows, and up to how many registrations."""

    shared: timedelta
    rapid: timedelta
    bulk: timedelta
    most: int

    @classmethod
    def of(cls, program: Program) -> Self:
        """How far a program's signals and limits look."""
        fraud, limits = program.fraud, program.limits
        windows = fraud.windows
        most = max(
            fraud.shared_ip_referees, fraud.shared_device_referees, windows.rapid_registrations,
            windows.bulk_registrations, limits.registrations_per_code_per_day,
            limits.registrations_per_referrer_per_day,
        )  # fmt: skip
        return cls(
            timedelta(days=windows.shared_days),
            timedelta(minutes=windows.rapid_minutes),
            timedelta(hours=windows.bulk_hours),
            most + 1,
        )


class Evidence(NamedTuple):
    """What is known: the columns of the SQL function `fraud_evidence`.

    What is counted is so without the person. None: there was nothing to look for.
    """

    referrer_since: datetime
    referrer_email: str | None
    is_referrers_ip: bool | None
    on_ip: int | None
    is_referrers_device: bool | None
    on_device: int | None
    on_code_lately: int
    of_referrer_lately: int
    on_code_today: int
    of_referrer_today: int
    emails: list[str] | None
    has_ranges: bool | None
    listed_ip_type: str | None
    patterns_version: int
    not_disposable: list[str]


LOOKED_FOR: LiteralString = """
    %(ips)s::bytea[], %(devices)s::bytea[], %(ip)s, %(domain)s, %(shared)s, %(rapid)s, %(bulk)s, %(most)s, %(compared)s
"""
"""The middle arguments of `fraud_evidence`, whose parameters are those of `parameters`."""

_ASK: LiteralString = f"""
    SELECT * FROM fraud_evidence(%(company_id)s, %(referrer_id)s, %(code_id)s, {LOOKED_FOR}, %(at)s)
"""  # noqa: S608 - of constants


def ask(
    connection: Connection, company_id: UUID, person: ScreenedPerson, referrer_id: UUID, code_id: UUID, reach: Reach,
    at: datetime,
) -> Later[Evidence]:  # fmt: skip
    """Ask what is known beside a person who comes by a referrer. Locks: the registrations of the referrer."""
    looked_for = parameters(person, reach)
    return query.the_one_later(
        connection, Evidence, _ASK, company_id=company_id, referrer_id=referrer_id, code_id=code_id, at=at, **looked_for
    )


def parameters(person: ScreenedPerson, reach: Reach) -> dict[str, object]:
    """Whom and how far it is looked for, as parameters of `LOOKED_FOR`."""
    own = person.mailbox
    return {
        "ips": query.as_bytea_array(person.hashes.ips),
        "devices": query.as_bytea_array(person.hashes.devices),
        "ip": person.seen.public_ip,
        "domain": own.domain if own else None,
        "compared": COMPARED,
        **reach._asdict(),
    }
