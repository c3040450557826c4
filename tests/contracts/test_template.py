"""The house rules that template.yaml keeps, function by function."""

import re
from collections import Counter

import pytest

from goodword.core.auth import Scope
from goodword.core.settings import PrivacySettings, Settings
from local import template
from tests.contracts.support import FUNCTIONS, PARAMETERS, ROOT, TEMPLATE, properties, resources_of, schedules_of
from tools import openapi

# Who connects as whom. None: it never meets the database.
ROLES = {
    "TrackClickFunction": "click",
    "AttributeSignupFunction": "app",
    "ReceiveStripeWebhookFunction": "webhook",
    "ReceiveWhopWebhookFunction": "webhook",
    "RedeemPointsFunction": "app",
    "CheckAccessFunction": "app",
    "ServeUsersFunction": "app",
    "AdministerProgramFunction": "admin",
    "AdministerAccessFunction": "admin",
    "AdministerCampaignsFunction": "admin",
    "ReviewReferralsFunction": "admin",
    "AdministerAccountFunction": "admin",
    "ReportInsightFunction": "admin",
    "AnswerUnknownRouteFunction": None,
    "MigrateDatabaseFunction": "migrator",
    "ExpireAccessFunction": "jobs",
    "ExpirePointsFunction": "jobs",
    "AuditLedgerFunction": "jobs",
    "AdvanceReferralsFunction": "jobs",
    "ReleaseAwardsFunction": "jobs",
    "ReplayWebhooksFunction": "jobs",
    "ReconcilePaymentsFunction": "jobs",
    "EnforceRetentionFunction": "jobs",
}

# What only some functions are told.
ONLY_FOR = {
    "stripe_api_url": {"ReconcilePaymentsFunction"},
    "whop_api_url": {"ReconcilePaymentsFunction"},
    "whop_sandbox_api_url": {"ReconcilePaymentsFunction"},
    "allow_app_endpoints": {"AdministerAccountFunction", "ReceiveWhopWebhookFunction", "ReconcilePaymentsFunction"},
}

# What the template may be long: this for all that it has with so many functions and routes, and so much for each more.
LINES, AT_FUNCTIONS, AT_ROUTES = 800, 20, 49
LINES_OF_A_JOB = 16
LINES_OF_A_ROUTE = 1

each_function = pytest.mark.parametrize("logical_id", FUNCTIONS)
each_job = pytest.mark.parametrize("logical_id", [name for name, function in FUNCTIONS.items() if function.schedules])


def camel_case(folder: str) -> str:
    return "".join(word.capitalize() for word in folder.split("_"))


def test_every_folder_is_a_function_and_every_function_a_folder() -> None:
    folders = {app.parent for app in (ROOT / "functions").glob("*/app.py")}

    assert {function.folder for function in FUNCTIONS.values()} == folders
    assert {f"{camel_case(folder.name)}Function": folder for folder in folders} == {
        logical_id: function.folder for logical_id, function in FUNCTIONS.items()
    }


def test_the_template_says_a_thing_once() -> None:
    """What is the same for all stands in Globals or has a name, so that what differs can be seen."""
    routes = sum(len(function.routes) for function in FUNCTIONS.values())
    lines = (ROOT / "template.yaml").read_text().splitlines()
    more = LINES_OF_A_JOB * (len(FUNCTIONS) - AT_FUNCTIONS) + LINES_OF_A_ROUTE * (routes - AT_ROUTES)

    assert len(lines) <= LINES + more
    assert sum("Type: HttpApi," in line for line in lines) == routes


def test_sam_alone_reads_the_template() -> None:
    """Another transform would have to be switched on for every `sam build`, `sam validate` and `sam local`."""
    assert "Transform: AWS::Serverless-2016-10-31\n" in (ROOT / "template.yaml").read_text()


@each_function
def test_a_function_has_a_limit_of_its_own(logical_id: str) -> None:
    assert "Timeout" in properties(logical_id)
    assert FUNCTIONS[logical_id].memory > template.DEFAULT_MEMORY_MB


@each_function
def test_a_function_behind_the_api_ends_before_the_api_gives_up(logical_id: str) -> None:
    function = FUNCTIONS[logical_id]

    assert function.timeout <= (30 if function.routes else 900)


@each_function
def test_a_changed_layer_reaches_every_alias(logical_id: str) -> None:
    assert TEMPLATE.globals["AutoPublishAlias"] == "live"
    assert "AutoPublishAlias" not in properties(logical_id)
    assert properties(logical_id)["AutoPublishAliasAllProperties"] is True
    assert FUNCTIONS[logical_id].layers == (ROOT / "layers" / "goodword",)


def test_the_layer_publishes_the_functions_that_use_it() -> None:
    (layer,) = resources_of("AWS::Serverless::LayerVersion").values()

    assert layer["PublishLambdaVersion"] is True


def test_every_log_forgets() -> None:
    groups = resources_of("AWS::Logs::LogGroup")

    assert groups.keys() == {"ApiLogs", "FunctionLogs", "AuditLedgerLogs"}
    for group in groups.values():
        assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        # two stacks of one account do not meet in a log
        assert "/${AWS::StackName}/" in group["LogGroupName"]["Fn::Sub"]


@each_job
def test_a_run_that_fails_is_repeated_once_and_then_kept(logical_id: str) -> None:
    assert properties(logical_id)["EventInvokeConfig"] == {
        "MaximumRetryAttempts": 1,
        "MaximumEventAgeInSeconds": 3600,
        "DestinationConfig": {"OnFailure": {"Type": "SQS", "Destination": {"Fn::GetAtt": ["JobFailures", "Arn"]}}},
    }


@each_job
def test_a_run_that_cannot_be_handed_over_is_tried_again_and_then_kept(logical_id: str) -> None:
    (schedule,) = schedules_of(logical_id)

    assert schedule == {
        "ScheduleExpression": schedule["ScheduleExpression"],
        "OmitName": True,
        "RoleArn": {"Fn::GetAtt": ["SchedulerRole", "Arn"]},
        "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600},
        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["JobFailures", "Arn"]}},
    }


@each_function
def test_a_function_connects_as_the_role_of_its_trust(logical_id: str) -> None:
    role = ROLES[logical_id]

    assert FUNCTIONS[logical_id].environment.get("DATABASE_USER") == (role and f"acme_{role}")


@each_function
def test_the_environment_is_what_the_settings_read(logical_id: str) -> None:
    environment = FUNCTIONS[logical_id].environment

    if ROLES[logical_id] is None:
        assert environment.keys() == {"LOG_LEVEL"}
    else:
        others = {name for name, functions in ONLY_FOR.items() if logical_id not in functions}
        read = {*Settings.model_fields, *PrivacySettings.model_fields}
        assert {name.lower() for name in environment} == read - others


@pytest.mark.parametrize("level", TEMPLATE.parameters["LogLevel"]["AllowedValues"])
def test_the_settings_take_every_value_that_the_template_may_give(level: str) -> None:
    environment = TEMPLATE.functions({**PARAMETERS, "LogLevel": level})["TrackClickFunction"].environment

    assert Settings.model_validate({name.lower(): value for name, value in environment.items()}).log_level == level


def test_no_company_signs_for_others_unless_the_operator_allows_it() -> None:
    for logical_id in ONLY_FOR["allow_app_endpoints"]:
        assert FUNCTIONS[logical_id].environment["ALLOW_APP_ENDPOINTS"] == "false"


def test_no_route_is_answered_by_two_functions() -> None:
    # the API cannot tell /users/{id} from /users/{user_id}
    routes = Counter(re.sub(r"\{\w+\}", "{}", route) for function in FUNCTIONS.values() for route in function.routes)

    assert {route for route, functions in routes.items() if functions > 1} == set()


def test_what_no_route_matches_is_answered_in_our_own_words() -> None:
    assert FUNCTIONS["AnswerUnknownRouteFunction"].routes == (template.DEFAULT_ROUTE,)


def test_a_page_on_another_origin_may_send_and_read_what_the_api_needs() -> None:
    cors = TEMPLATE.cors()

    assert cors is not None
    assert set(cors.headers) == {"authorization", "content-type", "idempotency-key"}
    assert set(cors.exposed) == {"retry-after", "idempotent-replay", "apigw-requestid"}
    (configured,) = (each["CorsConfiguration"] for each in resources_of("AWS::Serverless::HttpApi").values())
    # the local server reads every property that the gateway is given
    assert configured.keys() == {"AllowOrigins", "AllowMethods", "AllowHeaders", "ExposeHeaders", "MaxAge"}


def test_a_page_may_use_every_route_of_a_publishable_key() -> None:
    open_routes = {
        key.partition(" ")[0]
        for function in FUNCTIONS.values()
        for key, route in (openapi.routes_of(function.folder) if function.routes else {}).items()
        if route.scope is Scope.PUBLISHABLE
    }

    cors = TEMPLATE.cors()
    assert cors is not None
    assert open_routes <= set(cors.methods)
