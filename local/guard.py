"""A guard: runs one command and ends it when the process that asked for it is gone, however that one died.

It is run as a script of its own (`python guard.py [--discard FOLDER] COMMAND…`). Its standard input is a pipe whose
other end only the asking process holds; the end of that pipe is the order to stop. A pipe needs neither signals nor
polling, works on Linux and macOS alike, and is closed by the kernel even after a SIGKILL.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading

FAST_SHUTDOWN = signal.SIGINT  # PostgreSQL: roll open transactions back, write a checkpoint, end
IMMEDIATE_SHUTDOWN = signal.SIGQUIT  # PostgreSQL: end at once; the next start recovers from the log
PATIENCE_SECONDS = 30.0


def stop(command: "subprocess.Popen[bytes]") -> None:
    """Ask for a fast shutdown, and for an immediate one when that takes too long."""
    command.send_signal(FAST_SHUTDOWN)
    try:
        command.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        command.send_signal(IMMEDIATE_SHUTDOWN)


def stop_at_the_end_of_input(command: "subprocess.Popen[bytes]") -> None:
    """Wait until the asking process has closed its end of the pipe, then stop the command."""
    # no buffered reader: the interpreter could not end while a thread waits inside of one
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop(command)


def main() -> int:
    """Run the command to its end; answer its exit code."""
    arguments = sys.argv[1:]
    discard = None
    if arguments[0] == "--discard":
        discard, arguments = arguments[1], arguments[2:]
    # what a script starts in the background ignores these two, and the command would inherit that
    for order in (FAST_SHUTDOWN, IMMEDIATE_SHUTDOWN):
        signal.signal(order, signal.SIG_DFL)
    # close_fds=False: descriptors that the asking process passed on are the command's, not ours
    command = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, close_fds=False)
    # no waiting inside a signal handler: the main thread is in wait() already
    signal.signal(signal.SIGTERM, lambda _number, _frame: command.send_signal(FAST_SHUTDOWN))
    threading.Thread(target=stop_at_the_end_of_input, args=(command,), daemon=True).start()
    try:
        return command.wait()
    finally:
        if discard is not None:
            shutil.rmtree(discard, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
