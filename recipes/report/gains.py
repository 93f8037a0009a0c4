"""Computes the gain from distillation and its confidence interval."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Interval:
    """Holds a mean over seeds and its 95% confidence interval.

    Args:
        mean: float.
        half: float, half of the interval's width; None for one seed.
        count: int, the number of seeds.
        p: float, from a paired t-test against no difference, or None.
    """

    mean: float
    half: float | None
    count: int
    p: float | None = None

    @property
    def significant(self):
        return self.p is not None and self.p < 0.05


def mean_of_seeds(values):
    """Summarizes one value for each seed.

    Args:
        values: list of floats, at least one.

    Returns:
        `Interval`, by Student's t distribution.
    """
    from scipy import stats

    count = len(values)
    half = None
    if count > 1:
        half = float(stats.t.ppf(0.975, count - 1) * stats.sem(values))
    return Interval(float(np.mean(values)), half, count)


def paired_gain(values, reference):
    """Compares two models seed by seed.

    Args:
        values: list of floats.
        reference: list of floats of the same seeds.

    Returns:
        `Interval` of the differences. From two seeds on it has the p of the paired
        t-test, except where all differences are equal.
    """
    from scipy import stats

    gains = np.subtract(values, reference)
    found = mean_of_seeds(gains)
    if len(gains) < 2 or np.ptp(gains) < 1e-12:
        return found
    p = float(stats.ttest_rel(values, reference).pvalue)
    return dataclasses.replace(found, p=p if math.isfinite(p) else None)


def summarize(seeds, names):
    """Summarizes models over the seeds that have them.

    Args:
        seeds: list of dicts from model to float.
        names: the models.

    Returns:
        dict from model to `Interval`.
    """
    values = {name: [seed[name] for seed in seeds if name in seed] for name in names}
    return {name: mean_of_seeds(found) for name, found in values.items() if found}


def gain_over(seeds, name, reference):
    """Returns the `Interval` of a gain over the seeds that have both, or None."""
    pairs = [(s[name], s[reference]) for s in seeds if name in s and reference in s]
    return paired_gain(*zip(*pairs, strict=True)) if pairs else None
