"""The text of the code that a user gets at signup."""

import secrets

# without 0 O 1 I L U: nobody should have to ask which one is meant
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 8


def draw() -> str:
    """A random text; another user may have it already."""
    number, letters = secrets.randbelow(len(ALPHABET) ** LENGTH), ""
    for _ in range(LENGTH):
        number, letter = divmod(number, len(ALPHABET))
        letters += ALPHABET[letter]
    return letters
