"""The bundle as it is deployed: built for both architectures, and run as Lambda would run it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.setup import Prepared
from tests.bundle.emulator import Emulators, architecture
from tests.bundle.support import ARCHITECTURES, ROOT

MEASURED = pytest.StashKey[dict[str, list[float]]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for logical_id, durations in config.stash.get(MEASURED, {}).items():
        shown = ", ".join(f"{milliseconds:.0f}" for milliseconds in durations)
        terminalreporter.write_line(f"INIT {shown:>5} ms  {logical_id}")


class Make:
    """`make`, as a person would run it."""

    def __init__(self, *arguments: str) -> None:
        # what an outer make tells its children is not for this one
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        self._process = subprocess.Popen(
            ["make", *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self) -> str:
        """Wait until it has succeeded; what it printed."""
        output, _ = self._process.communicate()
        assert self._process.returncode == 0, output
        return output


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Architecture → what `make build` makes for it, in folders of this run alone."""
    Make("setup-sam").finish()
    folder = tmp_path_factory.mktemp("builds")
    made = {name: folder / name / "build" for name in ARCHITECTURES}
    for running in [Make("build", f"ARCHITECTURE={name}", f"BUILD={build}") for name, build in made.items()]:
        running.finish()
    yield made
    shutil.rmtree(folder)


@pytest.fixture(params=ARCHITECTURES)
def build(request: pytest.FixtureRequest, builds: dict[str, Path]) -> Path:
    """What is built for one architecture after the other."""
    return builds[request.param]


@pytest.fixture(scope="module")
def emulators(
    builds: dict[str, Path], prepared: Prepared, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Emulators]:
    """The built functions, with the built layer, on the tests' PostgreSQL."""
    running = Emulators(
        builds[architecture()], prepared.parameters, prepared.environment, tmp_path_factory.mktemp("emulators")
    )
    yield running
    pytestconfig.stash[MEASURED] = running.initialisations()
    running.stop()
