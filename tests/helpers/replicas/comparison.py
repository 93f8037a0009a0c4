"""Makes trainings on one and on two replicas comparable, and compares them."""

import keras
import numpy as np


def freeze_statistics(model):
    """Freezes batch normalization: each replica has the statistics of its share."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def check_same(ours, theirs):
    """Checks that two results have the same `weights` and `logs`."""
    for a, b in zip(ours["weights"], theirs["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert set(ours["logs"]) == set(theirs["logs"])
    for log, value in theirs["logs"].items():
        np.testing.assert_allclose(ours["logs"][log], value, rtol=1e-4, err_msg=log)
