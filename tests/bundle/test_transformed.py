"""What CloudFormation is given: the built template as SAM transforms it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local import template
from tests.bundle.support import FUNCTIONS, ROOT

RESOURCES_OF_A_STACK = 500
"""CloudFormation takes no more."""

# What `sam deploy` leaves to AWS, with an address in S3 for what it would have uploaded. The managed policies are those
# that SAM gives to roles of its own.
TRANSFORM = """
import json, sys
from pathlib import Path
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

document = yaml_parse(Path(sys.argv[1]).read_text())
for name, resource in document["Resources"].items():
    for location in {"CodeUri", "ContentUri"} & resource["Properties"].keys():
        resource["Properties"][location] = f"s3://bucket/{name}"
policies = ["AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole"]
translator = Translator({name: f"arn:aws:iam::aws:policy/service-role/{name}" for name in policies}, Parser())
parameters = {name: parameter.get("Default", "x") for name, parameter in document["Parameters"].items()}
print(json.dumps(translator.translate(document, parameters)["Resources"]))
"""


@pytest.fixture(scope="module")
def resources(builds: dict[str, Path]) -> dict[str, Any]:
    """Logical id → resource."""
    path = builds["arm64"] / "template.yaml"
    command = [ROOT / ".venv-sam/bin/python", "-c", TRANSFORM, path]
    # SAM asks for a region before it looks at anything
    run = subprocess.run(
        command, env={"AWS_DEFAULT_REGION": template.REGION}, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}


def test_sam_makes_no_role_of_its_own(resources: dict[str, Any]) -> None:
    """Such a one may write into every log group of the account."""
    written = template.load(ROOT / "template.yaml").resources
    ours = {name for name, resource in written.items() if resource["Type"] == "AWS::IAM::Role"}

    assert of_type(resources, "AWS::IAM::Role").keys() == ours
    assert "AWSLambda" not in json.dumps(resources)


def test_only_the_audit_logs_to_the_log_of_the_heads(resources: dict[str, Any]) -> None:
    groups = {
        name: function["LoggingConfig"]["LogGroup"]
        for name, function in of_type(resources, "AWS::Lambda::Function").items()
    }

    assert groups == {
        name: {"Ref": "AuditLedgerLogs" if name == "AuditLedgerFunction" else "FunctionLogs"} for name in FUNCTIONS
    }


def test_every_function_has_the_alias_that_calls_it(resources: dict[str, Any]) -> None:
    aliases = of_type(resources, "AWS::Lambda::Alias")
    schedules = of_type(resources, "AWS::Scheduler::Schedule")

    assert {alias["FunctionName"]["Ref"] for alias in aliases.values()} == FUNCTIONS.keys()
    assert {alias["Name"] for alias in aliases.values()} == {"live"}
    assert {schedule["Target"]["Arn"]["Ref"] for schedule in schedules.values()} == {
        f"{name}Aliaslive" for name, function in FUNCTIONS.items() if function.schedules
    }
    # SAM names a schedule after its logical id, and two stacks of one account would want the same name
    assert all("Name" not in schedule for schedule in schedules.values())


def test_a_stack_can_hold_it(resources: dict[str, Any]) -> None:
    assert len(resources) < RESOURCES_OF_A_STACK
