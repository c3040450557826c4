"""The house rules that template.yaml keeps, function by function."""

import re
from collections import Counter
from pathlib import Path

import pytest

from goodword.core.auth import Scope
from goodword.core.settings import Settings
from goodword.insight import audit
from local import openapi, template

ROOT = Path(__file__).parents[2]
TEMPLATE = template.load(ROOT / "template.yaml")
PARAMETERS = {"DatabaseHost": "database.example", "DatabaseRolePrefix": "acme", "DatabaseResourceId": "cluster-EXAMPLE"}
FUNCTIONS = TEMPLATE.functions(PARAMETERS)

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
    "AdministerAccountFunction": "admin",
    "ReportInsightFunction": "admin",
    "AnswerUnknownRouteFunction": None,
    "MigrateDatabaseFunction": "migrator",
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
READS_SECRETS = {"ReceiveStripeWebhookFunction", "ReceiveWhopWebhookFunction", "ReconcilePaymentsFunction"}
# Where the operator says nothing else, of this account's secrets only those that are named for it.
MAY_READ_SECRETS = {
    "Effect": "Allow",
    "Action": "secretsmanager:GetSecretValue",
    "Resource": {
        "Fn::If": [
            "HasSigningSecretsArn",
            {"Ref": "SigningSecretsArn"},
            {"Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:goodword/*"},
        ]
    },
}

each_function = pytest.mark.parametrize("logical_id", FUNCTIONS)


def properties(logical_id: str) -> template.Node:
    return TEMPLATE.resources[logical_id]["Properties"]


def resources_of(kind: str) -> dict[str, template.Node]:
    return {name: resource["Properties"] for name, resource in TEMPLATE.resources.items() if resource["Type"] == kind}


def camel_case(folder: str) -> str:
    return "".join(word.capitalize() for word in folder.split("_"))


def test_every_folder_is_a_function_and_every_function_a_folder() -> None:
    folders = {app.parent for app in (ROOT / "functions").glob("*/app.py")}

    assert {function.folder for function in FUNCTIONS.values()} == folders
    assert {f"{camel_case(folder.name)}Function": folder for folder in folders} == {
        logical_id: function.folder for logical_id, function in FUNCTIONS.items()
    }


@each_function
def test_a_function_has_limits_of_its_own(logical_id: str) -> None:
    assert {"Timeout", "MemorySize"} <= properties(logical_id).keys()


@each_function
def test_a_function_behind_the_api_ends_before_the_api_gives_up(logical_id: str) -> None:
    function = FUNCTIONS[logical_id]

    assert function.timeout <= (30 if function.routes else 900)


@each_function
def test_a_changed_layer_reaches_every_alias(logical_id: str) -> None:
    assert properties(logical_id)["AutoPublishAlias"] == "live"
    assert properties(logical_id)["AutoPublishAliasAllProperties"] is True
    assert FUNCTIONS[logical_id].layers == (ROOT / "layers" / "goodword",)


def test_the_layer_publishes_the_functions_that_use_it() -> None:
    (layer,) = resources_of("AWS::Serverless::LayerVersion").values()

    assert layer["PublishLambdaVersion"] is True


@each_function
def test_a_function_logs_to_a_group_of_its_own_that_forgets(logical_id: str) -> None:
    group = properties(logical_id)["LoggingConfig"]["LogGroup"]["Ref"]

    assert group == f"{logical_id.removesuffix('Function')}Logs"
    assert resources_of("AWS::Logs::LogGroup")[group]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@each_function
def test_a_function_raises_an_alarm_when_it_fails_and_when_it_is_throttled(logical_id: str) -> None:
    watched = Counter(
        alarm["MetricName"]
        for alarm in resources_of("AWS::CloudWatch::Alarm").values()
        if alarm.get("Dimensions") == [{"Name": "FunctionName", "Value": {"Ref": logical_id}}]
    )

    assert watched == {"Errors": 1, "Throttles": 1}


def test_books_that_do_not_agree_raise_an_alarm_of_their_own() -> None:
    (filtered,) = resources_of("AWS::Logs::MetricFilter").values()
    (metric,) = filtered["MetricTransformations"]
    (alarm,) = (each for each in resources_of("AWS::CloudWatch::Alarm").values() if "Dimensions" not in each)

    assert filtered["LogGroupName"] == {"Ref": "AuditLedgerLogs"}
    assert filtered["FilterPattern"] == f'{{ $.level = "ERROR" && $.message = "{audit.FAULTS_MESSAGE}" }}'
    assert (alarm["Namespace"], alarm["MetricName"]) == (metric["MetricNamespace"], metric["MetricName"])
    # a deployment hears of its own books only
    assert "${AWS::StackName}" in metric["MetricNamespace"]["Fn::Sub"]


@each_function
def test_a_function_connects_as_the_role_of_its_trust(logical_id: str) -> None:
    role = ROLES[logical_id]

    assert FUNCTIONS[logical_id].environment.get("DATABASE_USER") == (role and f"acme_{role}")


@each_function
def test_a_function_may_connect_as_its_role_and_do_nothing_else(logical_id: str) -> None:
    role = ROLES[logical_id]
    statements = [
        statement for policy in properties(logical_id).get("Policies", []) for statement in policy["Statement"]
    ]

    assert "Role" not in properties(logical_id)
    assert statements == [
        {
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": {
                "Fn::Sub": "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}"
                f":dbuser:${{DatabaseResourceId}}/${{DatabaseRolePrefix}}_{user}"
            },
        }
        for user in [role]
        if user
    ] + [MAY_READ_SECRETS] * (logical_id in READS_SECRETS)


@each_function
def test_the_environment_is_what_the_settings_read(logical_id: str) -> None:
    environment = FUNCTIONS[logical_id].environment

    if ROLES[logical_id] is None:
        assert environment.keys() == {"LOG_LEVEL"}
    else:
        others = {name for name, functions in ONLY_FOR.items() if logical_id not in functions}
        assert {name.lower() for name in environment} == Settings.model_fields.keys() - others


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
