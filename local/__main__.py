"""The commands of the local runner: `python -m local run` plays the demo story and serves, `serve` only serves.

Environment: PORT (3000; 0 takes any free one), DATABASE_URL (a superuser's, or one that may create roles; by default an
embedded PostgreSQL), GOODWORD_HOME (`.goodword/`: where its data lives), ONCE=1 (end after the story, and tell by the
exit code whether every step was right), GOODWORD_WORKERS (processes a function may have), ALLOW_APP_ENDPOINTS (as the
template's parameter) and where providers are asked: STRIPE_API_URL, WHOP_API_URL, WHOP_SANDBOX_API_URL.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from local.pool import DEFAULT_WORKERS, FunctionPools
from local.postgres import Cluster, ClusterError
from local.server import ADDRESS, Application, Server, ServerError, listen
from local.template import Template, TemplateError, load

if TYPE_CHECKING:
    from local.setup import Prepared

ROOT = Path(__file__).resolve().parent.parent
POSTGRES_MAJOR = 18
ROLE_PREFIX = "goodword"
PARENT_POLL_SECONDS = 0.5
DEMO_COMPANY = "Demo"
DEMO_DESTINATION = "https://app.example.com/welcome"
GIVEN_PARAMETERS = {
    "AllowAppEndpoints": "ALLOW_APP_ENDPOINTS",
    "StripeApiUrl": "STRIPE_API_URL",
    "WhopApiUrl": "WHOP_API_URL",
    "WhopSandboxApiUrl": "WHOP_SANDBOX_API_URL",
}
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class UsageError(Exception):
    """An environment variable makes no sense; the message is one line that says why."""


def tell(progress: str) -> None:
    """Say to the person at the terminal what happens; stdout is for the programs that read it."""
    print(progress, file=sys.stderr, flush=True)


def number(variable: str, default: int) -> int:
    """An environment variable as a whole number."""
    text = os.environ.get(variable, "")
    if text and not text.isdecimal():
        raise UsageError(f"{variable} is not a whole number: {text}")
    return int(text or default)


def main() -> int:
    """Run the command; answer the exit code."""
    if sys.argv[1:] not in (["run"], ["serve"]):
        tell("usage: python -m local run|serve")
        return 2
    parent = os.getppid()
    for stop_signal in STOP_SIGNALS:
        signal.signal(stop_signal, lambda _number, _frame: sys.exit(0))
    try:
        with listen(number("PORT", 3000)) as listener, ExitStack() as stack:
            home = Path(os.environ.get("GOODWORD_HOME") or ROOT / ".goodword").absolute()
            story = sys.argv[1] == "run"
            # a line per request would drown the story
            given = {
                "LogLevel": os.environ.get("LOG_LEVEL") or ("WARN" if story else "INFO"),
                "DatabasePreparedStatements": os.environ.get("DATABASE_PREPARED_STATEMENTS") or "true",
            }
            given |= {name: text for name, variable in GIVEN_PARAMETERS.items() if (text := os.environ.get(variable))}
            prepared = prepare(home, stack)
            prepared = replace(prepared, parameters={**prepared.parameters, **given})
            runner = Runner(listener, load(ROOT / "template.yaml"), prepared, parent)
            return asyncio.run(runner.run(story=story, once=story and os.environ.get("ONCE") == "1"))
    except (UsageError, ServerError, ClusterError, TemplateError, psycopg.Error, OSError) as error:
        tell(f"goodword: {' '.join(str(error).split())}")
        return 1


def prepare(home: Path, stack: ExitStack) -> "Prepared":
    """A database with its roles and its newest schema; the embedded one is stopped at the end of the stack."""
    from local import setup  # noqa: PLC0415 - it loads the whole product, which no earlier error should wait for

    url = os.environ.get("DATABASE_URL")
    if not url:
        cluster = Cluster(home / "postgres", major=POSTGRES_MAJOR)
        tell(f"Starting PostgreSQL {POSTGRES_MAJOR} in {cluster.data} …")
        stack.callback(cluster.stop)
        cluster.start()
        setup.create_database(cluster.superuser_url())
        url = cluster.superuser_url(setup.DATABASE)
    tell("Preparing the database …")
    return setup.prepare(url, role_prefix=ROLE_PREFIX, home=home)


class Runner:
    """Serves until it is told to stop, or until the process that started us is gone."""

    def __init__(self, listener: socket.socket, template: Template, prepared: "Prepared", parent: int) -> None:
        self._listener = listener
        self._template = template
        self._prepared = prepared
        self._parent = parent
        self._url = f"http://{ADDRESS}:{listener.getsockname()[1]}"

    async def run(self, *, story: bool, once: bool) -> int:
        """Open a test company, play the story if asked to, print the JSON line, serve; answer the exit code."""
        stopped = asyncio.Event()
        for stop_signal in STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(stop_signal, stopped.set)
        async with self._serving():
            watching = asyncio.create_task(self._watch_parent(stopped))
            stopping = asyncio.create_task(stopped.wait())
            playing = asyncio.create_task(self._play(story=story))
            try:
                await asyncio.wait((playing, stopping), return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    return 0
                right = playing.result()
                if once:
                    return 0 if right else 1
                tell(f"Serving on {self._url} (Ctrl-C ends it)")
                await stopping
                return 0
            finally:
                for task in (watching, stopping, playing):
                    task.cancel()

    @asynccontextmanager
    async def _serving(self) -> AsyncGenerator[None]:
        workers = number("GOODWORD_WORKERS", DEFAULT_WORKERS)
        pools = FunctionPools(self._template, self._prepared.parameters, self._prepared.environment, workers=workers)
        server = Server(Application(pools, self._open_company))
        serving = asyncio.create_task(server.serve(sockets=[self._listener]))
        try:
            yield
        finally:
            tell("Stopping …")
            server.should_exit = True
            await serving
            await pools.close()

    async def _play(self, *, story: bool) -> bool:
        """Open the company, play, print the line; whether every step of the story was right."""
        line = await asyncio.to_thread(self._open_company, DEMO_COMPANY, False, DEMO_DESTINATION)  # noqa: FBT003
        right = await asyncio.to_thread(self._tell_story, line) if story else True
        print(json.dumps(line), flush=True)
        return right

    def _open_company(self, name: str, livemode: bool, destination_url: str) -> dict[str, str]:  # noqa: FBT001
        from local import setup  # noqa: PLC0415 - see prepare

        return setup.open_company(
            self._prepared, name=name, livemode=livemode, destination_url=destination_url, base_url=self._url
        )

    def _tell_story(self, line: dict[str, str]) -> bool:
        from local import story  # noqa: PLC0415 - `serve` does without it

        return story.play(self._url, line)

    async def _watch_parent(self, stopped: asyncio.Event) -> None:
        stopping = asyncio.create_task(stopped.wait())
        while not stopping.done() and os.getppid() == self._parent:
            await asyncio.wait((stopping,), timeout=PARENT_POLL_SECONDS)
        stopped.set()


if __name__ == "__main__":
    sys.exit(main())
