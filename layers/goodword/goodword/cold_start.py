"""The start of a function that people wait for: what it imports stays as long as it runs, so nothing is garbage yet.

Such a function imports this first, and ends with `over`. Python would else look through all that was imported up to
then again and again, and find nothing.
"""

import gc
from collections.abc import Callable
from typing import TypeVar

Handler = TypeVar("Handler", bound=Callable[..., object])

gc.disable()


def over(handler: Handler) -> Handler:
    """The handler of a function that has started. What there is by now is never looked through again."""
    gc.freeze()
    gc.enable()
    return handler
