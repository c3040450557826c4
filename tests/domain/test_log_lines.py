"""The line of every request is written past the logger, and reads as if it were not."""

import json
import logging
import re

import pytest

from goodword.core.observability import log_answer, logger


def written(capsys: pytest.CaptureFixture[str]) -> str:
    log_answer('GET /r/{code} "ü"', 302, "request-1", 1.2345)
    return capsys.readouterr().err


def test_it_is_the_loggers_own_line_without_the_place_in_the_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-67891233-abcdef;Parent=463ac35c9f6413ad;Sampled=1")
    monkeypatch.setenv("TZ", "UTC")
    line = written(capsys)
    fields = {"route": 'GET /r/{code} "ü"', "status": 302, "request_id": "request-1", "milliseconds": 1.23}
    record = logging.LogRecord("goodword", logging.INFO, "", 0, "answered", None, None)
    record.__dict__.update(fields)
    by_the_logger = json.loads(logger.registered_formatter.format(record))
    assert line.endswith("}\n")
    ours = json.loads(line)
    assert [*ours] == [name for name in by_the_logger if name != "location"]
    for timestamp in (ours.pop("timestamp"), by_the_logger.pop("timestamp")):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}[+]\d{4}", timestamp)
    del by_the_logger["location"]
    assert ours == by_the_logger


def test_outside_of_lambda_there_is_no_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    assert "xray_trace_id" not in json.loads(written(capsys))


def test_it_keeps_to_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    level = logger.log_level
    logger.setLevel("WARNING")
    try:
        assert written(capsys) == ""
    finally:
        logger.setLevel(level)
