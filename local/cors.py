"""Cross-origin requests, as an HTTP API with a CorsConfiguration answers them (rows 46 and 47 of docs/gateway.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Cors:
    """Which origins may read answers, which headers of them, and what they may send."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    max_age: int | None

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> "Cors":
        """From the property CorsConfiguration of an AWS::Serverless::HttpApi."""
        return cls(
            origins=tuple(configuration.get("AllowOrigins", ())),
            methods=tuple(configuration.get("AllowMethods", ())),
            headers=tuple(configuration.get("AllowHeaders", ())),
            exposed=tuple(configuration.get("ExposeHeaders", ())),
            max_age=configuration.get("MaxAge"),
        )

    def for_answer(self, origin: str) -> Headers:
        """The headers an answer gets; none for an origin that is not allowed."""
        allowed = self._allowed(origin)
        if not allowed or not self.exposed:
            return allowed
        return [*allowed, (b"access-control-expose-headers", ",".join(self.exposed).encode())]

    def for_preflight(self, origin: str) -> Headers:
        """The headers of the answer to a preflight."""
        allowed = self._allowed(origin)
        if not allowed:
            return []
        allowed += [
            (b"access-control-allow-methods", ",".join(self.methods).encode()),
            (b"access-control-allow-headers", ",".join(self.headers).encode()),
        ]
        return allowed if self.max_age is None else [*allowed, (b"access-control-max-age", str(self.max_age).encode())]

    def _allowed(self, origin: str) -> Headers:
        if "*" in self.origins:
            return [(b"access-control-allow-origin", b"*")]
        return [(b"access-control-allow-origin", origin.encode())] if origin in self.origins else []


def without_cors(headers: Headers) -> Headers:
    """Headers of a function's answer, less those that are the gateway's to give."""
    return [(name, value) for name, value in headers if not name.startswith(b"access-control-")]
