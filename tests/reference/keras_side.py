"""Runs what is tested on NumPy arrays, and reads weights into the reference's form."""

import json

import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients
from reference.diffkd_numpy import Units, gradient


def value_of(loss, teacher, student, *args, dtype="float32", **kwargs):
    """The loss of two arrays that arrive in `dtype`, as a float; always float32."""
    teacher, student = (
        keras.ops.convert_to_tensor(x, dtype) for x in (teacher, student)
    )
    value = loss(teacher, student, *args, **kwargs)
    assert value.shape == ()
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    return float(value)


def gradient_of(loss, teacher, student, *args, **kwargs):
    """The gradient of the loss with respect to the student's argument."""
    teacher, student = (np.asarray(x, "float32") for x in (teacher, student))
    _, (gradient,), _ = value_and_gradients(
        lambda student: loss(teacher, student, *args, **kwargs), [student]
    )
    return gradient


def assert_compiles(loss):
    """The loss is the same under XLA, traced by TensorFlow for any batch size."""
    logits = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        spec = tf.TensorSpec((None, 5))
        compiled = tf.function(loss, input_signature=[spec, spec], jit_compile=True)
    elif keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(loss)
    else:
        pytest.skip("nothing to compile with on this backend")
    np.testing.assert_allclose(compiled(*logits), loss(*logits), rtol=1e-5)


def layers_with_weights(layer):
    """The innermost layers that own weights, in the order they were attached."""
    if layer._trainable_variables:
        return [layer]
    return [x for child in layer._layers for x in layers_with_weights(child)]


def kernel_shapes(layer):
    """The shapes of the kernels: the architecture, which weights alone do not tell."""
    return [
        tuple(v.shape)
        for x in layers_with_weights(layer)
        for v in x.trainable_weights
        if v.name == "kernel"
    ]


def read_units(*layers):
    """The weights of layers that run one after the other, as `Units`."""
    return Units(
        [
            {variable.name: variable.numpy() for variable in x.variables}
            for layer in layers
            for x in layers_with_weights(layer)
        ]
    )


def randomize(layer, seed=0):
    """Gives every weight a value that no initializer would, statistics included."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        value = rng.normal(size=variable.shape)
        if variable.name == "kernel":
            value /= np.sqrt(np.prod(variable.shape[:-1]))
        elif variable.name == "gamma":
            value = 0.5 + rng.random(variable.shape)
        elif variable.name == "moving_variance":
            value = 0.1 + rng.random(variable.shape)  # Small: epsilon has to count.
        variable.assign(value)
    return layer


def assert_matches(layer, call, network, x, *, training):
    """Compares a built layer with the reference: output, statistics, gradients.

    Args:
        layer: owner of the weights; given random ones first.
        call: `call(x)` runs the layer in the mode that `training` says.
        network: `network(layers, x)` is the same in the reference.
        x: array, the input.
        training: whether the batch statistics are used and the moving ones move.

    Returns:
        The gradients of a random linear function of the output: the one that reached
        `x`, and those that reached the weights, by path.
    """
    units = read_units(randomize(layer))
    after = units.copy()
    expected = after.run(network, x)
    cotangent = np.random.default_rng(1).normal(size=expected.shape).astype("float32")

    def linear(x):
        outputs = call(x)
        return keras.ops.sum(keras.ops.multiply(outputs, cotangent)), outputs

    (_, actual), (x_gradient,), of_weights = value_and_gradients(
        linear, [x.astype("float32")], layer
    )
    paths = [v.path for v in layer.trainable_variables]
    gradients = dict(zip(paths, of_weights, strict=True))
    assert len(gradients) == len(paths)

    atol = 2e-5 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=atol)
    _assert_statistics(layer, units, after if training else units)
    _assert_gradients(layer, units, network, x, cotangent, x_gradient, gradients)
    return x_gradient, gradients


def _assert_statistics(layer, before, after):
    for actual, old, new in zip(
        read_units(layer).units, before.units, after.units, strict=True
    ):
        for name, value in actual.items():
            if name.startswith("moving_"):
                np.testing.assert_allclose(value, new[name], rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(value, old[name])


def _assert_gradients(layer, units, network, x, cotangent, x_gradient, gradients):
    """Every gradient but the embedding's, which has thousands of entries of zero."""

    def expected_gradient(position, name):
        def output(value):
            changed = units.copy()
            changed.units[position][name] = value
            return (changed.run(network, x) * cotangent).sum()

        return gradient(output, units.units[position][name])

    def output(x):
        return (units.copy().run(network, x) * cotangent).sum()

    pairs = [(x_gradient, gradient(output, x))]
    for position, sublayer in enumerate(layers_with_weights(layer)):
        for variable in sublayer.trainable_weights:
            if variable.name != "embeddings":
                expected = expected_gradient(position, variable.name)
                pairs.append((gradients[variable.path], expected))
    largest = max(np.abs(expected).max() for _, expected in pairs)
    assert largest > 1e-3  # Nothing is saturated.
    for actual, expected in pairs:
        # Relative to the largest: a bias before a batch normalization has the gradient
        # zero, and rounding.
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=3e-5 * largest)


def assert_initial_values(layer, minimum=200):
    """Kernels and biases are uniform in +-1/sqrt(fan in), drawn independently.

    Args:
        layer: a built layer, wide enough for statistics.
        minimum: how many biases there have to be to say anything about.
    """
    kernels, biases = [], []
    for x in layers_with_weights(layer):
        values = {variable.name: variable.numpy() for variable in x.variables}
        if "gamma" in values:
            assert np.all(values["gamma"] == 1)
            assert np.all(values["beta"] == 0)
            assert np.all(values["moving_mean"] == 0)
            assert np.all(values["moving_variance"] == 1)
        if "kernel" in values:
            bound = 1 / np.sqrt(np.prod(values["kernel"].shape[:-1]))
            kernels.append(values["kernel"].ravel() / bound)
            biases.append(values["bias"] / bound)
    for values in (np.concatenate(kernels), np.concatenate(biases)):
        assert len(values) >= minimum
        assert np.abs(values).max() <= 1 + 1e-6
        assert np.abs(values).max() > 0.97
        assert np.mean(values) == pytest.approx(0, abs=5 / np.sqrt(3 * len(values)))
        # A uniform variable in +-1: variance 1/3, of the square 4/45.
        tolerance = 5 * np.sqrt(4 / 45 / len(values))
        assert np.mean(values**2) == pytest.approx(1 / 3, abs=tolerance)
    # An initializer object that is used twice would give the same numbers twice.
    starts = [tuple(values[:2]) for values in kernels + biases if len(values) > 1]
    assert len(set(starts)) == len(starts)


def assert_serializes(original, build):
    """Round trips through `get_config` and through Keras's registry.

    `build(layer)` runs the layer once and returns its output; the copies, given the
    weights of the original, must compute the same.
    """
    cls = type(original)
    assert keras.saving.get_registered_name(cls) == f"keras_diffkd>{cls.__name__}"
    output = build(original)
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(original)))
    for copy in (
        cls.from_config(original.get_config()),
        keras.saving.deserialize_keras_object(serialized),
    ):
        assert type(copy) is cls
        assert copy.get_config() == original.get_config()
        build(copy)
        copy.set_weights(original.get_weights())
        np.testing.assert_allclose(build(copy), output, rtol=1e-6, atol=1e-6)
