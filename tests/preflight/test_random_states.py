"""The check before training leaves data as it was: the same batches follow."""

import random

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy

from keras_diffkd import Distiller
from keras_diffkd.preflight.batches import look_at

X = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
Y = X[:, :3].argmax(1)


class Noisy(keras.utils.PyDataset):
    """Adds noise from a generator."""

    def __init__(self, draw, **attributes):
        super().__init__()
        self.draw = draw
        vars(self).update(attributes)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return X[rows] + np.float32(self.draw()), Y[rows]


def data(kind):
    if kind == "python":
        return Noisy(random.random)
    if kind == "numpy":
        return Noisy(np.random.rand)
    own = {
        "own": np.random.default_rng,
        "own legacy": np.random.RandomState,
        "own python": random.Random,
    }[kind](3)
    return Noisy(own.random if hasattr(own, "random") else own.rand, own=own)


@pytest.mark.parametrize("kind", ["python", "numpy", "own", "own legacy", "own python"])
def test_generators_of_data_sets_are_left_as_they_were(kind):
    draws = []
    for looks in (False, True):
        random.seed(0)
        np.random.seed(0)
        dataset = data(kind)
        if looks:
            look_at(dataset)
        draws.append(dataset.draw())
    assert draws[0] == draws[1]


def test_a_data_loader_shuffles_as_without_a_look():
    torch = pytest.importorskip("torch")
    tensors = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    for generator in (None, torch.Generator()):
        orders = []
        for looks in (False, True):
            (generator or torch.random).manual_seed(0)
            loader = torch.utils.data.DataLoader(
                tensors, 16, shuffle=True, generator=generator
            )
            if looks:
                look_at(loader)
            orders.append(torch.cat([y for _, y in loader]).tolist())
        assert orders[0] == orders[1]


def test_training_on_noise_is_that_of_keras():
    student = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    plain = keras.models.clone_model(student)
    plain.set_weights(student.get_weights())
    losses = []
    for model in (plain, Distiller(student=student)):
        model.compile("sgd", cross_entropy())
        fitted = model.fit(data("own"), shuffle=False, epochs=2, verbose=0)
        losses.append(fitted.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
