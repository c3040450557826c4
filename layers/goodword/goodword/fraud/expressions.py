"""Regular expressions that companies write, by an engine whose time grows with the text and with nothing else.

It is RE2, which knows neither backreferences nor lookaround, since no engine is linear with them. It is loaded when the
first expression is compiled (docs/decisions/0044-expressions-and-disposable-domains.md).
"""

from typing import Any, Protocol

LONGEST = 256

MOST_BYTES = 128 * 1024
"""Of memory, for an expression: a text takes the longer the more is compiled, and repetitions multiply that."""


class Expression(Protocol):
    """A compiled expression."""

    def search(self, text: bytes, /) -> object | None:
        """Something where the expression is found anywhere in a text, in large letters or small ones."""
        ...


def compiled(text: str) -> Expression:
    """An expression, compiled. Raises ValueError for what RE2 does not know, or finds too large."""
    import re2  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - only a company with expressions needs it

    engine: Any = re2  # it says nothing of types
    options = engine.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False  # they would hold what the company has written
    options.max_mem = MOST_BYTES
    try:
        return engine.compile(text.encode(), options)
    except engine.error as error:
        (said,) = error.args
        raise ValueError(f"must be a regular expression of RE2: {said.decode(errors='replace')}") from None
