"""The arrays in a snapshot of a model in training."""

import types

import keras
import numpy as np

from keras_diffkd import Distiller, FitNet
from keras_diffkd.resuming.model_arrays import ModelArrays


def network(generator):
    class Sampling(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="features")
            self.generator = generator

        def call(self, x):
            return x + keras.random.normal(keras.ops.shape(x), seed=self.generator)

    image = keras.Input((6,))
    return keras.Model(image, keras.layers.Dense(3)(Sampling()(image)))


def state_of(generator):
    return keras.ops.convert_to_numpy(generator.state.value).tolist()


def test_the_draws_of_the_teacher_and_the_student_go_on():
    seeds = [keras.random.SeedGenerator(i) for i in range(2)]
    teacher, student = map(network, seeds)
    distiller = Distiller(teacher, student, [FitNet("features", "features")])
    distiller.compile("sgd", "mse")
    distiller.optimizer.build(distiller.trainable_variables)
    for generator in seeds:
        generator.state.assign([5, 7])
    arrays = ModelArrays(distiller)
    saved = arrays.read(lambda variables, values: None)
    for generator in seeds:
        generator.state.assign([0, 0])
    arrays.restore(types.SimpleNamespace(arrays=saved))
    assert [state_of(generator) for generator in seeds] == [[5, 7]] * 2
    # Snapshots of older versions hold nothing of the teacher.
    seeds[0].state.assign([0, 0])
    old = {k: v for k, v in saved.items() if not k.startswith("teacher")}
    arrays.restore(types.SimpleNamespace(arrays=old))
    assert state_of(seeds[0]) == [0, 0]
    assert isinstance(saved["teacher_seeds/0"], np.ndarray)
