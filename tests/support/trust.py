"""Programs by whom they suspect.

One trusts everybody, for tests of all else: in a test people pay as they sign up, and come in crowds.
"""

import json
from typing import Any

from goodword.program.document import Fraud, Limits, Program, Signals

MOST = 10_000

TRUSTING = Program(
    fraud=Fraud(signals=Signals(**dict.fromkeys(Signals.model_fields, 0))),
    limits=Limits(registrations_per_code_per_day=MOST, registrations_per_referrer_per_day=MOST),
)


def suspecting(**document: Any) -> Program:  # noqa: ANN401 - sections of a program, as they are sent
    """A program that trusts but for what is said: `signals`, by their scores, and other sections as they are sent."""
    fraud = {**document.pop("fraud", {}), "signals": {**TRUSTING.fraud.signals.model_dump(), **document.pop("signals")}}
    limits = {**TRUSTING.limits.model_dump(), **document.pop("limits", {})}
    return Program.model_validate_json(json.dumps({**document, "fraud": fraud, "limits": limits}))
