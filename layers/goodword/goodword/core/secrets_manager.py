"""Secrets that stay in AWS Secrets Manager: named by their ARN here, read when they are needed.

A reference is never itself a secret: ARNs are no secret to anybody, so whatever looks like one is either replaced by
what it names or refused. The current and the previous version both count, so that a rotation loses no event. What was
read is kept in this process for KEPT_SECONDS; who finds that it no longer fits may ask for something newer.

boto3 is Lambda's own and slow to import, so only a process that meets a reference imports it.
"""

import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, cast

from goodword.core.errors import Unavailable
from goodword.core.observability import logger

KEPT_SECONDS: Final = 300
NEWER_SECONDS: Final = 60
"""How old what is known may be at most, where it has just failed: a flood of forged requests asks once a minute."""
PAUSE_SECONDS: Final = 10
"""How long nobody asks again after AWS did not answer, or refused."""
TIMEOUT_SECONDS: Final = 2  # a provider waits 5 s for its answer
VERSIONS: Final = ("AWSCURRENT", "AWSPREVIOUS")

_REFERENCE: Final = re.compile(
    r"arn:aws[a-z-]{0,20}:secretsmanager:(?P<region>[a-z0-9-]{1,32}):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,512}"
)
_SECRET: Final = re.compile(r"[\x21-\x7e]{8,512}")
_MOST_REMEMBERED: Final = 1000


class _Client(Protocol):
    """What is used of boto3's client."""

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, object]: ...  # noqa: N803 - AWS's names


@dataclass(slots=True)
class _Known:
    """What was read, and when; when nobody could read it last. Seconds of the monotonic clock."""

    secrets: tuple[str, ...] = ()
    read_at: float = float("-inf")
    failed_at: float = float("-inf")


_remembered: dict[str, _Known] = {}


def is_reference(secret: str) -> bool:
    """Whether a text names a secret instead of being one."""
    return secret.startswith("arn:")


def is_possible(reference: str) -> bool:
    """Whether a reference is the ARN of a secret in Secrets Manager."""
    return _REFERENCE.fullmatch(reference) is not None


def resolved(secrets: Iterable[str], max_age: float = KEPT_SECONDS) -> list[str]:
    """The secrets themselves: each reference is replaced by what it names, read at most `max_age` seconds ago.

    Raises Unavailable when Secrets Manager does not answer or does not show a secret.
    """
    values: list[str] = []
    for secret in secrets:
        values += _read(secret, max_age) if is_reference(secret) else [secret]
    return values


def forget() -> None:
    """Read everything anew at its next use."""
    _remembered.clear()


def _read(reference: str, max_age: float) -> tuple[str, ...]:
    now = time.monotonic()
    if reference not in _remembered and len(_remembered) >= _MOST_REMEMBERED:
        _remembered.clear()
    known = _remembered.setdefault(reference, _Known())
    if now - known.read_at < max_age:
        return known.secrets
    if now - known.failed_at < PAUSE_SECONDS:
        raise _unavailable()
    try:
        known.secrets = _ask(reference)
    except Unavailable:
        known.failed_at = now
        raise
    known.read_at = now
    return known.secrets


def _ask(reference: str) -> tuple[str, ...]:
    # here and not above: see the module's docstring
    from botocore.exceptions import (  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
        BotoCoreError,
        ClientError,
    )

    place = _REFERENCE.fullmatch(reference)
    if place is None:
        raise _refuse(reference, "not_an_arn_of_a_secret")
    try:
        client = _client(place["region"])
        texts = [text for version in VERSIONS if (text := _version(client, reference, version)) is not None]
        return tuple(dict.fromkeys(secret for text in texts for secret in _secrets_in(text)))
    except ClientError as fault:
        raise _refuse(reference, _code(fault)) from None
    except (BotoCoreError, ValueError) as fault:
        raise _refuse(reference, type(fault).__name__) from None  # not its message: json puts the text into it


def _client(region: str) -> _Client:
    import boto3  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
    from botocore.config import Config  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    waiting = Config(connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1})
    make = cast("_Make", boto3.client)
    return make("secretsmanager", region_name=region, config=waiting)


class _Make(Protocol):
    def __call__(self, service: str, *, region_name: str, config: object) -> _Client: ...


def _version(client: _Client, reference: str, version: str) -> str | None:
    """The text of a version; a secret that was never changed has no previous one."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    try:
        text = client.get_secret_value(SecretId=reference, VersionStage=version).get("SecretString")
    except ClientError as fault:
        if version != VERSIONS[0] and _code(fault) == "ResourceNotFoundException":
            return None
        raise
    if not isinstance(text, str):
        raise ValueError("the secret is not text")  # noqa: TRY004 - of what AWS answers, not of what we were given
    return text


def _code(fault: Exception) -> str:
    """What AWS calls its refusal."""
    response = cast("dict[str, dict[str, str]]", getattr(fault, "response", {}))
    return response.get("Error", {}).get("Code", "unknown")


def _secrets_in(text: str) -> list[str]:
    """A bare secret, or `{"secrets": […]}`. Raises ValueError."""
    text = text.strip()
    listed: object = [text]
    if text.startswith("{"):
        document: object = json.loads(text)
        listed = cast("dict[str, object]", document).get("secrets")
    if not isinstance(listed, list) or not listed:
        raise ValueError("no list of secrets")
    for secret in cast("list[object]", listed):
        if not isinstance(secret, str) or not _SECRET.fullmatch(secret) or is_reference(secret):
            raise ValueError("not a secret")
    return cast("list[str]", listed)


def _refuse(reference: str, why: str) -> Unavailable:
    logger.error("a secret cannot be read", extra={"secret": reference, "fault": why})
    return _unavailable()


def _unavailable() -> Unavailable:
    return Unavailable(
        "secrets_unavailable",
        "A secret cannot be read at the moment; the same event may be sent again.",
        retry_after=PAUSE_SECONDS,
    )
