"""The line of every request is written past the logger, and reads as if it were not; Lambda can read all of them."""

import json
import logging
from typing import Any

import pytest

from goodword.core.observability import log_answer, logger
from tests.support import log_lines


def written(capsys: pytest.CaptureFixture[str]) -> str:
    log_answer('GET /r/{code} "ü"', 302, "request-1", 1.2345)
    return capsys.readouterr().err


def by_the_logger(level: int, **fields: object) -> dict[str, Any]:
    record = logging.LogRecord("goodword", level, "", 0, "answered", None, None)
    record.__dict__.update(fields)
    return json.loads(logger.registered_formatter.format(record))


def test_it_is_the_loggers_own_line_without_the_place_in_the_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-67891233-abcdef;Parent=463ac35c9f6413ad;Sampled=1")
    line = written(capsys)
    assert line.endswith("}\n")
    ours = json.loads(line)
    theirs = by_the_logger(
        logging.INFO, route='GET /r/{code} "ü"', status=302, request_id="request-1", milliseconds=1.23
    )
    del theirs["location"]
    assert [*ours] == [*theirs]
    assert len(ours.pop("timestamp")) == len(theirs.pop("timestamp")) == len("2026-11-27T21:28:54.787+00:00")
    assert ours == theirs


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL])
def test_lambda_reads_the_level_of_every_line(level: int) -> None:
    line = by_the_logger(level)
    assert log_lines.level_of(line) == line["level"]


@pytest.mark.parametrize(
    ("set_to", "left"),
    [
        ("DEBUG", ["INFO", "WARN", "ERROR", "FATAL"]),
        ("WARN", ["WARN", "ERROR", "FATAL"]),
        ("ERROR", ["ERROR", "FATAL"]),
        ("FATAL", ["FATAL"]),
    ],
)
def test_what_is_as_bad_as_the_log_level_or_worse_is_kept_by_lambda(set_to: str, left: list[str]) -> None:
    lines = [by_the_logger(level) for level in (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)]
    assert [line["level"] for line in lines if log_lines.kept(line, set_to)] == left


@pytest.mark.parametrize("timestamp", ["2026-11-27 21:28:54,787+0000", "2026-11-27T21:28:54+0000", "", None])
def test_a_time_of_another_form_makes_every_line_an_info(timestamp: object) -> None:
    assert log_lines.level_of({**by_the_logger(logging.ERROR), "timestamp": timestamp}) == "INFO"


def test_outside_of_lambda_there_is_no_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    assert "xray_trace_id" not in json.loads(written(capsys))


@pytest.mark.parametrize("level", ["WARN", "WARNING", "ERROR"])
def test_it_keeps_to_the_level(capsys: pytest.CaptureFixture[str], level: str) -> None:
    before = logger.log_level
    logger.setLevel(level)
    try:
        assert written(capsys) == ""
    finally:
        logger.setLevel(before)
