"""The counts of steps, whatever Keras's default type of floats is."""

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller, VkD
from keras_diffkd.training.step_count import StepCount


@pytest.fixture(params=["float64", "float16", "bfloat16"])
def floatx(request):
    before = keras.config.floatx()
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx(before)


def network(width):
    image = keras.Input((6,))
    x = keras.layers.Dense(width, name="features")(image)
    return keras.Model(image, keras.layers.Dense(3)(x))


@pytest.mark.backend("tensorflow")
def test_a_distiller_trains_with_any_default_type(floatx):
    distiller = Distiller(network(8), network(4), [VkD("features", "features")])
    distiller.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    before = keras.ops.convert_to_numpy(distiller.student.trainable_variables[0].value)
    distiller.train_on_batch(np.eye(6, dtype=floatx), np.arange(6) % 3)
    after = keras.ops.convert_to_numpy(distiller.student.trainable_variables[0].value)
    assert after.dtype.name == floatx
    assert not np.array_equal(before, after)


def test_more_steps_than_float16_counts(floatx):
    count = StepCount()
    count.steps.assign(2048.0)
    count.update_state()
    assert float(count.steps.value) == 2049
