"""`make sam-local` where there is nothing to run it on."""

import os
import subprocess
import sys
from pathlib import Path

from tests.bundle.support import ROOT


def test_it_needs_an_engine(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "layers/goodword"),
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
    }
    command = [sys.executable, "-m", "tests.bundle.sam_local", "build"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert "no container engine answers at unix://" in run.stderr
    assert len(run.stderr.splitlines()) == 1
