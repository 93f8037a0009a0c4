import keras
import numpy as np
import pytest

from keras_diffkd.recipes.optimizers import CoupledSGD


def reference(weights, gradients, rate, momentum, decay, nesterov):
    """torch.optim.SGD with dampening 0, in float64."""
    buffer = None
    for gradient in gradients:
        gradient = gradient + decay * weights
        buffer = gradient if buffer is None else momentum * buffer + gradient
        step = gradient + momentum * buffer if nesterov else buffer
        weights = weights - rate * step
    return weights


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_equals_the_reference(rng, momentum, nesterov):
    start = rng.normal(size=(3, 4))
    gradients = rng.normal(size=(5, 3, 4))
    variable = keras.Variable(start, dtype="float32")
    optimizer = CoupledSGD(0.1, momentum, nesterov, coupled_weight_decay=0.05)
    for gradient in gradients:
        optimizer.apply([keras.ops.cast(gradient, "float32")], [variable])

    expected = reference(
        start, gradients, 0.1, momentum, 0.05, nesterov and momentum > 0
    )
    np.testing.assert_allclose(variable, expected, rtol=1e-5, atol=1e-6)


def test_decays_ten_times_more_than_the_decoupled_one(rng):
    """What the class is for: the difference to Keras's own weight decay."""
    shrunk = []
    for optimizer in (
        CoupledSGD(0.01, 0.9, coupled_weight_decay=0.01),
        keras.optimizers.SGD(0.01, 0.9, weight_decay=0.01),
    ):
        variable = keras.Variable(np.ones(1), dtype="float32")
        for _ in range(200):
            optimizer.apply([keras.ops.zeros(1)], [variable])
        shrunk.append(1.0 - float(variable[0]))
    assert 8.0 < shrunk[0] / shrunk[1] < 10.0


def test_config_round_trip():
    optimizer = CoupledSGD(0.1, 0.9, True, coupled_weight_decay=0.05)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(optimizer)
    )
    assert isinstance(again, CoupledSGD)
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    "arguments", [{"coupled_weight_decay": -1e-4}, {"weight_decay": 1e-4}]
)
def test_refuses(arguments):
    with pytest.raises(ValueError, match="Received"):
        CoupledSGD(0.1, **arguments)
