"""Fusion: several rankings of the same things made one, by rank alone.

Scores of different kinds cannot be added: a distance, a BM25 score and an inner product have neither unit nor range in
common. Ranks have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from docarray.errors import BadValue, LengthError

__all__ = ["rrf"]


def rrf(
    rankings: Sequence[Sequence[str]], weights: Sequence[float] | None = None, c: float = 60
) -> list[tuple[str, float]]:
    """Reciprocal rank fusion: all keys of these rankings, the best first, with what they were ranked by.

    A key that stands at place r of a ranking, counted from 1, gets weight / (c + r) from it, and the sum over all
    rankings is its score. (Cormack, Clarke, Büttcher: Reciprocal rank fusion outperforms Condorcet and individual
    rank learning methods, SIGIR 2009.)

    Args:
        rankings: keys, the best first; one that stands twice in a ranking counts where it stands first.
        weights: one for each ranking, 0 or more; None is 1 for each. A ranking of weight 0 is left out.
        c: how little the first places differ, 0 or more; 60 is the value of the paper.

    Returns:
        Pairs of a key and its score. Of equal scores the key comes first that stands first in the first ranking
        that has one of them.

    Raises:
        LengthError: not one weight for each ranking. BadValue: a weight or `c` is below 0 or not finite.

    Costs a pass over the rankings and a sort.

    >>> [key for key, score in rrf([['a', 'b', 'c'], ['c', 'a', 'd']])]
    ['a', 'c', 'b', 'd']
    """
    shares = [1.0] * len(rankings) if weights is None else [float(weight) for weight in weights]
    if len(shares) != len(rankings):
        raise LengthError(f"rrf takes a weight for each ranking; got {len(shares)} for {len(rankings)}")
    if not (math.isfinite(c) and c >= 0):
        raise BadValue(f"c={c!r}: it is 0 or more")
    parts: dict[str, list[float]] = {}
    for ranking, share in zip(rankings, shares, strict=True):
        if not (math.isfinite(share) and share >= 0):
            raise BadValue(f"a weight is 0 or more; got {share!r}")
        if share:
            for place, key in enumerate(dict.fromkeys(ranking), 1):
                parts.setdefault(key, []).append(share / (c + place))
    # fsum rounds once: two keys with the same places in another order of rankings are equal to the last bit.
    scores = [(key, math.fsum(part)) for key, part in parts.items()]
    scores.sort(key=lambda pair: -pair[1])
    return scores
