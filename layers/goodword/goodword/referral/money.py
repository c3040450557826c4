"""Money to points: integers all the way, rounded half up once."""

from collections.abc import Mapping

from goodword.referral.program import AwardTerms, Program

# Minor units per major unit are 10^exponent (ISO 4217, as Stripe and Whop count); every other currency has two.
_NO_MINOR_UNIT: tuple[str, ...] = (
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf",
)  # fmt: skip
_THREE_DIGITS: tuple[str, ...] = ("bhd", "jod", "kwd", "omr", "tnd")
EXPONENT: Mapping[str, int] = dict.fromkeys(_NO_MINOR_UNIT, 0) | dict.fromkeys(_THREE_DIGITS, 3)


def half_up(numerator: int, denominator: int) -> int:
    """A non-negative fraction rounded to the nearest integer, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def points_due(program: Program, terms: AwardTerms, net_amount: int, currency: str | None) -> int:
    """The points of an award for a payment of `net_amount` minor units (RULES.md §1).

    A percentage of a currency that the program gives no worth earns nothing.
    """
    if terms.points is not None:
        return terms.points
    worth = program.points_per_unit.get(currency or "")
    if worth is None or terms.bps is None:
        return 0
    return half_up(net_amount * terms.bps * worth, 10_000 * 10 ** EXPONENT.get(currency or "", 2))
