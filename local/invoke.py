"""The command `python -m local.invoke FUNCTION EVENT`: run one function on one example event, and print its answer.

The event is events/FUNCTION__EVENT.json, about a company made for it on a PostgreSQL that lasts as long as the command.
What the function logs meanwhile goes to stderr. The exit code is 1 where the function fails.
"""

import json
import sys
import tempfile
from pathlib import Path

from local import events, scene
from local.client import Client
from local.scene import SceneError
from local.server_process import Served, ServeError, serve


def main(arguments: list[str]) -> int:
    """Run the command; answer the exit code."""
    name = "__".join(arguments)
    if name not in events.names():
        print(usage(arguments), file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="goodword-") as home, serve(Path(home)) as server:
            return invoke(server, name)
    except (ServeError, SceneError) as error:
        print(f"goodword: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def usage(arguments: list[str]) -> str:
    """What there is: every function with its events or, of a function that is named, its own events in one line."""
    known: dict[str, list[str]] = {}
    for name in events.names():
        function, _, event = name.partition("__")
        known.setdefault(function, []).append(event)
    if not arguments:
        lines = (f"  FUNCTION={function} EVENT={'|'.join(known[function])}" for function in known)
        return "\n".join(["usage: make invoke FUNCTION=… EVENT=…", *lines])
    if arguments[0] not in known:
        return f"goodword: no example for a function {arguments[0]}; FUNCTION is one of {', '.join(known)}"
    asked = f"has no example {arguments[1]}" if arguments[1:] else "needs an EVENT"
    return f"goodword: {arguments[0]} {asked}; EVENT is one of {', '.join(known[arguments[0]])}"


def invoke(server: Served, name: str) -> int:
    """Run the function of an event on it; answer the exit code."""
    event = events.load(name, scene.prepare(server.line))
    logged = server.log.stat().st_size
    client = Client(server.line["url"])
    answer = client.send("POST", f"/_local/functions/{events.logical_id(name)}/invocations", event)
    client.close()
    with server.log.open() as log:
        log.seek(logged)
        sys.stderr.write(log.read())
    print(json.dumps(answer.json, indent=2, ensure_ascii=False))
    return 0 if answer.status == 200 else 1  # noqa: PLR2004 - the function has answered


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
