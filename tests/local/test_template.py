"""local/template.py: what a template says about its functions."""

from pathlib import Path

import pytest

from local.template import Function, TemplateError, load

TEMPLATE = """
Parameters:
  Host: {Type: String}
  Port: {Type: Number, Default: 5432}
  Secure: {Type: String, Default: "true"}
Conditions:
  IsSecure: !Equals [!Ref Secure, "true"]
  IsOpen: !Not [!Condition IsSecure]
Globals:
  Function:
    Timeout: 10
    MemorySize: 256
    Layers: [!Ref SharedLayer]
    Environment: {Variables: {PORT: !Ref Port, HOST: nowhere, FLAG: true}}
Resources:
  SharedLayer: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layers/shared/}}
  Bucket: {Type: AWS::S3::Bucket}
  FirstFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/first/
      Handler: app.lambda_handler
      Timeout: 900
      Environment:
        Variables:
          HOST: !Sub "${Host}.${AWS::Region}"
          MODE: !If [IsSecure, !Join ["-", [very, !Ref Secure]], !Ref "AWS::NoValue"]
          OPEN: !If [IsOpen, "yes", !Ref "AWS::NoValue"]
      Events:
        One: {Type: HttpApi, Properties: {Method: get, Path: "/v1/{thing}", ApiId: !Ref Api}}
        Rest: {Type: HttpApi}
        Nightly: {Type: ScheduleV2, Properties: {ScheduleExpression: rate(1 day)}}
"""


def first(folder: Path, template: str, **parameters: str) -> Function:
    path = folder / "template.yaml"
    path.write_text(template)
    return load(path).functions(parameters)["FirstFunction"]


def test_a_function_is_what_the_template_and_its_globals_say(tmp_path: Path) -> None:
    assert first(tmp_path, TEMPLATE, Host="db") == Function(
        logical_id="FirstFunction",
        folder=tmp_path / "functions/first",
        handler="app.lambda_handler",
        timeout=900,
        memory=256,
        environment={"PORT": "5432", "HOST": "db.us-east-1", "FLAG": "true", "MODE": "very-true"},
        layers=(tmp_path / "layers/shared",),
        routes=("GET /v1/{thing}", "$default"),
        schedules=("rate(1 day)",),
    )


def test_parameters_rule_over_defaults_and_decide_conditions(tmp_path: Path) -> None:
    environment = first(tmp_path, TEMPLATE, Host="db", Port="1", Secure="false").environment
    assert environment == {"PORT": "1", "HOST": "db.us-east-1", "FLAG": "true", "OPEN": "yes"}


@pytest.mark.parametrize(
    ("change", "parameters", "complaint"),
    [
        (("", ""), {}, "FirstFunction: environment variable HOST: no value for Host"),
        (("", ""), {"Host": "db", "Hots": "x"}, "no parameter Hots"),
        (("!Ref Port", "!GetAtt Bucket.Arn"), {"Host": "db"}, "variable PORT: cannot resolve Fn::GetAtt"),
        (("Timeout: 900", "Timeout: soon"), {"Host": "db"}, "Timeout: soon is not a whole number"),
        (("[!Ref SharedLayer]", "[arn:x]"), {"Host": "db"}, "layer arn:x is not a layer of this template"),
        (("Method: get,", "Auth: {},"), {"Host": "db"}, "HttpApi event with Auth"),
        (("[IsSecure,", "[IsSafe,"), {"Host": "db"}, "the template has no condition IsSafe"),
    ],
)
def test_what_cannot_be_resolved_is_named(
    tmp_path: Path, change: tuple[str, str], parameters: dict[str, str], complaint: str
) -> None:
    with pytest.raises(TemplateError) as refusal:
        first(tmp_path, TEMPLATE.replace(*change), **parameters)
    assert complaint in str(refusal.value)


def test_what_a_function_replaces_need_not_be_resolved(tmp_path: Path) -> None:
    template = TEMPLATE.replace("nowhere", "!GetAtt Bucket.Arn")
    assert first(tmp_path, template, Host="db").environment["HOST"] == "db.us-east-1"
