"""The token we sign ourselves is the one boto3 makes."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from goodword.core import iam_token

HOST, PORT, USER, REGION = "books.cluster-abc.eu-central-1.rds.amazonaws.com", 5432, "goodword_click", "eu-central-1"


@pytest.mark.parametrize("session_token", [None, "session/token+with=signs"])
def test_it_is_what_boto3_generates(session_token: str | None) -> None:
    session = boto3.Session("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", session_token, region_name=REGION)
    theirs = session.client("rds").generate_db_auth_token(HOST, PORT, USER)
    moment = parse_qs(urlsplit(f"https://{theirs}").query)["X-Amz-Date"][0]
    ours = iam_token.presign(
        host=f"{HOST}:{PORT}",
        user=USER,
        region=REGION,
        access_key="AKIDEXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG",
        session_token=session_token,
        at=datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
    )
    assert _parts(ours) == _parts(theirs)


def _parts(token: str) -> tuple[str, dict[str, list[str]]]:
    split = urlsplit(f"https://{token}")
    return f"{split.netloc}{split.path}", parse_qs(split.query)
