"""A function's process that is cloned for each event. Run as a script by `tests.support.invocations`.

Each line of standard input is an invocation. A child of this process, which has loaded the handler and nothing else,
runs it and ends. On standard output stand its process id, then its result if it came to one, then how it ended.
"""

import json
import os
import sys

from local import worker


def main() -> None:
    # the child writes here as well; what the handler prints goes elsewhere
    output = os.fdopen(os.dup(1), "w", buffering=1)
    worker.log_everything()
    handler = worker.load(sys.argv[1])
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            output.write(f"{os.getpid()}\n")
            result = worker.invoke(handler, json.loads(line)).decode()
            output.write(f"{result}\n")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        output.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main()
