"""Amounts of money: integers of minor units, and shares of them rounded half up, once."""

from fractions import Fraction

# As Stripe counts them, which gives two digits to two currencies that have none by ISO 4217, ISK and UGX; every other
# currency has two as well. Whop tells major units: what they come to here is ours to say, and must be one for both.
_NO_MINOR_UNIT = frozenset({
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf",
})  # fmt: skip
_THREE_DIGITS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def exponent(currency: str) -> int:
    """How many digits of a currency's amounts are minor units."""
    return 0 if currency in _NO_MINOR_UNIT else 3 if currency in _THREE_DIGITS else 2


def half_up(numerator: int, denominator: int) -> int:
    """A non-negative fraction rounded to the nearest integer, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def rounded(points: Fraction) -> int:
    """A non-negative share, rounded half up."""
    return half_up(points.numerator, points.denominator)


def net_of_tax(paid: int, total: int, tax: int) -> int:
    """`paid` without its share of the `tax` in `total`, in minor units, rounded half up, never below 0.

    The share matters when less than the total was paid, because credit covered the rest: credit covers tax too.
    """
    if paid <= 0:
        return 0
    if total <= 0 or tax <= 0:
        return paid
    share = (2 * paid * tax + total) // (2 * total)
    return max(paid - share, 0)
