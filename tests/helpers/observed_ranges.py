"""Observes the ranges of a student, without any training."""

import keras
import numpy as np

from keras_diffkd.quantization import QuantizationRanges
from keras_diffkd.quantization.planning import quantization_plan
from keras_diffkd.quantization.simulation import simulating


def observe(student, images):
    """Returns the smallest and largest values of a batch, as training sees them."""
    plan, found = quantization_plan(student), {}

    def rounded(site, tensor):
        values = keras.ops.convert_to_numpy(tensor)
        low, high = found.get(site.name, (0.0, 0.0))
        low = 0.0 if site.is_positive else min(low, values.min())
        found[site.name] = low, max(high, values.max())
        low, high = site.fixed or found[site.name]
        found[site.name] = low, high
        step = (high - low) / 255
        return np.float32(np.clip(np.rint(values / step), -255, 255) * step)

    with simulating(plan, rounded):
        student(images, training=False)
    return QuantizationRanges(found, plan.not_simulated)
