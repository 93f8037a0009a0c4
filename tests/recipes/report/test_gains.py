import numpy as np
import pytest
from helpers.run_records import page_of, text_of
from scipy import stats

from keras_diffkd.recipes.report.gains import paired_gain


@pytest.mark.usefixtures("without_curves")
def test_statistics_over_seeds_are_those_of_scipy(write_run):
    pairs = [(0.96, 0.92), (0.955, 0.935), (0.97, 0.93)]
    run = write_run(seeds=pairs)
    first, second = np.array([(0.95, 0.93), *pairs]).T
    gains = 100 * (first - second)
    low, high = stats.t.interval(0.95, 3, gains.mean(), stats.sem(gains))
    p = stats.ttest_1samp(gains, 0.0).pvalue
    own = 100 * first
    half = stats.t.interval(0.95, 3, own.mean(), stats.sem(own))[1] - own.mean()

    text = text_of(page_of(run))
    assert f"Means over 4 seeds. The paired gain is {gains.mean():+.2f} points" in text
    assert f"95% interval {low:+.2f} to {high:+.2f}, p = {p:.3f}" in text
    assert f"{own.mean():.2f}% ± {half:.2f}" in text
    assert p < 0.05
    assert "significant" not in text
    assert "One seed is not enough" not in text


def test_equal_gains_have_no_p():
    found = paired_gain([0.5, 0.75, 0.25], [0.25, 0.5, 0.0])
    assert (found.mean, found.half, found.p) == (0.25, 0.0, None)
    assert not found.significant
