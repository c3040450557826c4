"""The commands of the local runner: `python -m local run` plays the demo story and serves, `serve` only serves.

Environment: PORT (3000; 0 takes any free one), DESTINATION (where the links of the company lead), DATABASE_URL (a
superuser's, or one that may create roles; by default an embedded PostgreSQL), GOODWORD_HOME (`.goodword/`: where its
data lives), ONCE=1 (end after the story, and tell by the exit code whether every step was right), GOODWORD_WORKERS
(processes a function may have), LOG_LEVEL and ALLOW_APP_ENDPOINTS (as the template's parameters) and where providers
are asked: STRIPE_API_URL, WHOP_API_URL, WHOP_SANDBOX_API_URL.
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

from local import environment
from local.environment import Settings, UsageError
from local.pool import FunctionPools
from local.postgres import Cluster, ClusterError
from local.server import ADDRESS, Application, Server, ServerError, listen
from local.template import Template, TemplateError, load

if TYPE_CHECKING:
    from local.setup import Prepared

ROOT = Path(__file__).resolve().parent.parent
POSTGRES_MAJOR = 18
PARENT_POLL_SECONDS = 0.5
DEMO_COMPANY = "Demo"
STORY_COMPANY = "The story"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def tell(progress: str) -> None:
    """Say to the person at the terminal what happens; stdout is for the programs that read it."""
    print(progress, file=sys.stderr, flush=True)


def main() -> int:
    """Run the command; answer the exit code."""
    if sys.argv[1:] not in (["run"], ["serve"]):
        tell("usage: python -m local run|serve")
        return 2
    parent = os.getppid()
    for stop_signal in STOP_SIGNALS:
        signal.signal(stop_signal, lambda _number, _frame: sys.exit(0))
    try:
        environment.forget_libpq()
        template = load(ROOT / "template.yaml")
        settings = environment.read(template.parameters)
        story = sys.argv[1] == "run"
        with listen(settings.port) as listener, ExitStack() as stack:
            prepared = prepare(settings, stack)
            # a line per request would drown the story
            quiet = {"LogLevel": "WARN"} if story else {}
            prepared = replace(prepared, parameters={**prepared.parameters, **quiet, **settings.parameters})
            runner = Runner(listener, template, prepared, settings, parent)
            return asyncio.run(runner.run(story=story, once=story and settings.once))
    except (UsageError, ServerError, ClusterError, TemplateError, psycopg.Error, OSError) as error:
        tell(f"goodword: {' '.join(str(error).split())}")
        return 1


def prepare(settings: Settings, stack: ExitStack) -> "Prepared":
    """A database with its roles and its newest schema; the embedded one is stopped at the end of the stack."""
    from local import setup  # noqa: PLC0415 - it loads the whole product, which no earlier error should wait for

    try:
        setup.new_company(name=DEMO_COMPANY, livemode=False, destination_url=settings.destination)
    except ValueError as error:
        raise UsageError(f"DESTINATION cannot be {settings.destination}: {error}") from None
    url = settings.database_url
    if not url:
        cluster = Cluster(settings.home / "postgres", major=POSTGRES_MAJOR)
        tell(f"Starting PostgreSQL {POSTGRES_MAJOR} in {cluster.data} …")
        stack.callback(cluster.stop)
        cluster.start()
        setup.create_database(cluster.superuser_url())
        url = cluster.superuser_url(setup.DATABASE)
    tell("Preparing the database …")
    return setup.prepare(url, home=settings.home)


class Runner:
    """Serves until it is told to stop, or until the process that started us is gone."""

    def __init__(
        self, listener: socket.socket, template: Template, prepared: "Prepared", settings: Settings, parent: int
    ) -> None:
        self._listener = listener
        self._template = template
        self._prepared = prepared
        self._settings = settings
        self._parent = parent
        self._url = f"http://{ADDRESS}:{listener.getsockname()[1]}"

    async def run(self, *, story: bool, once: bool) -> int:
        """Play the story if asked to, open a test company, print its JSON line, serve; answer the exit code."""
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
        pools = FunctionPools(
            self._template, self._prepared.parameters, self._prepared.environment, workers=self._settings.workers
        )
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
        """Play, open the company, print its line; whether every step of the story was right.

        The story moves the clock of its company, and fills it: it has one of its own.
        """
        right = await asyncio.to_thread(self._tell_story) if story else True
        line = await asyncio.to_thread(self._open_demo, DEMO_COMPANY)
        print(json.dumps(line), flush=True)
        return right

    def _open_demo(self, name: str) -> dict[str, str]:
        return self._open_company(name, False, self._settings.destination)  # noqa: FBT003 - the order of the server's

    def _open_company(self, name: str, livemode: bool, destination_url: str) -> dict[str, str]:  # noqa: FBT001
        from local import setup  # noqa: PLC0415 - see prepare

        return setup.open_company(
            self._prepared, name=name, livemode=livemode, destination_url=destination_url, base_url=self._url
        )

    def _tell_story(self) -> bool:
        from local import story  # noqa: PLC0415 - `serve` does without it

        return story.play(self._url, self._open_demo(STORY_COMPANY))

    async def _watch_parent(self, stopped: asyncio.Event) -> None:
        stopping = asyncio.create_task(stopped.wait())
        while not stopping.done() and os.getppid() == self._parent:
            await asyncio.wait((stopping,), timeout=PARENT_POLL_SECONDS)
        stopped.set()


if __name__ == "__main__":
    sys.exit(main())
