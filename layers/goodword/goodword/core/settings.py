"""What a function reads from its environment: exactly the variables that template.yaml sets, read at first use."""

import os
from functools import cache
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class LogSettings(BaseModel):
    """What every function reads, also one that has no database."""

    model_config = ConfigDict(frozen=True)

    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = "INFO"


class PrivacySettings(LogSettings):
    """What keyed hashes are made with; the other half of their keys is in the database."""

    privacy_secret: SecretStr = Field(min_length=32)


class Settings(LogSettings):
    """One field per environment variable, named as the variable in lower case."""

    database_host: str
    database_port: int
    database_name: str
    database_user: str
    database_iam_authentication: bool
    database_ca_file: str
    database_prepared_statements: bool = True
    stripe_api_url: str = "https://api.stripe.com"
    whop_api_url: str = "https://api.whop.com/api/v1"
    whop_sandbox_api_url: str = "https://sandbox-api.whop.com/api/v1"
    allow_app_endpoints: bool = False


M = TypeVar("M", bound=LogSettings)


@cache
def settings() -> Settings:
    """The settings of this process. Raises pydantic.ValidationError naming what is missing."""
    return _read(Settings)


@cache
def privacy_settings() -> PrivacySettings:
    """The deployment's secret."""
    return _read(PrivacySettings)


def log_settings() -> LogSettings:
    """The settings of a process that may have no others."""
    return _read(LogSettings)


def _read(model: type[M]) -> M:
    return model.model_validate(
        {name: os.environ[name.upper()] for name in model.model_fields if name.upper() in os.environ}
    )
