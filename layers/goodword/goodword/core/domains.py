"""Domains of e-mails: one spelling for each, by which they are compared and stored.

Small letters, punycode for what is beyond ASCII, no dot at the end: as mail is delivered.
"""

import re

from pydantic_core import Url

LONGEST = 253

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+$){_LABEL}")


def canonical(text: str) -> str:
    """The one spelling of a domain. Raises ValueError for what is none: it has two labels at least."""
    domain = spelled(text.strip())
    if len(domain) > LONGEST or not _DOMAIN.fullmatch(domain):
        raise ValueError("must be a domain, as mail.example")
    return domain


def spelled(text: str) -> str:
    """The same of anything that stands behind an e-mail's @: what is no domain is in small letters."""
    domain = text.lower().rstrip(".")
    if domain.isascii():
        return domain
    try:
        return Url(f"http://{domain}").host or domain  # by the algorithm of browsers, as for links
    except ValueError:
        return domain
