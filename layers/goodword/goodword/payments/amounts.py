"""What of an amount paid counts: the part that is not tax. Integers of minor units only."""


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
