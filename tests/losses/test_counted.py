"""Samples that do not count: as if they were not there."""

import numpy as np
import pytest
from reference.keras_side import gradient_of, value_of

from keras_diffkd import losses

LOSSES = {
    "kl": lambda t, s, y, **mask: losses.kl_divergence(t, s, 3.0, **mask),
    "kl, hot": lambda t, s, y, **mask: losses.kl_divergence(t, s, 50.0, **mask),
    "dist": lambda t, s, y, **mask: losses.dist(t, s, 0.5, 2.0, 3.0, **mask),
    "dkd": lambda t, s, y, **mask: losses.dkd(t, s, y, temperature=3.0, **mask),
    "ttm": lambda t, s, y, **mask: losses.ttm(t, s, 3.0, **mask),
    "wttm": lambda t, s, y, **mask: losses.ttm(t, s, 3.0, True, **mask),
    "kl, standardized": lambda t, s, y, **mask: losses.kl_divergence(
        t, s, 2.0, standardize_logits=True, **mask
    ),
    "dist, standardized": lambda t, s, y, **mask: losses.dist(
        t, s, 0.5, 2.0, 2.0, standardize_logits=True, **mask
    ),
    "dkd, standardized": lambda t, s, y, **mask: losses.dkd(
        t, s, y, temperature=2.0, standardize_logits=True, **mask
    ),
}


@pytest.fixture
def batch(rng):
    teacher, student = 2 * rng.normal(size=(2, 3, 4, 5)).astype("float32")
    mask = rng.random((3, 4)) < 0.6
    assert mask.any()
    assert not mask.all()
    return teacher, student, rng.integers(0, 5, (3, 4)), mask


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses_and_gradients_are_those_of_the_samples_that_count(batch, loss):
    teacher, student, labels, mask = batch
    alone = teacher[mask], student[mask], labels[mask]
    expected, gradient = value_of(loss, *alone), gradient_of(loss, *alone)
    # Whatever stands where nothing counts.
    labels = np.where(mask, labels, 255)
    for nothing in (0.0, np.nan, np.inf):
        teacher, student = (np.where(mask[..., None], x, nothing) for x in batch[:2])
        actual = value_of(loss, teacher, student, labels, mask=mask)
        assert actual == pytest.approx(expected, rel=1e-5)
        gradients = gradient_of(loss, teacher, student, labels, mask=mask)
        np.testing.assert_allclose(gradients[mask], gradient, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(gradients[~mask], 0.0)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_where_nothing_counts_the_loss_is_zero(batch, loss):
    *tensors, mask = batch
    nothing = np.zeros_like(mask)
    assert value_of(loss, *tensors, mask=nothing) == 0.0
    np.testing.assert_array_equal(gradient_of(loss, *tensors, mask=nothing), 0.0)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_mask_of_everything_changes_nothing(batch, loss):
    *tensors, mask = batch
    everything = np.ones(mask.shape, "int32")
    assert value_of(loss, *tensors, mask=everything) == pytest.approx(
        value_of(loss, *tensors), rel=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_mask_of_another_size_is_refused(batch, loss):
    *tensors, mask = batch
    with pytest.raises(ValueError, match="Received: 9 entries for 12 samples"):
        loss(*tensors, mask=mask[:, 1:])
