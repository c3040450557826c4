"""A program that trusts everybody, for tests of all else: in a test people pay as they sign up, and come in crowds."""

from goodword.program.document import Fraud, Limits, Program, Signals

MOST = 10_000

TRUSTING = Program(
    fraud=Fraud(signals=Signals(**dict.fromkeys(Signals.model_fields, 0))),
    limits=Limits(registrations_per_code_per_day=MOST, registrations_per_referrer_per_day=MOST),
)
