"""AWS Secrets Manager in this process, and a clock for what is remembered of it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws

from goodword.core import secrets_manager

REGION = "eu-central-1"


@cache
def _session() -> boto3.Session:
    """A session of every vault: it takes a fifth of a second to read what services there are."""
    return boto3.Session("testing", "testing")


class Vault:
    """`questions` counts what was asked; `fault`, where set, is raised instead of every answer."""

    def __init__(self) -> None:
        self.client: Any = _session().client("secretsmanager", region_name=REGION)
        self.questions = 0
        self.fault: Callable[[str], Exception] | None = None
        self._now = 1000.0
        self._names = itertools.count()

    @classmethod
    @contextmanager
    def open(cls, monkeypatch: pytest.MonkeyPatch) -> Iterator["Vault"]:
        """A vault for as long as the block lasts, of which nothing is remembered."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.setenv(name, "testing")
        with mock_aws():
            monkeypatch.setattr(boto3, "DEFAULT_SESSION", _session())  # moto forgets the one that was there
            vault = cls()
            asked = BaseClient._make_api_call  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]

            def ask(client: Any, operation: str, parameters: Any) -> Any:  # noqa: ANN401 - whatever boto3 says
                if operation == "GetSecretValue":
                    vault.questions += 1
                    if vault.fault:
                        raise vault.fault(operation)
                return asked(client, operation, parameters)

            monkeypatch.setattr(BaseClient, "_make_api_call", ask)
            monkeypatch.setattr(secrets_manager, "time", vault)
            secrets_manager.forget()
            yield vault
            secrets_manager.forget()

    def monotonic(self) -> float:
        """The clock by which secrets are remembered."""
        return self._now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def create(self, text: str) -> str:
        """A new secret; its ARN."""
        return self.client.create_secret(Name=f"goodword/{next(self._names)}", SecretString=text)["ARN"]

    def put(self, arn: str, text: str) -> None:
        """A new version of a secret."""
        self.client.put_secret_value(SecretId=arn, SecretString=text)
