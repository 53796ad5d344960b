"""How far apart two samples of one population come to lie by chance.

>>> round(jensen_shannon_noise((10, 10), (42, 350), significance=0.005), 3)
0.179
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

from scipy.stats import chi2


def jensen_shannon_noise(buckets: tuple[int, int], examples: tuple[int, int], significance: float) -> float:
    """Return the Jensen-Shannon divergence that chance exceeds with the probability `significance`.

    For two samples of one population it is, in bits, (1/n + 1/m) / (8 ln 2) times a chi-squared variable (Menendez et
    al., The Jensen-Shannon divergence, 1997). TFDV lays two histograms over each other whose edges differ, so what is
    free to vary are the buckets of both, less one each. At 10 buckets that is a little too much: real images exceed it
    half as often as they may with 42 examples against 350, and never with 42 against 42.

    Args:
        buckets: of the two histograms, those that hold anything.
        examples: their numbers, n and m.
        significance: 0-0.5.
    """
    degrees = max(1, sum(buckets) - len(buckets))
    return _per_example(examples) / (8 * math.log(2)) * float(chi2.ppf(1 - significance, degrees))


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
