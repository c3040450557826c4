"""`make deploy` reaches AWS with what samconfig.toml says; a refusing AWS on this machine hears it."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.bundle.support import ROOT

REFUSAL = b"""<ErrorResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><Error><Type>Sender</Type>
<Code>InvalidClientTokenId</Code><Message>The security token is invalid.</Message></Error></ErrorResponse>"""


class RefusingAws(ThreadingHTTPServer):
    """Knows nobody's credentials; keeps what it was asked, and in which region."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refuser)
        self.asked: list[tuple[str, str]] = []


class _Refuser(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, RefusingAws)
        asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        # AWS4-HMAC-SHA256 Credential=ID/DAY/REGION/SERVICE/aws4_request, …
        region = self.headers["authorization"].split("/")[2]
        self.server.asked.append((asked["Action"][0], region))
        self.send_response(403)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(REFUSAL)))
        self.end_headers()
        self.wfile.write(REFUSAL)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@contextmanager
def refusing_aws() -> Iterator[RefusingAws]:
    with RefusingAws() as aws:
        serving = threading.Thread(target=aws.serve_forever)
        serving.start()
        yield aws
        aws.shutdown()
        serving.join()


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_a_deploy_from_any_build_folder_fails_for_nothing_but_credentials(tmp_path: Path, environment: str) -> None:
    shutil.copy(ROOT / "template.yaml", tmp_path)  # where SAM would look for samconfig.toml too
    # taken as built and as there: what is deployed is not looked at before AWS has agreed
    taken = ["-o", "build", "-o", "layers/goodword/certs/rds-ca.pem"]
    with refusing_aws() as aws:
        variables = {
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server_port}",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_MAX_ATTEMPTS": "1",
        }
        command = ["make", "deploy", f"ENVIRONMENT={environment}", f"BUILD={tmp_path}", *taken]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "The security token is invalid." in done.stderr, done.stderr
    assert {region for _, region in aws.asked} == {"us-east-1"}, "what samconfig.toml says of the environment"
