"""Signals: what speaks against a referral. Each is a rule of its own over what is known of the two people. Pure.

A signal for which there is nothing to go by is not evaluated, which is not the same as clear. The source of all of them
is docs/rules.md, Signals.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias

from goodword.core.fields import rfc3339
from goodword.fraud import disposable
from goodword.fraud.emails import Mailbox, are_alike, mailbox
from goodword.fraud.evidence import Evidence
from goodword.program.document import Fraud

State = Literal["raised", "clear", "not_evaluated"]
Found: TypeAlias = Mapping[str, object] | Literal[False] | None
"""What a rule finds: what raises the signal, False where it is clear, None where there is nothing to go by."""

HIDING = frozenset({"vpn", "proxy", "tor"})
CHECK_TYPES: Mapping[str, str] = {
    "same_ip": "ip_duplicate",
    "same_device": "device_duplicate",
    "similar_email": "email_duplicate",
}
"""Under which name a check is kept whose signal has another one."""

BEHAVIOURAL = frozenset({
    "rapid_registration", "bulk_registrations", "new_account_referrer", "instant_qualification", "minimal_activity",
})  # fmt: skip
VELOCITY = "velocity_limit"


class Case(NamedTuple):
    """Who is judged, by what, and when. `is_exempt`: no number of registrations speaks against them."""

    mailbox: Mailbox | None
    ip_type: str | None
    evidence: Evidence
    fraud: Fraud
    at: datetime
    is_exempt: bool


class Check(NamedTuple):
    """One signal, looked at."""

    signal: str
    state: State
    score: int = 0
    details: Mapping[str, object] = {}

    @property
    def check_type(self) -> str:
        """The name under which it is kept."""
        return check_type(self.signal)


def check_type(signal: str) -> str:
    """The name under which the checks of a signal are kept."""
    return CHECK_TYPES.get(signal, signal)


Rule: TypeAlias = Callable[[Case], Found]


def _same_ip(case: Case) -> Found:
    evidence = case.evidence
    return _shared(evidence.is_referrers_ip, evidence.on_ip, case.fraud.shared_ip_referees)


def _same_device(case: Case) -> Found:
    evidence = case.evidence
    return _shared(evidence.is_referrers_device, evidence.on_device, case.fraud.shared_device_referees)


def _shared(is_referrers: bool | None, others: int | None, most: int) -> Found:  # noqa: FBT001 - a column
    if is_referrers is None or others is None:
        return None
    if is_referrers:
        return {"shared_with": "referrer"}
    return {"shared_with": "referees", "referees": others + 1} if others + 1 >= most else False


def _disposable_email(case: Case) -> Found:
    if case.mailbox is None:
        return None
    listed = disposable.listed(case.mailbox.domain, case.evidence.not_disposable)
    return {"domain": listed} if listed else False


def _similar_email(case: Case) -> Found:
    evidence, own = case.evidence, case.mailbox
    if own is None or (evidence.referrer_email is None and evidence.emails is None):
        return None
    if evidence.referrer_email and are_alike(own, mailbox(evidence.referrer_email)):
        return {"similar_to": "referrer"}
    alike = sum(are_alike(own, mailbox(email)) for email in evidence.emails or ())
    return {"similar_to": "referees", "referees": alike} if alike else False


def _rapid_registration(case: Case) -> Found:
    windows = case.fraud.windows
    registrations = case.evidence.on_code_lately + 1
    return _many(case, registrations, registrations >= windows.rapid_registrations)


def _bulk_registrations(case: Case) -> Found:
    registrations = case.evidence.of_referrer_lately + 1
    return _many(case, registrations, registrations > case.fraud.windows.bulk_registrations)


def _many(case: Case, registrations: int, are_too_many: bool) -> Found:  # noqa: FBT001 - what a rule says
    if case.is_exempt:
        return None
    return {"registrations": registrations} if are_too_many else False


def _vpn_proxy(case: Case) -> Found:
    evidence = case.evidence
    ip_type = case.ip_type if case.ip_type not in {None, "unknown"} else evidence.listed_ip_type
    if ip_type is None and not evidence.has_ranges:
        return None
    return {"ip_type": ip_type} if ip_type in HIDING else False


def _new_account_referrer(case: Case) -> Found:
    since = case.evidence.referrer_since
    is_new = since > case.at - timedelta(hours=case.fraud.windows.new_account_hours)
    return {"referrer_since": rfc3339(since)} if is_new else False


def _by_a_payment(_: Case) -> Found:
    """It is looked at when the first payment is known (`first_payments`)."""
    return None


RULES: Mapping[str, Rule] = {
    "same_ip": _same_ip,
    "same_device": _same_device,
    "disposable_email": _disposable_email,
    "similar_email": _similar_email,
    "rapid_registration": _rapid_registration,
    "bulk_registrations": _bulk_registrations,
    "vpn_proxy": _vpn_proxy,
    "new_account_referrer": _new_account_referrer,
    "instant_qualification": _by_a_payment,
    "minimal_activity": _by_a_payment,
}
"""Every signal, in the order in which they are shown."""


def look(case: Case) -> list[Check]:
    """Every signal, looked at."""
    scores = case.fraud.signals
    return [as_check(signal, getattr(scores, signal), rule(case)) for signal, rule in RULES.items()]


def as_check(signal: str, score: int, found: Found) -> Check:
    """What looking at one signal has come to. One that is scored with 0 is off."""
    if found is None or score == 0:
        return Check(signal, "not_evaluated")
    if found is False:
        return Check(signal, "clear")
    return Check(signal, "raised", score, found)


def beyond_limits(case: Case, per_code: int, per_referrer: int) -> Check | None:
    """The check of somebody who comes over a limit of registrations; it has no score of its own."""
    evidence = case.evidence
    exceeded = {
        name: limit
        for name, before, limit in (
            ("registrations_per_code_per_day", evidence.on_code_today, per_code),
            ("registrations_per_referrer_per_day", evidence.of_referrer_today, per_referrer),
        )
        if before >= limit
    }
    return Check(VELOCITY, "raised", 0, exceeded) if exceeded and not case.is_exempt else None


def raised(checks: Sequence[Check]) -> list[Check]:
    """Those that speak against the person."""
    return [check for check in checks if check.state == "raised"]
