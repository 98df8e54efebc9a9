"""Shares a budget of bytes among the attachments of one message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.frozen(kw_only=True)
class Claim:
    """What one attachment needs.

    Args:
        need_bytes: Its size as a part, as far as it can be told before it is packed.
        may_cut: Whether its last part alone is of use.
    """

    need_bytes: int
    may_cut: bool


def in_order(claims: Sequence[Claim]) -> list[int]:
    """Return the places of the claims in the order to serve them.

    What is whole or nothing comes before what can be cut, as cutting loses less than leaving out; small before large.
    """
    return sorted(range(len(claims)), key=lambda place: (claims[place].may_cut, claims[place].need_bytes))


def sure_of_each(claims: Sequence[Claim], limit_bytes: int) -> int:
    """Return what nobody takes from what can be cut: half of an even share, where it needs as much."""
    return limit_bytes // (2 * len(claims)) if claims else 0


def allowance(claim: Claim, waiting: Sequence[Claim], left_bytes: int, sure_bytes: int) -> int:
    """Return the bytes that a claim may use.

    Args:
        claim: The one to be served now.
        waiting: Those that :func:`in_order` puts after it.
        left_bytes: What is left of the budget.
        sure_bytes: What :func:`sure_of_each` said of all claims.

    Returns:
        For what can be cut, an even share: what a small one leaves goes to the larger ones after it. For the rest,
        all that is left, except what is sure for those that can be cut.
    """
    if claim.may_cut:
        return left_bytes // (1 + len(waiting))
    return left_bytes - sum(min(each.need_bytes, sure_bytes) for each in waiting if each.may_cut)
