"""A frozen part that teacher and student have in common."""

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch

from keras_diffkd import Distiller, FitNet, LogitsKD


def backbone():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.2)(keras.layers.ReLU(name="features")(x))
    return keras.Model(image, x, name="backbone")


def with_head(shared, width):
    image = keras.Input((8, 8, 1))
    x = keras.layers.GlobalAveragePooling2D()(shared(image))
    x = keras.layers.Dense(width, activation="relu", name="hidden")(x)
    return keras.Model(image, keras.layers.Dense(10)(x))


def test_a_frozen_backbone_is_not_changed_and_heads_learn(rng):
    x, y = random_batch(rng)
    shared = backbone()
    shared.trainable = False
    teacher, student = with_head(shared, 16), with_head(shared, 4)
    made = Distiller(teacher, student, [LogitsKD(), FitNet("hidden", "hidden")])
    made.compile("adam", cross_entropy())
    before = [w.numpy() if hasattr(w, "numpy") else w for w in shared.get_weights()]
    of_teacher, of_student = teacher.get_weights(), student.get_weights()
    made.fit(x, y, epochs=2, verbose=0)
    for old, new in zip(before, shared.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(of_teacher, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    moved = [
        np.any(old != new)
        for old, new in zip(of_student, student.get_weights(), strict=True)
    ]
    assert moved == [False] * len(before) + [True] * 4


def test_the_step_is_that_of_a_copy(rng):
    x, y = random_batch(rng)
    shared = backbone()
    shared.trainable = False
    teacher, student = with_head(shared, 16), with_head(shared, 4)
    copy = keras.models.clone_model(teacher)
    copy.set_weights(teacher.get_weights())
    weights, losses = student.get_weights(), []
    for of_teacher in (teacher, copy):
        student.set_weights(weights)
        made = Distiller(of_teacher, student, [LogitsKD()], task_loss_weight=0.0)
        made.compile(keras.optimizers.SGD(0.1), cross_entropy())
        shared.layers[-1].seed_generator.state.assign([1, 0])
        keras.utils.set_random_seed(1)  # On PyTorch, dropout draws from its generator.
        losses.append(
            made.fit(x, y, epochs=3, shuffle=False, verbose=0).history["loss"]
        )
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_what_trains_may_not_be_shared():
    shared = backbone()
    with pytest.raises(ValueError, match="must not share trainable weights"):
        Distiller(with_head(shared, 16), with_head(shared, 4), [LogitsKD()])
    shared.trainable = False
    # Its statistics would follow the student's batches.
    shared.layers[2].trainable = True
    with pytest.raises(ValueError, match="must not share trainable weights"):
        Distiller(with_head(shared, 16), with_head(shared, 4), [LogitsKD()])
    shared = backbone()
    shared.trainable = False
    made = Distiller(with_head(shared, 16), with_head(shared, 4), [LogitsKD()])
    shared.trainable = True
    with pytest.raises(ValueError, match="must not share trainable weights"):
        made.compile("adam", cross_entropy())
