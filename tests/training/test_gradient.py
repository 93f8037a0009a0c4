"""`backend.gradient`, on every backend."""

import keras
import numpy as np
from helpers.gradients import value_and_gradients
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import DistillationMethod, Distiller
from keras_diffkd.training import backend


def cubic(x):
    return keras.ops.sum(x**3)


def test_gradient_of_a_scalar_function(rng):
    x = rng.normal(size=(2, 3)).astype("float32")
    slope = backend.gradient(cubic, keras.ops.convert_to_tensor(x))
    np.testing.assert_allclose(slope, 3 * x**2, rtol=1e-5)


def test_it_is_a_constant_to_a_gradient_around_it(rng):
    x = rng.normal(size=(2, 3)).astype("float32")

    def outer(x):
        slope = backend.gradient(cubic, x)
        return keras.ops.sum(x * slope), slope

    (_, slope), (outer_slope,), _ = value_and_gradients(outer, [x])
    np.testing.assert_allclose(slope, 3 * x**2, rtol=1e-5)
    # With a gradient through `slope` it would be 9 x^2.
    np.testing.assert_allclose(outer_slope, 3 * x**2, rtol=1e-5)


class Guided(DistillationMethod):
    loss_weights = {"distill": 1.0}

    def build(self, teacher_shape, student_shape):
        self.classifier = keras.layers.Dense(1)
        self.classifier.build(student_shape)
        self.built = True

    def compute_losses(self, teacher, student, targets=None, training=True):
        def score(x):
            return keras.ops.sum(self.classifier(x, training=False))

        guide = backend.gradient(score, student)
        return {"distill": keras.ops.mean((student + guide) ** 2)}


def test_inside_a_method_in_the_step(rng):
    method = Guided(name="guided")
    distiller = Distiller(small_cnn(6), small_cnn(6), [method])
    distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    x, y = random_batch(rng)
    logits = np.array(distiller.student(x, training=True))
    before = np.array(method.classifier.kernel)
    logs = distiller.train_on_batch(x, y, return_dict=True)
    expected = np.mean((logits + before[:, 0]) ** 2)
    np.testing.assert_allclose(logs["guided/distill"], expected, rtol=1e-4)
    np.testing.assert_array_equal(method.classifier.kernel, before)
