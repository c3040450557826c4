"""One client: a process that fires prepared requests when it is told to.

Run as a script by `tests.support.clients`, with the descriptor of a socket for each client. Each line that a client
reads there is a job. The client connects, says so, waits for one more line, fires the job's requests one after the
other over its one connection, and writes what it heard as one line. After a 503 it waits for the job's `pause`, and
asks the same once more as often as the job `insists`.
"""

import http.client
import json
import os
import select
import socket
import sys
import threading
from typing import Any


def hear(connection: http.client.HTTPConnection, call: dict[str, Any]) -> tuple[int, dict[str, str], str]:
    body = None if call["body"] is None else call["body"].encode()
    connection.request(call["method"], call["path"], body, call["headers"])
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers, response.read().decode("latin-1")


def hear_all(connection: http.client.HTTPConnection, job: dict[str, Any]) -> list[tuple[int, dict[str, str], str]]:
    return [hear_at_last(connection, call, job["pause"], job["insists"]) for call in job["calls"]]


def hear_at_last(
    connection: http.client.HTTPConnection, call: dict[str, Any], pause: float, insists: int
) -> tuple[int, dict[str, str], str]:
    answer = hear(connection, call)
    if answer[0] == 503:
        threading.Event().wait(pause)
        return hear_at_last(connection, call, pause, insists - 1) if insists else answer
    return answer


def is_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether the server waited no longer: on a busy machine the last of many clients is ready late."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def work(fd: int) -> None:
    """Be a client, until nobody gives out jobs any more."""
    with socket.socket(fileno=fd) as end, end.makefile("r") as jobs, end.makefile("w") as say:
        while job := jobs.readline():
            asked = json.loads(job)
            connection = http.client.HTTPConnection(asked["host"], timeout=asked["timeout"])
            connection.connect()
            print("ready", file=say, flush=True)
            jobs.readline()
            if is_ended(connection):
                connection.close()
            print(json.dumps(hear_all(connection, asked)), file=say, flush=True)
            connection.close()


def main() -> None:
    fds = [int(argument) for argument in sys.argv[1:]]
    for own in fds:
        if os.fork() == 0:
            for fd in fds:
                if fd != own:
                    os.close(fd)
            work(own)
            os._exit(0)  # there is nothing to tidy up, 64 times
    for fd in fds:
        os.close(fd)
    for _ in fds:
        os.wait()


if __name__ == "__main__":
    main()
