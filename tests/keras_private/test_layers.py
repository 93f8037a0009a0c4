import keras
import numpy as np
import pytest

from keras_diffkd.keras_private.layers import (
    all_layers,
    computes_its_graph,
    index_of_output,
    inner_layers,
    is_application_layer,
    is_keras_layer,
    is_keras_operation,
    mask_of,
    node_of,
    operation_of,
    own_metrics,
    set_mask,
)


def test_layers_inside_layers():
    dense, relu = keras.layers.Dense(2), keras.layers.ReLU()
    inner = keras.Sequential([keras.Input((3,)), dense])
    outer = keras.Sequential([keras.Input((3,)), inner, relu])
    everything = all_layers(outer)
    assert everything[0] is outer
    assert {id(inner), id(dense), id(relu)} <= {id(layer) for layer in everything}
    assert all(layer is not outer for layer in inner_layers(outer))
    assert dense in inner_layers(outer)
    assert dense not in inner_layers(outer, recursive=False)
    assert inner in inner_layers(outer, recursive=False)


def test_metrics_in_the_attributes_of_a_layer():
    layer = keras.layers.Dense(2)
    layer.counter = keras.metrics.Mean()
    assert own_metrics(layer) == [layer.counter]
    assert own_metrics(keras.Sequential([layer])) == []


def test_the_graph_of_a_functional_model():
    series = keras.Input((4, 3))
    lstm = keras.layers.LSTM(2, return_state=True)
    outputs, state, _ = lstm(series)
    assert operation_of(state) is lstm
    assert [index_of_output(tensor) for tensor in (outputs, state)] == [0, 1]
    assert node_of(state).input_tensors == [series]
    # A layer that is called twice has two nodes.
    other = keras.Input((4, 3))
    assert node_of(lstm(other)[0]).input_tensors == [other]
    assert node_of(state).input_tensors == [series]


def test_layers_of_keras():
    class Mine(keras.layers.Dense):
        pass

    assert is_keras_layer(keras.layers.Dense)
    assert not is_keras_layer(Mine)


def test_operations_of_keras():
    x = keras.Input((4,))
    for y in (keras.ops.add(x, 1.0), keras.activations.relu(x)):
        assert is_keras_operation(type(operation_of(y)))
    assert not is_keras_operation(keras.layers.ReLU)
    assert not is_application_layer(keras.layers.ReLU)


def test_models_that_compute_their_graph():
    class Scaled(keras.Model):
        def call(self, x, training=None, mask=None):
            return 2 * super().call(x, training=training, mask=mask)

    class Named(keras.Model):
        pass

    x = keras.Input((4,))
    y = keras.layers.Dense(2)(x)
    layers = [keras.Input((4,)), keras.layers.Dense(2)]
    assert computes_its_graph(keras.Model(x, y))
    assert computes_its_graph(Named(x, y))
    assert computes_its_graph(keras.Sequential(layers))
    assert not computes_its_graph(keras.Sequential(layers[1:]))
    assert not computes_its_graph(Scaled(x, y))
    assert not computes_its_graph(keras.layers.Dense(2))


def test_masks_on_tensors():
    words = np.array([[1, 2, 0], [3, 0, 0]])
    embedded = keras.layers.Embedding(4, 2, mask_zero=True)(words)
    np.testing.assert_array_equal(mask_of(embedded), words > 0)
    assert mask_of(keras.ops.ones((2, 3))) is None


def test_a_loss_takes_the_mask_of_a_tensor():
    predicted = keras.ops.convert_to_tensor([[1.0, 5.0]])
    set_mask(predicted, keras.ops.convert_to_tensor([[True, False]]))
    loss = keras.losses.MeanSquaredError()(
        keras.ops.zeros((1, 2, 1)), predicted[..., None]
    )
    assert float(loss) == pytest.approx(13.0)  # A slice has no mask.
    predicted = predicted[..., None] + 0
    set_mask(predicted, keras.ops.convert_to_tensor([[True, False]]))
    loss = keras.losses.MeanSquaredError()(keras.ops.zeros((1, 2, 1)), predicted)
    assert float(loss) == pytest.approx(1.0)
