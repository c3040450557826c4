"""The text of the code that a user gets at signup."""

import secrets

# without 0 O 1 I L U: nobody should have to ask which one is meant
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 8


def draw() -> str:
    """A random text; another user may have it already."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
