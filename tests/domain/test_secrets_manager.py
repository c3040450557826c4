"""Secrets that stay in AWS Secrets Manager: what a reference stands for, how long, and what when AWS is away."""

import logging
from collections.abc import Callable, Iterator

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from goodword.core import secrets_manager
from goodword.core.errors import Unavailable
from goodword.payments.endpoints import EndpointChange
from tests.support.vault import REGION, Vault


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    with Vault.open(monkeypatch) as opened:
        yield opened


def test_a_secret_stands_for_itself_and_asks_nobody() -> None:
    assert secrets_manager.resolved(["whsec_0123456789", "ws_0123456789"]) == ["whsec_0123456789", "ws_0123456789"]


def test_a_reference_stands_for_the_secret_it_names(vault: Vault) -> None:
    arn = vault.create("whsec_in_the_vault")
    assert secrets_manager.resolved(["whsec_0123456789", arn]) == ["whsec_0123456789", "whsec_in_the_vault"]


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("whsec_with_a_newline\n", ["whsec_with_a_newline"]),
        ('{"secrets": ["whsec_number_1"]}', ["whsec_number_1"]),
        (' {"secrets": ["whsec_number_1", "whsec_number_2"], "note": "both"}\n', ["whsec_number_1", "whsec_number_2"]),
    ],
)
def test_a_secret_may_be_bare_or_a_list(vault: Vault, text: str, secrets: list[str]) -> None:
    assert secrets_manager.resolved([vault.create(text)]) == secrets


@pytest.mark.parametrize(
    "text",
    [
        "short", "{", "{}", '{"secrets": []}', '{"secrets": "whsec_number_1"}', '{"secrets": ["whsec_number_1", 2]}',
        '{"secrets": [""]}', '{"password": "whsec_number_1"}', "two words of text", "whsec_é_is_no_ascii",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:goodword/other",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_never_used_as_one(vault: Vault, text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(Unavailable):
        secrets_manager.resolved([vault.create(text)])
    assert text not in caplog.text


def test_a_secret_of_bytes_is_none(vault: Vault) -> None:
    arn = vault.client.create_secret(Name="goodword/bytes", SecretBinary=b"whsec_in_the_vault")["ARN"]
    with pytest.raises(Unavailable):
        secrets_manager.resolved([arn])


def test_after_a_rotation_the_current_and_the_previous_version_count(vault: Vault) -> None:
    arn = vault.create("whsec_number_1")
    for number in (2, 3):
        vault.put(arn, f"whsec_number_{number}")
        secrets_manager.forget()
        assert secrets_manager.resolved([arn]) == [f"whsec_number_{number}", f"whsec_number_{number - 1}"]


def test_what_was_read_is_remembered_for_five_minutes(vault: Vault) -> None:
    arn = vault.create("whsec_number_1")
    secrets_manager.resolved([arn])
    vault.put(arn, "whsec_number_2")
    vault.wait(299)
    assert secrets_manager.resolved([arn]) == ["whsec_number_1"]
    vault.wait(1)
    assert secrets_manager.resolved([arn]) == ["whsec_number_2", "whsec_number_1"]


def test_something_newer_is_asked_for_once_a_minute_at_most(vault: Vault) -> None:
    arn = vault.create("whsec_number_1")
    secrets_manager.resolved([arn])
    asked = vault.questions
    for _ in range(59):
        vault.wait(1)
        secrets_manager.resolved([arn], secrets_manager.NEWER_SECONDS)
    assert vault.questions == asked
    vault.wait(1)
    for _ in range(10):
        secrets_manager.resolved([arn], secrets_manager.NEWER_SECONDS)
    assert vault.questions == asked + len(secrets_manager.VERSIONS)


def _no_answer(_: str) -> Exception:
    return EndpointConnectionError(endpoint_url="https://secretsmanager.example")


def _denied(operation: str) -> Exception:
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)


@pytest.mark.parametrize("fault", [_no_answer, _denied])
def test_when_aws_does_not_show_it_the_sender_shall_come_again(vault: Vault, fault: Callable[[str], Exception]) -> None:
    arn = vault.create("whsec_number_1")
    vault.fault = fault
    for _ in range(5):
        with pytest.raises(Unavailable):
            secrets_manager.resolved([arn])
    assert vault.questions == 1  # nobody waits for what has just failed
    vault.fault = None
    vault.wait(secrets_manager.PAUSE_SECONDS)
    assert secrets_manager.resolved([arn]) == ["whsec_number_1"]


def test_without_credentials_the_sender_shall_come_again(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = vault.create("whsec_number_1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(Unavailable):
        secrets_manager.resolved([arn])


def test_what_is_known_is_used_while_aws_is_away(vault: Vault) -> None:
    arn = vault.create("whsec_number_1")
    secrets_manager.resolved([arn])
    vault.fault = _no_answer
    vault.wait(100)
    assert secrets_manager.resolved([arn]) == ["whsec_number_1"]
    with pytest.raises(Unavailable):
        secrets_manager.resolved([arn], secrets_manager.NEWER_SECONDS)
    assert secrets_manager.resolved([arn]) == ["whsec_number_1"]


@pytest.mark.usefixtures("vault")
def test_an_unknown_secret_is_no_answer() -> None:
    with pytest.raises(Unavailable):
        secrets_manager.resolved([f"arn:aws:secretsmanager:{REGION}:123456789012:secret:goodword/none-AbCdEf"])


@pytest.mark.parametrize(
    "arn",
    [
        "arn:", "arn:aws", "arn:aws:iam::123456789012:role/x", "arn:aws:ssm:eu-central-1:123456789012:parameter/x",
        "arn:aws:secretsmanager:eu-central-1:123:secret:x", "arn:aws:secretsmanager::123456789012:secret:x",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:",
        "arn:aws:secretsmanager:a.b/c:123456789012:secret:x",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_reference_is_neither_stored_nor_used(arn: str) -> None:
    """An ARN is no secret: whoever guesses it could sign with it."""
    with pytest.raises(ValueError, match="secrets"):
        EndpointChange(secrets=[arn.ljust(8, "x")])
    with pytest.raises(Unavailable):
        secrets_manager.resolved([arn])


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_every_partition_of_aws_has_secrets(partition: str) -> None:
    arn = f"arn:{partition}:secretsmanager:eu-central-1:123456789012:secret:goodword/stripe-AbCdEf"
    assert EndpointChange(secrets=[arn]).secrets == [arn]
