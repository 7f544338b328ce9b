"""How many tasks of an unknown price may be out at once, so that an estimate that is wrong costs little."""

from math import floor

MOST = 4
"""Tasks of one price class that are out while no real price of it is known."""
TIMES = 10.0
"""By how much a real price is believed to exceed its estimate, at most."""
DIGITS = 6
"""Decimal places of quotients that count; what is smaller is rounding alone."""


def allowed(estimate: float, left: float, *, is_first: bool) -> int:
    """Tasks of a price class that may be out before one real price of it is known.

    `left`: credits of the budget that nothing else may take, at ten times its estimate where its price is unknown.
    `is_first`: no task of an unknown price is out; one may always go, if the budget has its estimate.
    """
    borne = floor(round(min(max(left, 0.0) / (TIMES * estimate), MOST), DIGITS)) if estimate > 0.0 else 1
    return max(borne, int(is_first))
