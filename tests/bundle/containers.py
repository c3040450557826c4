"""The container engine of this machine: Docker, Podman or whatever answers Docker's HTTP API on its socket."""

import http.client
import json
import os
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

SOCKET = "/var/run/docker.sock"
TIMEOUT_SECONDS = 60.0
DOCKER_DESKTOP_HOST = "host.docker.internal"


class EngineError(Exception):
    """There is no engine, or it refuses; the message is one line that says why."""


class _OverSocket(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """The engine that DOCKER_HOST names, or else the one at Docker's usual socket."""

    def __init__(self) -> None:
        """Raises EngineError where nothing answers."""
        self.address = os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}"
        self._send("GET", "/_ping")

    def host(self) -> tuple[str, str]:
        """Where containers reach this machine: the name they use, and the address somebody here has to listen on.

        The second is all addresses where the network comes into being with its first container, as Podman's does.
        """
        if sys.platform == "darwin":  # the engine lives in a virtual machine, and has a name for its host
            return DOCKER_DESKTOP_HOST, "0.0.0.0"  # noqa: S104 - of this machine, behind passwords
        gateway: str = self._send("GET", "/networks/bridge")["IPAM"]["Config"][0]["Gateway"]
        with socket.socket() as trial:
            try:
                trial.bind((gateway, 0))
            except OSError:
                return gateway, "0.0.0.0"  # noqa: S104 - behind passwords, for some minutes
        return gateway, gateway

    def remove(self, containers: set[str]) -> set[str]:
        """Remove those of these containers that are still there; their ids."""
        left = {each["Id"] for each in self._send("GET", "/containers/json?all=true")} & containers
        for container in left:
            self._send("DELETE", f"/containers/{container}?force=true")
        return left

    def _send(self, method: str, path: str) -> Any:  # noqa: ANN401 - whatever the engine answers
        parts = urlsplit(self.address)
        try:
            connection = (
                _OverSocket(parts.path)
                if parts.scheme == "unix"
                else http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
            )
            connection.request(method, path)
            response = connection.getresponse()
            raw = response.read()
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"no container engine answers at {self.address}: {error}") from error
        if response.status >= 400:
            raise EngineError(f"the container engine answered {response.status} to {method} {path}: {raw.decode()}")
        return json.loads(raw) if raw[:1] in (b"{", b"[") else raw.decode()
