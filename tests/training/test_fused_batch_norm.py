"""The fused batch normalization against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import cross_entropy, random_batch, small_cnn, weights_of

from keras_diffkd import Distiller, FitNet
from keras_diffkd.training.fused_batch_norm import fused_batch_normalization

pytestmark = pytest.mark.backend("tensorflow")


def normalize(x, fused, *, training, dtype=None, shape=None, **arguments):
    """Returns outputs, gradients and moving statistics, as arrays.

    `shape` is what is known of the shape when the layer is traced.
    """
    keras.utils.set_random_seed(0)
    layer = keras.layers.BatchNormalization(dtype=dtype, **arguments)
    trainable = arguments.pop("trainable", True)
    layer.build(x.shape)
    for index, variable in enumerate(layer.variables):
        variable.assign(np.linspace(0.5, 1.5 + index, x.shape[layer.axis]))
    watched = [tf.constant(x), *(v.value for v in layer.trainable_variables)]
    kinds = []

    signature = [tf.TensorSpec(shape or x.shape, x.dtype)]

    @tf.function(input_signature=signature)
    def step(x):
        with (
            tf.GradientTape() as tape,
            fused_batch_normalization(*([layer] if fused else [])),
        ):
            tape.watch(x)
            outputs = layer(x, training=training)
            scalar = tf.reduce_sum(tf.cast(outputs, "float32") ** 3)
        kinds.append(
            [op.type for op in tf.compat.v1.get_default_graph().get_operations()]
        )
        return outputs, tape.gradient(scalar, [x, *layer.trainable_variables])

    outputs, gradients = step(watched[0])
    assert trainable or not layer.trainable_variables
    results = [outputs, *gradients, *layer.non_trainable_variables]
    return [np.array(value) for value in results], set(kinds[0])


CASES = {
    "training": {"training": True},
    "inference": {"training": False},
    "frozen": {"training": True, "trainable": False},
    "no_scale": {"training": True, "scale": False},
    "no_center": {"training": True, "center": False},
    "epsilon": {"training": True, "epsilon": 0.5, "momentum": 0.3},
    "no_momentum": {"training": True, "momentum": 0.0},
    "mixed_bfloat16": {"training": True, "dtype": "mixed_bfloat16"},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_the_plain_operations(rng, case):
    x = rng.normal(2.0, 3.0, (6, 5, 4, 3)).astype("float32")
    plain, plain_kinds = normalize(x, False, **case)
    fused, fused_kinds = normalize(x, True, **case)
    assert "FusedBatchNormV3" in fused_kinds
    assert "FusedBatchNormV3" not in plain_kinds
    assert len(fused) == len(plain)
    for ours, theirs in zip(fused, plain, strict=True):
        assert ours.dtype == theirs.dtype
        ours, theirs = ours.astype("float64"), theirs.astype("float64")
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5 * scale)


@pytest.mark.parametrize(
    ("size", "known"),
    [
        ((1, 1, 1, 3), None),
        ((1, 1, 1, 3), (None, 1, 1, 3)),
        ((2, 1, 1, 3), (None, 1, 1, 3)),
        ((1, 2, 1, 3), (None, 2, 1, 3)),
        ((1, 2, 1, 3), (None, None, None, 3)),
    ],
)
def test_the_variance_of_few_values_is_that_of_keras(rng, size, known):
    """Its unbiased variance is far from the biased one."""
    x = rng.normal(2.0, 3.0, size).astype("float32")
    plain, _ = normalize(x, False, training=True)
    fused, kinds = normalize(x, True, training=True, shape=known)
    assert "FusedBatchNormV3" in kinds
    for ours, theirs in zip(fused[-2:], plain[-2:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


LEFT_ALONE = {
    "vectors": ((6, 3), {}),
    "channels_first": ((6, 3, 4, 4), {"axis": 1}),
    "float64": ((6, 4, 4, 3), {"dtype": "float64"}),
    "synchronized": ((6, 4, 4, 3), {"synchronized": True}),
    "renorm": ((6, 4, 4, 3), {"renorm": True}),
}


@pytest.mark.parametrize(("shape", "arguments"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_does_not_fit_is_left_to_keras(rng, shape, arguments):
    x = rng.normal(size=shape).astype(arguments.get("dtype", "float32"))
    plain, _ = normalize(x, False, training=True, **arguments)
    fused, kinds = normalize(x, True, training=True, **arguments)
    assert "FusedBatchNormV3" not in kinds
    for ours, theirs in zip(fused, plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_mask_is_left_to_keras(rng):
    layer = keras.layers.BatchNormalization()
    x = rng.normal(size=(2, 3, 3, 4)).astype("float32")
    mask = rng.random((2, 3, 3)) > 0.5
    with fused_batch_normalization(layer):
        fused = layer(x, mask=mask, training=True)
    plain = keras.layers.BatchNormalization()(x, mask=mask, training=True)
    np.testing.assert_array_equal(fused, plain)


def test_subclasses_keep_their_own_call(rng):
    class Doubled(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            return 2.0 * super().call(inputs, training=training, mask=mask)

    layer = Doubled()
    x = rng.normal(size=(4, 3, 3, 2)).astype("float32")
    with fused_batch_normalization(layer):
        outputs = layer(x, training=True)
    assert np.std(outputs) == pytest.approx(2.0, rel=1e-2)


def test_nothing_is_left_behind(rng):
    model = small_cnn(8)
    before = [dict(layer.__dict__) for layer in model.layers]
    with fused_batch_normalization(model, model), fused_batch_normalization(model):
        inside = [layer for layer in model.layers if "call" in layer.__dict__]
        assert {type(layer).__name__ for layer in inside} == {"BatchNormalization"}
    assert [set(layer.__dict__) for layer in model.layers] == [set(d) for d in before]
    with pytest.raises(RuntimeError), fused_batch_normalization(model):
        raise RuntimeError
    assert all("call" not in layer.__dict__ for layer in model.layers)


def test_fit_of_a_plain_model_inside_the_block_uses_it(rng):
    x, y = random_batch(rng)
    weights = {}
    for fused in (False, True):
        keras.utils.set_random_seed(0)
        model = small_cnn(8)
        model.compile(keras.optimizers.SGD(0.1), cross_entropy(), jit_compile=False)
        with fused_batch_normalization(*([model] if fused else [])):
            model.fit(x, y, epochs=2, shuffle=False, verbose=0)
        weights[fused] = weights_of(model)
    for ours, theirs in zip(weights[True], weights[False], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_distillers_step_is_fused_without_xla_and_its_student_is_not(rng, tmp_path):
    distiller = Distiller(small_cnn(12), small_cnn(8), [FitNet("features", "features")])
    x, y = random_batch(rng)
    distiller.compile("sgd", cross_entropy(), jit_compile=False)
    distiller.fit(x, y, verbose=0)
    assert step_kinds(distiller, x, y) >= {"FusedBatchNormV3", "FusedBatchNormGradV3"}
    student = distiller.strip()
    normalizations = [
        layer
        for layer in student.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert normalizations
    assert all(type(x) is keras.layers.BatchNormalization for x in normalizations)
    assert all("call" not in x.__dict__ for x in normalizations)
    np.testing.assert_array_equal(
        distiller.predict(x, verbose=0), student.predict(x, verbose=0)
    )

    distiller.compile("sgd", cross_entropy(), jit_compile=True)
    assert "FusedBatchNormV3" not in step_kinds(distiller, x, y)


def step_kinds(distiller, x, y):
    """The types of all operations in the graph of the distiller's step."""
    distiller.optimizer.build(distiller.trainable_variables)

    def step(x, y):
        distiller.train_step((x, y))

    graph = (
        tf.function(step).get_concrete_function(tf.constant(x), tf.constant(y)).graph
    )
    nodes = list(graph.as_graph_def().node)
    for function in graph.as_graph_def().library.function:
        nodes += function.node_def
    return {node.op for node in nodes}
