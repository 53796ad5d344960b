"""How far apart two samples of one population come to lie by chance.

>>> round(jensen_shannon_noise(18, (42, 350), significance=0.005), 3)
0.179
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

from scipy.special import chdtri  # scipy.stats takes half a second to import


def jensen_shannon_noise(degrees: int, examples: tuple[int, int], significance: float) -> float:
    """Return the Jensen-Shannon divergence that chance exceeds with the probability `significance`.

    For two samples of one population it is, in bits, (1/n + 1/m) / (8 ln 2) times a chi-squared variable (Menendez et
    al., The Jensen-Shannon divergence, 1997).

    Args:
        degrees: of freedom; where there are none, one is taken.
        examples: their numbers, n and m.
        significance: 0-0.5.
    """
    return _per_example(examples) / (8 * math.log(2)) * float(chdtri(max(1, degrees), significance))


def l_infinity_noise(counts: Sequence[tuple[float, float]], examples: tuple[int, int], significance: float) -> float:
    """Return the largest change of a category's share that chance exceeds with the probability `significance` at most.

    The test of two proportions with their pooled share, for each category (Bonferroni's correction).

    Args:
        counts: of each category, how many examples of the two samples are of it.
        examples: their numbers.
        significance: 0-0.5.
    """
    pooled = [sum(both) / sum(examples) for both in counts]
    deviation = math.sqrt(max(share * (1 - share) for share in pooled) * _per_example(examples))
    return deviation * NormalDist().inv_cdf(1 - significance / (2 * len(counts)))


def _per_example(examples: tuple[int, int]) -> float:
    return sum(1 / number for number in examples)
