"""What a function is told by its environment: exactly the variables that template.yaml sets, read at first use."""

import os
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """One field per environment variable, named as the variable in lower case."""

    model_config = ConfigDict(frozen=True)

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
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = "INFO"


@cache
def settings() -> Settings:
    """The settings of this process. Raises pydantic.ValidationError naming what is missing."""
    return Settings.model_validate(
        {name: os.environ[name.upper()] for name in Settings.model_fields if name.upper() in os.environ}
    )
