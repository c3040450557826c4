"""What each function may do in the account, and nothing else: the roles of template.yaml are all that it has."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from local.template import Node
from tests.contracts.support import FUNCTIONS, properties, resources_of, schedules_of

Grant = tuple[str, str]
"""An action, and the resource as JSON."""

LOGS = ("logs:CreateLogStream", "logs:PutLogEvents")
# what AWS asks for a function in a VPC, of which no part can be confined to the VPC
INTERFACES = (
    "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface", "ec2:DescribeSubnets",
    "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
)  # fmt: skip
# Where the operator says nothing else, of this account's secrets only those that are named for it.
SECRETS = {
    "Fn::If": [
        "HasSigningSecretsArn",
        {"Ref": "SigningSecretsArn"},
        {"Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:goodword/*"},
    ]
}


def granted(actions: Iterable[str], resource: object) -> set[Grant]:
    return {(action, json.dumps(resource)) for action in actions}


def arn_of(logical_id: str) -> Node:
    return {"Fn::GetAtt": [logical_id, "Arn"]}


def connects_as(role: str) -> set[Grant]:
    user = "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${DatabaseResourceId}"
    return granted(["rds-db:connect"], {"Fn::Sub": f"{user}/${{DatabaseRolePrefix}}_{role}"})


LOGGED = granted(LOGS, arn_of("FunctionLogs"))
NETWORKED = granted(INTERFACES, "*")
FAILURES_KEPT = granted(["sqs:SendMessage"], arn_of("JobFailures"))
SECRETS_READ = granted(["secretsmanager:GetSecretValue"], SECRETS)

APP = LOGGED | NETWORKED | connects_as("app")
ADMIN = LOGGED | NETWORKED | connects_as("admin")
WEBHOOK = LOGGED | NETWORKED | connects_as("webhook") | SECRETS_READ
JOB = LOGGED | NETWORKED | connects_as("jobs") | FAILURES_KEPT

PERMISSIONS = {
    "TrackClickFunction": LOGGED | NETWORKED | connects_as("click"),
    "AttributeSignupFunction": APP,
    "ReceiveStripeWebhookFunction": WEBHOOK,
    "ReceiveWhopWebhookFunction": WEBHOOK,
    "RedeemPointsFunction": APP,
    "CheckAccessFunction": APP,
    "ServeUsersFunction": APP,
    "AdministerProgramFunction": ADMIN,
    "AdministerAccessFunction": ADMIN,
    "AdministerCampaignsFunction": ADMIN,
    "ReviewReferralsFunction": ADMIN,
    "AdministerAccountFunction": ADMIN,
    "ReportInsightFunction": ADMIN,
    "AnswerUnknownRouteFunction": LOGGED,
    "MigrateDatabaseFunction": LOGGED | NETWORKED | connects_as("migrator"),
    "ExpireAccessFunction": JOB,
    "ExpirePointsFunction": JOB,
    "AuditLedgerFunction": JOB - LOGGED | granted(LOGS, arn_of("AuditLedgerLogs")),
    "AdvanceReferralsFunction": JOB,
    "ReleaseAwardsFunction": JOB,
    "ReplayWebhooksFunction": JOB,
    "ReconcilePaymentsFunction": JOB | SECRETS_READ,
    "EnforceRetentionFunction": JOB,
}


def listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def statements_of(role: Node) -> list[Node]:
    """The statements of a role's managed policies and of its own."""
    managed = [properties(policy["Ref"])["PolicyDocument"] for policy in role.get("ManagedPolicyArns", [])]
    own = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
    return [statement for document in managed + own for statement in listed(document["Statement"])]


def permissions_of(role: Node) -> set[Grant]:
    grants: set[Grant] = set()
    for statement in statements_of(role):
        assert statement.keys() == {"Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        for resource in listed(statement["Resource"]):
            grants |= granted(listed(statement["Action"]), resource)
    return grants


def role_of(logical_id: str) -> str:
    name, attribute = properties(logical_id)["Role"]["Fn::GetAtt"]
    assert attribute == "Arn"
    return name


def writers_of(log_group: str) -> set[str]:
    """The functions that may write into a log."""
    return {name for name in FUNCTIONS if granted(LOGS, arn_of(log_group)) & permissions_of(properties(role_of(name)))}


@pytest.mark.parametrize("logical_id", FUNCTIONS)
def test_a_function_may_do_what_it_needs_and_nothing_else(logical_id: str) -> None:
    assert permissions_of(properties(role_of(logical_id))) == PERMISSIONS[logical_id]
    # with a role given, SAM makes none and adds nothing; a policy here would be ignored without a word
    assert "Policies" not in properties(logical_id)


def test_only_the_audit_writes_where_it_notes_the_heads_of_the_chains() -> None:
    assert writers_of("AuditLedgerLogs") == {"AuditLedgerFunction"}
    assert writers_of("FunctionLogs") == FUNCTIONS.keys() - {"AuditLedgerFunction"}


@pytest.mark.parametrize("logical_id", FUNCTIONS)
def test_a_function_logs_where_it_may(logical_id: str) -> None:
    own = "LoggingConfig" in properties(logical_id)
    group = properties(logical_id)["LoggingConfig"]["LogGroup"]["Ref"] if own else "FunctionLogs"

    assert logical_id in writers_of(group)


def test_every_role_and_every_policy_is_somebodys() -> None:
    roles = resources_of("AWS::IAM::Role")
    used = {policy["Ref"] for role in roles.values() for policy in role.get("ManagedPolicyArns", [])}

    assert roles.keys() == {role_of(logical_id) for logical_id in FUNCTIONS} | {"SchedulerRole"}
    assert used == resources_of("AWS::IAM::ManagedPolicy").keys()


def test_lambda_alone_takes_the_roles_of_functions() -> None:
    for name in {role_of(logical_id) for logical_id in FUNCTIONS}:
        assert properties(name)["AssumeRolePolicyDocument"]["Statement"] == {
            "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole",
        }  # fmt: skip


def test_the_scheduler_may_run_the_jobs_for_this_account_and_nothing_else() -> None:
    role = properties("SchedulerRole")
    jobs = [{"Ref": f"{logical_id}.Alias"} for logical_id in FUNCTIONS if schedules_of(logical_id)]

    assert role["AssumeRolePolicyDocument"]["Statement"] == {
        "Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }  # fmt: skip
    assert permissions_of(role) == FAILURES_KEPT.union(*(granted(["lambda:InvokeFunction"], job) for job in jobs))
