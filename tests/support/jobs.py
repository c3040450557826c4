"""Running a scheduled function: through the served bundle, or in this process."""

from typing import Any

from local.client import Client


def run_job(url: str, logical_id: str, event: object = None) -> Any:  # noqa: ANN401 - the function's JSON
    """One run on the served bundle; its result."""
    client = Client(url)
    answer = client.send("POST", f"/_local/functions/{logical_id}/invocations", event or {})
    client.close()
    assert answer.status == 200, answer.raw
    return answer.json


class Remaining:
    """A Lambda context with so many milliseconds left."""

    def __init__(self, milliseconds: int = 900_000) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds
