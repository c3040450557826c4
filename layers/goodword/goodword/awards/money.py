"""Money to points: integers all the way, rounded half up once."""

from fractions import Fraction

from goodword.program.document import AwardTerms, Program

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


def points_due(program: Program, terms: AwardTerms, net_amount: int, currency: str | None) -> int:
    """The points of an award for a payment of `net_amount` minor units (RULES.md §1).

    A percentage of a currency that the program gives no worth earns nothing.
    """
    if terms.points is not None:
        return terms.points
    if currency is None or terms.bps is None or currency not in program.points_per_unit:
        return 0
    worth = program.points_per_unit[currency]
    return half_up(net_amount * terms.bps * worth, 10_000 * 10 ** exponent(currency))


def rounded(points: Fraction) -> int:
    """A share of points, rounded half up."""
    return half_up(points.numerator, points.denominator)
