import keras
import numpy as np

from keras_diffkd.methods.labels import class_probabilities


class Head:
    classes = 3

    def __call__(self, feature):
        return feature


def test_the_teacher_decides_on_samples_without_a_label():
    logits = np.array([[0, 2, 1], [3, 0, 0], [0, 0, 1]], "float32")
    for targets, expected in (
        (None, [1, 0, 2]),
        (np.array([2, -1, -1]), [2, 0, 2]),
        (np.array([[-1], [1], [0]]), [1, 1, 0]),
    ):
        found = class_probabilities(targets, Head(), keras.ops.array(logits))
        np.testing.assert_array_equal(found, np.eye(3)[expected])
