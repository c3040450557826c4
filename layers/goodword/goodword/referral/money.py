"""Money to points: integers all the way, rounded half up once."""

from fractions import Fraction

from goodword.referral.program import AwardTerms, Program

# As ISO 4217, Stripe and Whop count them; every other currency has two digits.
_NO_MINOR_UNIT = frozenset({
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf",
})  # fmt: skip
_THREE_DIGITS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def exponent(currency: str) -> int:
    """How many digits the minor unit of a currency has."""
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
