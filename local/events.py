"""Example events: one request to one function each, as API Gateway hands it over, in `events/<function>__<case>.json`.

They are HTTP API events of payload format 2.0, with what differs from run to run left open. Where no route leads to a
function, its events are what its schedule or the deploy sends.

- `${name}` in any text is filled in from the values given. A text that is nothing else becomes the value itself, so
  that `"created": "${now}"` is a number.
- A `body` that is an object stands for its JSON text, in base64 where `isBase64Encoded` says so.
- `${now}` and `${in_a_month}` (Unix seconds), `${now_iso}` and `${content_length}` are known without being given, and
  so is `${stripe_signature}` once `stripe_secret` is, and `${whop_timestamp}`, `${whop_signature}` and
  `${whop_signature_v5}` once `whop_secret` is: a webhook is signed when it is loaded, because signatures grow stale.
"""

import base64
import json
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from goodword.core.fields import rfc3339
from goodword.payments import signatures
from goodword.payments.whop import signatures as whop_signatures

EVENTS = Path(__file__).resolve().parent.parent / "events"
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
MONTH_SECONDS = 30 * 86_400


def names() -> list[str]:
    """All example events."""
    return sorted(file.stem for file in EVENTS.glob("*.json"))


def logical_id(name: str) -> str:
    """The function an event is for, as template.yaml calls it."""
    folder = name.partition("__")[0]
    return "".join(word.capitalize() for word in folder.split("_")) + "Function"


def load(name: str, values: Mapping[str, object]) -> dict[str, Any]:
    """An event, ready to be sent. Raises KeyError for a placeholder without a value."""
    event = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    now = int(time.time())
    now_iso = rfc3339(datetime.fromtimestamp(now, UTC))
    known: dict[str, object] = {"now": now, "now_iso": now_iso, "in_a_month": now + MONTH_SECONDS, **values}
    if "body" not in event:
        return _filled(event, known)
    raw = json.dumps(_filled(event.pop("body"), known), ensure_ascii=False).encode()
    known["content_length"] = str(len(raw))
    if "stripe_secret" in known:
        known["stripe_signature"] = signatures.sign(raw, str(known["stripe_secret"]), now)
    if "whop_secret" in known:
        secret, message_id = str(known["whop_secret"]), event["headers"].get("webhook-id", "")
        signed = whop_signatures.sign(raw, secret, message_id, now)
        known["whop_timestamp"], known["whop_signature"] = signed["webhook-timestamp"], signed["webhook-signature"]
        known["whop_signature_v5"] = signatures.sign(raw, secret, now)
    body = base64.b64encode(raw) if event["isBase64Encoded"] else raw
    return {**_filled(event, known), "body": body.decode()}


def body_of(event: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value that the body of a loaded event stands for."""
    raw = event["body"]
    return json.loads(base64.b64decode(raw) if event["isBase64Encoded"] else raw)


def _filled(template: Any, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(template, dict):
        return {name: _filled(value, values) for name, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, values) for value in template]
    if not isinstance(template, str):
        return template
    whole = PLACEHOLDER.fullmatch(template)
    return values[whole[1]] if whole else PLACEHOLDER.sub(lambda match: str(values[match[1]]), template)


if __name__ == "__main__":
    # python -m local.events track_click__follow code=7K2M9QXA | sam local invoke TrackClickFunction -e -
    given = dict(argument.split("=", 1) for argument in sys.argv[2:])
    try:
        print(json.dumps(load(sys.argv[1], given), indent=2))
    except KeyError as missing:
        sys.exit(f"events/{sys.argv[1]}.json needs a value: {missing.args[0]}=…")
