"""The alarms of template.yaml: what each watches is there, and an operator is told what to do first."""

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from goodword.insight import audit
from goodword.payments import reception
from local.template import Node
from tests.contracts.support import FUNCTIONS, ROOT, properties, resources_of, schedules_of

ALARMS = resources_of("AWS::CloudWatch::Alarm")
FILTERS = resources_of("AWS::Logs::MetricFilter")
# a deployment hears of itself only
NAMESPACE = {"Fn::Sub": "Goodword/${AWS::StackName}"}

# Alarm → what it watches: the name of a metric, and whose, as a logical id, where it is not the whole account's.
WATCHED = {
    "RequestsFailAlarm": ("FailedRequests", "ApiLogs"),
    "RedirectsSlowAlarm": ("Duration", "TrackClickFunction"),
    "WebhooksRefusedAlarm": ("RefusedWebhooks", "ApiLogs"),
    "EventsFailAlarm": ("FailedEvents", "FunctionLogs"),
    "JobsFailAlarm": ("ApproximateNumberOfMessagesVisible", "JobFailures"),
    "JobsStopAlarm": ("Invocations", "ReplayWebhooksFunction"),
    "ThrottledAlarm": ("Throttles", None),
    "BooksDisagreeAlarm": ("BooksThatDoNotAgree", "AuditLedgerLogs"),
}
EXPRESSION = re.compile(r'\$\.(?P<field>\w+) (?P<sign>=|!=) "(?P<pattern>[^"]*)"')

each_alarm = pytest.mark.parametrize("name", ALARMS)


def metric_of(alarm: Node) -> Node:
    """The metric that an alarm watches; of several, the one that its expression is about."""
    if "Metrics" not in alarm:
        return alarm
    (counted,) = (each for each in alarm["Metrics"] if each["Id"] == "failed")
    return counted["MetricStat"]["Metric"]


def owner_of(metric: Node) -> str | None:
    """The resource that a metric is about: the log where it is counted there."""
    if metric["Namespace"] == NAMESPACE:
        (log,) = (
            each["LogGroupName"]["Ref"]
            for each in FILTERS.values()
            if each["MetricTransformations"][0]["MetricName"] == metric["MetricName"]
        )
        return log
    if "Dimensions" not in metric:
        return None
    (dimension,) = metric["Dimensions"]
    value = dimension["Value"]
    return value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0]


def counts(name: str, line: Node) -> bool:
    """Whether a metric filter counts a line: terms joined by &&, each a field and a pattern with wildcards."""
    terms = [EXPRESSION.fullmatch(term) for term in FILTERS[name]["FilterPattern"].strip("{} ").split(" && ")]
    return all(term and fnmatchcase(line[term["field"]], term["pattern"]) == (term["sign"] == "=") for term in terms)


def access_line(route: str, status: int, length: int) -> Any:  # noqa: ANN401 - a line of JSON
    """A line of the API's log."""
    values = {"routeKey": route, "status": str(status), "responseLength": str(length)}
    line_format: str = properties("Api")["AccessLogSettings"]["Format"]
    return json.loads(re.sub(r"\$context\.(\w+)", lambda match: values.get(match[1], "-"), line_format))


def test_there_are_few_alarms_and_each_watches_something_that_is_there() -> None:
    assert {
        name: (metric_of(alarm)["MetricName"], owner_of(metric_of(alarm))) for name, alarm in ALARMS.items()
    } == WATCHED


def test_everything_that_is_counted_in_a_log_raises_an_alarm() -> None:
    watched = [metric_of(alarm)["MetricName"] for alarm in ALARMS.values()]

    for each in FILTERS.values():
        (metric,) = each["MetricTransformations"]
        assert metric["MetricNamespace"] == NAMESPACE
        assert metric["MetricName"] in watched


@each_alarm
def test_an_alarm_reaches_the_operator(name: str) -> None:
    topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    silence = "InsufficientDataActions" if ALARMS[name]["TreatMissingData"] == "missing" else "AlarmActions"

    assert ALARMS[name][silence] == topic


@each_alarm
def test_an_alarm_says_what_to_do_first_and_the_guide_says_more(name: str) -> None:
    assert re.fullmatch(r".+[.)] First: .+\.", ALARMS[name]["AlarmDescription"])
    assert f"| `{name}` |" in (ROOT / "docs/operations.md").read_text()


def test_a_new_stack_raises_no_alarm_before_anything_has_run() -> None:
    assert {alarm["TreatMissingData"] for alarm in ALARMS.values()} == {"notBreaching", "missing"}
    assert [name for name, alarm in ALARMS.items() if alarm["TreatMissingData"] == "missing"] == ["JobsStopAlarm"]


def test_schedules_that_stop_are_missed_by_the_job_that_runs_most_often() -> None:
    alarm = ALARMS["JobsStopAlarm"]
    (schedule,) = schedules_of("ReplayWebhooksFunction")

    assert schedule["ScheduleExpression"] == "rate(5 minutes)"
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 30 * 60
    assert FUNCTIONS["ReplayWebhooksFunction"].schedules == ("rate(5 minutes)",)


@pytest.mark.parametrize(
    ("route", "status", "length", "counted_by"),
    [
        ("GET /v1/users/{user_id}/balance", 200, 180, set()),
        ("GET /v1/users/{user_id}/balance", 404, 180, set()),
        ("GET /v1/users/{user_id}/balance", 503, 180, {"FailedRequests"}),
        ("GET /r/{code}", 500, 35, {"FailedRequests"}),
        ("GET /r/{code}", 503, 0, set()),  # a browser that fetches ahead shall ask again
        ("POST /webhooks/stripe/{endpoint_id}", 200, 60, set()),
        ("POST /webhooks/stripe/{endpoint_id}", 400, 180, {"RefusedWebhooks"}),
        ("POST /webhooks/whop/{endpoint_id}", 404, 180, {"RefusedWebhooks"}),
        ("POST /webhooks/whop/{endpoint_id}", 503, 180, {"FailedRequests", "RefusedWebhooks"}),
        ("GET /webhooks/stripe/{endpoint_id}", 404, 180, set()),
        ("$default", 404, 180, set()),
    ],
)
def test_the_log_of_the_api_tells_what_fails_and_what_is_refused(
    route: str, status: int, length: int, counted_by: set[str]
) -> None:
    line = access_line(route, status, length)

    assert {name for name in ("FailedRequests", "RefusedWebhooks") if counts(name, line)} == counted_by


@pytest.mark.parametrize(
    ("name", "message"), [("AuditLedgerFindings", audit.FAULTS_MESSAGE), ("FailedEvents", reception.KEPT_AS_FAILED)]
)
def test_an_error_line_is_counted_by_its_message(name: str, message: str) -> None:
    assert counts(name, {"level": "ERROR", "message": message})
    assert not counts(name, {"level": "INFO", "message": message})
    assert not counts(name, {"level": "ERROR", "message": "fault"})
